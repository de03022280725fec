# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn an idea into a commit: write its point into the file `point.json` of the worktree."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

AUTHOR = ["-c", "user.name=quadratic", "-c", "user.email=quadratic@example.com"]


def git(*words: str) -> str:
    """What git prints; its errors go to the host's log."""
    return subprocess.run(["git", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    """Run in the worktree, once per task."""
    task = json.loads(Path(os.environ["EDEN_TASK_JSON"]).read_text())
    point = json.loads(Path(task["content_path"]).read_text())
    time.sleep(float(sys.argv[1]))
    Path("point.json").write_text(json.dumps(point, indent=2) + "\n")
    git("add", "point.json")
    git(*AUTHOR, "commit", "--quiet", "--message", f"x = {point['x']:.3f}, y = {point['y']:.3f}")
    outcome = {"status": "success", "commit_sha": git("rev-parse", "HEAD")}
    Path(os.environ["EDEN_OUTPUT"]).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
