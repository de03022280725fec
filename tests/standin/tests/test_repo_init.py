# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed: one known commit, printed before it is pushed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_forge import Forge, credential_helper
from standin_processes import EXPERIMENT, SEED, run

PASSWORD = "password-of-the-forge"


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    server = Forge(tmp_path / "forge", PASSWORD)
    yield server
    server.close()


def seed(path: Path, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    env = {"FORGEJO_REMOTE_PASSWORD": password}
    return run("eden_service_common.repo_init", "--repo-path", str(path), *arguments, env=env)


def test_the_seed_commit_is_always_the_same(tmp_path: Path) -> None:
    first = seed(tmp_path / "repo")
    assert (first.returncode, first.stdout) == (0, f"EDEN_REPO_SEEDED sha={SEED}\n")
    again = seed(tmp_path / "repo")
    assert (again.returncode, again.stdout) == (0, f"EDEN_REPO_ALREADY_SEEDED sha={SEED}\n")


def test_the_seed_is_pushed(tmp_path: Path, forge: Forge) -> None:
    helper = str(credential_helper(tmp_path))
    for repository in ("first", "second"):
        pushing = ("--push-to", forge.url(EXPERIMENT), "--credential-helper", helper)
        result = seed(tmp_path / repository, *pushing)
        assert (result.returncode, result.stdout) == (0, f"EDEN_REPO_SEEDED sha={SEED}\n"), result.stderr
        assert forge.branches(EXPERIMENT) == {"main": SEED}


def test_the_seed_from_a_directory(tmp_path: Path, forge: Forge) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "sub" / "bytes").write_bytes(bytes(range(256)))
    (tree / "link").symlink_to("sub/bytes")
    (tree / ".gitignore").write_text("ignored\n")
    (tree / "ignored").write_text("x")
    # EDEN's repo_init makes the same commit of this tree.
    line = "sha=e82da3f24ab586b5edcb19c6181c3498214092fd\n"
    pushing = ("--push-to", forge.url(EXPERIMENT), "--credential-helper", str(credential_helper(tmp_path)))
    first = seed(tmp_path / "first", "--seed-from", str(tree), *pushing)
    assert (first.returncode, first.stdout) == (0, f"EDEN_REPO_SEEDED {line}"), first.stderr
    again = seed(tmp_path / "first", "--seed-from", str(tree), *pushing)
    assert (again.returncode, again.stdout) == (0, f"EDEN_REPO_ALREADY_SEEDED {line}")
    listed = forge.git(EXPERIMENT, "ls-tree", "-r", "main").splitlines()
    assert [row.split()[0] + " " + row.split("\t")[1] for row in listed] == [
        "100644 .gitignore", "120000 link", "100755 run", "100644 sub/bytes",
    ]  # fmt: skip
    # Another tree is another commit, which the forge does not take.
    (tree / "run").write_text("#!/bin/sh\nexit 1\n")
    changed = seed(tmp_path / "second", "--seed-from", str(tree), *pushing)
    assert changed.returncode == 1
    assert changed.stdout.startswith("EDEN_REPO_SEEDED sha=")
    assert seed(tmp_path / "third", "--seed-from", str(tree / "none")).returncode == 1


def test_a_failed_push_fails_after_the_line(tmp_path: Path, forge: Forge) -> None:
    helper = str(credential_helper(tmp_path))
    pushing = ("--push-to", forge.url(EXPERIMENT), "--credential-helper", helper)
    for result in (
        seed(tmp_path / "a", *pushing, password="wrong"),
        seed(tmp_path / "b", "--push-to", forge.url(EXPERIMENT)),
        seed(tmp_path / "c", "--push-to", "http://127.0.0.1:1/x.git"),
    ):
        assert (result.returncode, result.stdout) == (1, f"EDEN_REPO_SEEDED sha={SEED}\n")
    assert not forge.path(EXPERIMENT).exists()
