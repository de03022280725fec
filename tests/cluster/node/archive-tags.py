# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a `repositories` index first in a `docker save` archive, naming every image in it.

kind reads the tags of an archive from its first index only; without this it tries to pull the others."""
import io
import json
import sys
import tarfile

source, target = sys.argv[1:]
with tarfile.open(source) as archive, tarfile.open(target, "w") as out:
    tags: dict[str, dict[str, str]] = {}
    for image in json.load(archive.extractfile("manifest.json")):
        for reference in image["RepoTags"]:
            name, tag = reference.rsplit(":", 1)
            name = f"docker.io/{name}" if name.startswith("kindest/") else name
            tags.setdefault(name, {})[tag] = image["Config"]
    index = json.dumps(tags).encode()
    entry = tarfile.TarInfo("repositories")
    entry.size = len(index)
    out.addfile(entry, io.BytesIO(index))
    for member in archive:
        if member.name != "repositories":
            out.addfile(member, archive.extractfile(member) if member.isreg() else None)
