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
