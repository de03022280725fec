# SPDX-License-Identifier: GPL-3.0-or-later
"""Score the sentence of a variant: 100 for each of the 26 letters, and 1 less for each character."""

import json
import os
import string
from pathlib import Path


def main() -> None:
    """Run in a worktree of the variant, once per task."""
    sentence = Path("sentence").read_text().strip()
    letters = set(sentence.lower()) & set(string.ascii_lowercase)
    evaluation = {"score": 100 * len(letters) - len(sentence), "sentence": sentence[:1000]}
    Path(os.environ["EDEN_OUTPUT"]).write_text(json.dumps({"status": "success", "evaluation": evaluation}))


if __name__ == "__main__":
    main()
