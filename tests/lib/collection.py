# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkout's files as the tools see them that want a real ansible_collections tree."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from environments import CHECKOUT

NAMESPACE = "eden"
NAME = "reference"


def files() -> list[Path]:
    """The files that git tracks or would add, relative to the checkout.

    The link that shows the checkout to ansible as a collection is not among them.
    """
    listed = subprocess.run(
        [
            "git",
            "-c",
            f"safe.directory={CHECKOUT}",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = sorted({Path(name) for name in listed.split("\0") if name})
    return [path for path in paths if path.parts[0] != "collections" and (CHECKOUT / path).exists()]


def copy(root: Path) -> Path:
    """Copies the files to ``root/ansible_collections/eden/reference`` and returns that directory."""
    directory = root / "ansible_collections" / NAMESPACE / NAME
    for path in files():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / path, target, follow_symlinks=False)
    return directory


def shell_scripts() -> list[Path]:
    """The files that a shell reads, by their name or first line."""

    def is_shell(path: Path) -> bool:
        if path.suffix == ".sh":
            return True
        with (CHECKOUT / path).open("rb") as file:
            words = file.readline(100).split()
        return (
            bool(words)
            and words[0].startswith(b"#!")
            and any(word.endswith((b"/sh", b"bash")) for word in words)
        )

    return [path for path in files() if is_shell(path)]
