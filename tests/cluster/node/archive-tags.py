# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a `repositories` index first in a `docker save` archive, naming every image in it.

kind reads the tags of an archive from its first index only; without this it tries to pull the others.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile


def repositories(manifest: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The index: of each repository, its tags and their configurations."""
    tags: dict[str, dict[str, str]] = {}
    for image in manifest:
        for reference in image["RepoTags"]:
            name, tag = reference.rsplit(":", 1)
            name = f"docker.io/{name}" if name.startswith("kindest/") else name
            tags.setdefault(name, {})[tag] = image["Config"]
    return tags


def main(source: str, target: str) -> None:
    with tarfile.open(source) as archive, tarfile.open(target, "w") as out:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        index = json.dumps(repositories(json.load(manifest))).encode()
        entry = tarfile.TarInfo("repositories")
        entry.size = len(index)
        out.addfile(entry, io.BytesIO(index))
        for member in archive:
            if member.name != "repositories":
                out.addfile(member, archive.extractfile(member) if member.isreg() else None)


main(*sys.argv[1:])
