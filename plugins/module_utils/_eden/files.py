# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packs a directory for ConfigMaps, with the same result on every machine.

The checksum is that of the tar, which depends on names, contents, symbolic links and permissions alone: there
is no time and no owner in it, and no write permission of others, which a umask decides.
This module is private to the collection.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import os
import stat
import tarfile
import typing as t
from dataclasses import dataclass

PART_SIZE = 768 * 1024
MAX_PARTS = 8
# Read before anything is packed, so that a wrong path does not pack a whole disk.
MAX_SIZE = 64 * 1024 * 1024
MAX_ENTRIES = 10_000
LEFT_OUT = frozenset({".git", "__pycache__"})
MIB = 1024 * 1024


@dataclass(frozen=True)
class Packed:
    """A packed directory.

    Attributes:
        checksum: SHA-256 of the tar, in hex.
        parts: the compressed tar, each part small enough for a ConfigMap.
    """

    checksum: str
    parts: tuple[bytes, ...]


class PackingError(Exception):
    """A directory that cannot be packed; the message is a clause about it."""


def pack(directory: str) -> Packed:
    """Pack a directory.

    Raises:
        PackingError: it cannot be read, it is too large, or it has something that cannot be packed.
    """
    root = os.path.realpath(os.path.expanduser(directory))
    try:
        if not os.path.isdir(root):
            raise PackingError("is no directory" if os.path.exists(root) else "does not exist")
        content = _tar(root, sorted(_entries(root)))
    except OSError as error:
        name = os.path.relpath(str(error.filename or root), root)
        raise PackingError(f"has {name!a}, which cannot be read ({error.strerror or error})") from error
    compressed = bz2.compress(content)
    if len(compressed) > MAX_PARTS * PART_SIZE:
        raise PackingError(
            f"takes {_mebibytes(len(compressed))} when compressed, more than the "
            f"{_mebibytes(MAX_PARTS * PART_SIZE)} that its ConfigMaps hold"
        )
    parts = tuple(compressed[start : start + PART_SIZE] for start in range(0, len(compressed), PART_SIZE))
    return Packed(hashlib.sha256(content).hexdigest(), parts)


def _entries(root: str) -> list[str]:
    """The paths in the directory, relative to it.

    Raises:
        PackingError: there are too many, they are too large, or one of them cannot be packed.
    """
    found: list[str] = []
    size = 0
    places = [""]
    while places:
        with os.scandir(os.path.join(root, places.pop())) as entries:
            for entry in entries:
                if entry.name in LEFT_OUT:
                    continue
                name = os.path.relpath(entry.path, root)
                found.append(name)
                _fail_if_unfit(root, name, entry)
                if entry.is_dir(follow_symlinks=False):
                    places.append(name)
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
                if len(found) > MAX_ENTRIES:
                    raise PackingError(f"has more than {MAX_ENTRIES} files")
                if size > MAX_SIZE:
                    raise PackingError(f"has more than {_mebibytes(MAX_SIZE)}, with {name!a}")
    return found


def _fail_if_unfit(root: str, name: str, entry: os.DirEntry[str]) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise PackingError(f"has {name!a}, whose name is not UTF-8") from None
    if entry.is_symlink():
        _fail_if_link_leaves(root, name, os.readlink(entry.path))
    elif not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
        mode = entry.stat(follow_symlinks=False).st_mode
        kinds = {stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}
        kind = next((words for check, words in kinds.items() if check(mode)), "a device")
        raise PackingError(f"has {name!a}, which is {kind}")


def _fail_if_link_leaves(root: str, name: str, target: str) -> None:
    """Refuse a symbolic link that has no place in a copy of the tree, or another one there."""
    written = os.path.normpath(os.path.join(root, os.path.dirname(name), target))
    resolved = os.path.realpath(os.path.join(root, name))
    if os.path.isabs(target) or not all(_is_within(root, path) for path in (written, resolved)):
        raise PackingError(f"has {name!a}, a symbolic link that leaves it (to {target!a})")


def _is_within(root: str, path: str) -> bool:
    return os.path.commonpath((root, path)) == root


def _tar(root: str, names: t.Sequence[str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            path, info = os.path.join(root, name), tarfile.TarInfo(name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
                archive.addfile(info)
            elif stat.S_ISDIR(mode):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                with open(path, "rb") as file:
                    data = file.read(MAX_SIZE + 1)
                info.size, info.mode = len(data), (mode & 0o755) | 0o600
                archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def _mebibytes(size: int) -> str:
    return f"{size / MIB:.3g} MiB"


__all__ = ["LEFT_OUT", "MAX_PARTS", "PART_SIZE", "Packed", "PackingError", "pack"]
