# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference route of the files that ideators and evaluators leave in a shared directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import quote

from eden_service_common.httpd import Response

from .problems import Problem

_MAX_BYTES = 1 << 20


def serve(root: str | None, path: str) -> Response:
    """The file at `path` below `root`. Raises Problem; symbolic links are refused, wherever they point."""
    if root is None:
        raise Problem("artifact-serving-disabled", "task-store-server started without --artifacts-dir")
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Problem("invalid-path", f"invalid path: invalid path component in {path!r}")
    place = Path(root)
    try:
        for part in parts:
            place /= part
            if place.is_symlink():
                raise Problem("forbidden", "symlink not allowed")
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(place)
        if status.st_size > _MAX_BYTES:
            detail = f"artifact exceeds {_MAX_BYTES}-byte cap (size={status.st_size})"
            raise Problem("artifact-too-large", detail)
        content = place.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Problem("not-found", "artifact not found") from error
    name = quote(parts[-1], safe="")
    headers = {
        "Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(200, content, "application/octet-stream", headers)


def refuse_overlap(blobs: str, artifacts: str) -> None:
    """Exit with code 1 when one of the directories contains the other, as deposits would be served too."""
    blob, shared = Path(blobs).resolve(), Path(artifacts).resolve()
    if os.path.commonpath((blob, shared)) in (str(blob), str(shared)):
        raise SystemExit(f"--artifact-blob-dir ({blob}) must not overlap --artifacts-dir ({shared})")
