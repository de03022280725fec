# SPDX-License-Identifier: GPL-3.0-or-later
"""How the files of an experiment, and those of its seed, reach a directory in a pod: run as rendered."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from manifest_cases import EXPERIMENT, Manifests

from ansible_collections.eden.reference.plugins.module_utils._eden import files

PODS = Path(__file__).resolve().parents[3] / "roles" / "eden" / "vars" / "main" / "pods.yml"
LAUNCHERS = yaml.safe_load(PODS.read_text())["__eden_launchers"]
SEED = EXPERIMENT / "start"
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")


def launched(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A run of one of the programs for `python -c`."""
    words = [sys.executable, "-c", LAUNCHERS[program], *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def contents(root: Path) -> dict[str, tuple[bool, str]]:
    """By name whether a file is executable, and its content or the target of a link."""
    return {
        str(path.relative_to(root)): (False, os.readlink(path))
        if path.is_symlink()
        else (os.access(path, os.X_OK), path.read_text())
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the experiment, with a link in it."""
    root = Path(shutil.copytree(EXPERIMENT, tmp_path / "tree"))
    (root / "start" / "link").symlink_to("../execute")
    return root


def parts_of(packed: files.Packed, directory: Path) -> Path:
    """The parts as the volume has them."""
    directory.mkdir()
    for number, part in enumerate(packed.parts):
        (directory / f"part-{number}").write_bytes(part)
    return directory


def test_what_was_packed_is_unpacked(tree: Path, tmp_path: Path) -> None:
    # More than ten parts would be in another order by name.
    packed = files.pack(str(tree))
    content = b"".join(packed.parts)
    step = len(content) // 11
    packed = files.Packed(packed.checksum, tuple(content[n : n + step] for n in range(0, len(content), step)))
    parts, target = parts_of(packed, tmp_path / "parts"), tmp_path / "target"
    assert len(packed.parts) > 10
    ran = launched("unpack_files", parts, target, packed.checksum)
    assert ran.returncode == 0, ran.stderr
    assert contents(target) == contents(tree)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda part: part.write_bytes(part.read_bytes()[:-9]), "cannot be unpacked"),
        (lambda part: part.unlink(), "not the files of this version of the pod"),
        (
            lambda part: part.write_bytes(files.pack(str(SEED)).parts[0]),
            "not the files of this version of the pod",
        ),
    ],
)
def test_other_files_are_refused(
    tree: Path, tmp_path: Path, damage: t.Callable[[Path], object], words: str
) -> None:
    packed = files.pack(str(tree))
    parts, target = parts_of(packed, tmp_path / "parts"), tmp_path / "target"
    damage(parts / "part-0")
    ran = launched("unpack_files", parts, target, packed.checksum)
    assert ran.returncode == 1
    assert words in ran.stderr
    assert not target.exists()


def git(directory: Path, *words: str) -> str:
    return subprocess.run([*GIT, *words], cwd=directory, check=True, capture_output=True, text=True).stdout


def test_the_files_of_a_commit_are_fetched(tree: Path, tmp_path: Path) -> None:
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=first")
    commit = git(tree, "rev-parse", "HEAD").strip()
    expected = contents(tree / "start")
    (tree / "start" / "link").unlink()
    git(tree, "commit", "--quiet", "--all", "--message=second")
    url, target = f"file://{tree}", tmp_path / "target"
    target.mkdir()
    ran = launched("fetch_files", url, commit, "start", target)
    assert ran.returncode == 0, ran.stderr
    assert contents(target) == expected
    for given, words in (
        ((f"file://{tmp_path}/none", commit, ""), "cannot be fetched"),
        ((url, "0" * 40, ""), f"has no commit {'0' * 40}"),
        ((url, commit, "nowhere"), "has no directory nowhere"),
    ):
        ran = launched("fetch_files", *given, target)
        assert ran.returncode == 1
        assert words in ran.stderr


def test_the_configmaps_and_the_seed_job(manifests: dict[str, Manifests], tmp_path: Path) -> None:
    objects = manifests["files"]
    by_name = {item["metadata"]["name"]: item for item in objects}
    assert not any("binaryData" in item for item in manifests["plain"])
    for content, directory in (("experiment", EXPERIMENT), ("seed", SEED)):
        found = by_name[f"files-{content}-files-0"]
        part = files.pack(str(directory)).parts[0]
        assert found["binaryData"] == {"part-0": base64.b64encode(part).decode()}
        assert found["metadata"]["labels"]["eden.reference/files"] == content
    [job] = [item for item in objects if item["kind"] == "Job" and "seed" in item["metadata"]["name"]]
    pod = job["spec"]["template"]["spec"]
    assert "--seed-from=/var/lib/eden/start" in pod["containers"][0]["args"]
    [unpacking] = pod["initContainers"]
    checksum = files.pack(str(SEED)).checksum
    assert unpacking["args"][1:] == [
        *("-c", LAUNCHERS["unpack_files"], "/etc/eden/seed-files", "/var/lib/eden/start", checksum)
    ]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in (unpacking, *pod["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert by_name["files-seed"]["data"] == {
        "commit": by_name["files-seed"]["data"]["commit"],
        "files": checksum,
    }
