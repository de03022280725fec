# SPDX-License-Identifier: GPL-3.0-or-later
"""What a packed directory keeps, what does not matter, and what is refused."""

from __future__ import annotations

import base64
import bz2
import io
import os
import socket
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.eden.reference.plugins.lookup.packed import parts
from ansible_collections.eden.reference.plugins.module_utils._eden import files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with some of everything that can be packed."""
    root = tmp_path / "tree"
    (root / "a" / "empty").mkdir(parents=True)
    (root / "a-b").write_bytes(bytes(range(256)))
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "a" / "名.txt").write_text("x" * 300)
    (root / "-rf").write_text("a file named like an option")
    (root / "a" / "link").symlink_to("../run")
    (root / "dangling").symlink_to("a/later")
    return root


def unpacked(packed: files.Packed) -> dict[str, tuple[int, str, bytes]]:
    """By name the permissions, the target of a link and the content."""
    with tarfile.open(fileobj=io.BytesIO(bz2.decompress(b"".join(packed.parts)))) as archive:
        return {
            item.name: (item.mode, item.linkname, file.read() if (file := archive.extractfile(item)) else b"")
            for item in archive
            if not item.issym()
        } | {item.name: (0, item.linkname, b"") for item in archive if item.issym()}


def test_everything_survives(tree: Path) -> None:
    assert unpacked(files.pack(str(tree))) == {
        "-rf": (0o644, "", b"a file named like an option"),
        "a": (0o755, "", b""),
        "a/empty": (0o755, "", b""),
        "a/link": (0, "../run", b""),
        "a/名.txt": (0o644, "", b"x" * 300),
        "a-b": (0o644, "", bytes(range(256))),
        "dangling": (0, "a/later", b""),
        "run": (0o755, "", b"#!/bin/sh\n"),
    }


def test_the_checksum_is_of_this_tree_on_every_machine(tree: Path) -> None:
    assert (
        files.pack(str(tree)).checksum == "247a1760e936445887dd5c67dcff5f0ebd4e103e07ee88bad5421e1ccbfb0e16"
    )


IRRELEVANT: dict[str, t.Callable[[Path], object]] = {
    "time": lambda tree: os.utime(tree / "run", (1, 1)),
    "umask": lambda tree: (tree / "a-b").chmod(0o664),
    "directory": lambda tree: (tree / "a").chmod(0o700),
    "git": lambda tree: (tree / "a" / ".git").write_text("gitdir: elsewhere"),
    "cache": lambda tree: (tree / "__pycache__").mkdir(),
}
RELEVANT: dict[str, t.Callable[[Path], object]] = {
    "content": lambda tree: (tree / "run").write_text("#!/bin/bash\n"),
    "executable": lambda tree: (tree / "run").chmod(0o644),
    "name": lambda tree: (tree / "run").rename(tree / "run2"),
    "directory": lambda tree: (tree / "more").mkdir(),
    "target": lambda tree: [(tree / "dangling").unlink(), (tree / "dangling").symlink_to("a")],
}


@pytest.mark.parametrize("change", IRRELEVANT.values(), ids=IRRELEVANT)
def test_what_does_not_matter(tree: Path, change: t.Callable[[Path], object]) -> None:
    before = files.pack(str(tree))
    change(tree)
    assert files.pack(str(tree)) == before


@pytest.mark.parametrize("change", RELEVANT.values(), ids=RELEVANT)
def test_what_matters(tree: Path, change: t.Callable[[Path], object]) -> None:
    before = files.pack(str(tree)).checksum
    change(tree)
    assert files.pack(str(tree)).checksum != before


def test_the_directory_may_be_a_link_and_in_the_home_directory(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tree.parent))
    (tree.parent / "link").symlink_to("tree")
    assert files.pack("~/link") == files.pack(str(tree))


def _socket(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tree / "s"))


REFUSED: dict[str, tuple[t.Callable[[Path], object], str]] = {
    "absolute": (
        lambda tree: (tree / "a" / "l").symlink_to(tree / "run"),
        "'a/l', a symbolic link that leaves it",
    ),
    "parent": (
        lambda tree: (tree / "l").symlink_to("../x"),
        "'l', a symbolic link that leaves it (to '../x')",
    ),
    "detour": (
        lambda tree: [(tree / "d").symlink_to("a/empty"), (tree / "l").symlink_to("d/../../../x")],
        "'l', a symbolic link that leaves it",
    ),
    "sibling": (lambda tree: (tree / "l").symlink_to("../tree2"), "a symbolic link that leaves it"),
    "pipe": (lambda tree: os.mkfifo(tree / "p"), "'p', which is a named pipe"),
    "socket": (_socket, "'s', which is a socket"),
    "name": (lambda tree: Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).touch(), "whose name is not UTF-8"),
    "large": (lambda tree: (tree / "l").write_bytes(os.urandom(6 << 20)), "takes 6.03 MiB when compressed"),
    "huge": (lambda tree: os.truncate(tree / "run", 1 << 40), "more than 64 MiB, with 'run'"),
    "many": (lambda tree: [(tree / f"{n}").touch() for n in range(10_001)], "more than 10000 files"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(
    tree: Path, change: t.Callable[[Path], object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    change(tree)
    with pytest.raises(files.PackingError) as caught:
        files.pack(str(tree))
    assert words in str(caught.value)
    assert str(caught.value).isascii()


@pytest.mark.parametrize(("name", "words"), [("none", "does not exist"), ("tree/run", "is no directory")])
def test_what_is_no_directory(tree: Path, name: str, words: str) -> None:
    with pytest.raises(files.PackingError, match=words):
        files.pack(str(tree.parent / name))


def test_parts_fit_into_a_configmap(tree: Path) -> None:
    content = os.urandom(2 << 20)
    (tree / "large").write_bytes(content)
    packed = files.pack(str(tree))
    assert [len(part) for part in packed.parts[:-1]] == [files.PART_SIZE] * 2
    assert 0 < len(packed.parts[-1]) <= files.PART_SIZE
    assert unpacked(packed)["large"][2] == content


def test_the_lookup_gives_the_parts_that_were_checked(tree: Path) -> None:
    packed = files.pack(str(tree))
    found = parts(str(tree), packed.checksum)
    assert [base64.b64decode(part) for part in found] == list(packed.parts)
    (tree / "run").write_text("changed")
    with pytest.raises(AnsibleLookupError, match=r"were changed after they had been checked. Run again\."):
        parts(str(tree), packed.checksum)
    with pytest.raises(AnsibleLookupError, match="none does not exist"):
        parts("none", packed.checksum)
