# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn an idea into a commit: write its sentence into the file `sentence` of the worktree."""

import json
import os
import subprocess
from pathlib import Path

AUTHOR = ["-c", "user.name=llm", "-c", "user.email=llm@example.com"]


def git(*words: str) -> str:
    """What git prints; its errors go to the host's log."""
    return subprocess.run(["git", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    """Run in the worktree, once per task."""
    task = json.loads(Path(os.environ["EDEN_TASK_JSON"]).read_text())
    Path("sentence").write_text(Path(task["content_path"]).read_text())
    git("add", "sentence")
    git(*AUTHOR, "commit", "--quiet", "--message", "Try another sentence")
    outcome = {"status": "success", "commit_sha": git("rev-parse", "HEAD")}
    Path(os.environ["EDEN_OUTPUT"]).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
