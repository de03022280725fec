# SPDX-License-Identifier: GPL-3.0-or-later
"""Deposited artifacts: metadata in the store, bytes in a directory or in memory."""

from __future__ import annotations

import json
import re
import secrets
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

from eden_service_common import contracts

from .problems import Problem
from .store import Document, Store

_PREFIX = "eden://artifacts/"
_REFERENCE_CAP = 1024 * 1024
DEFAULT_CAP = 100 * 1024 * 1024


class Artifacts:
    """The artifacts of a store's experiment; without a directory their bytes live as long as the process."""

    def __init__(self, store: Store, directory: Path | None, cap: int) -> None:
        self._store = store
        self._directory = directory
        self._cap = cap
        self._memory: dict[str, bytes] = {}

    def deposit(self, content_type: str, body: bytes, created_by: str) -> Document:
        """Store the one part `file` of a multipart body."""
        data, declared = _only_file(content_type, body)
        if len(data) > self._cap:
            raise Problem(
                "payload-too-large", f"artifact ({len(data)} bytes) exceeds the {self._cap}-byte deposit cap"
            )
        opaque_id = secrets.token_hex(16)
        if self._directory is None:
            self._memory[opaque_id] = data
        else:
            (self._directory / opaque_id).write_bytes(data)
        metadata = {
            "opaque_id": opaque_id,
            "created_by": created_by,
            "size_bytes": len(data),
            "content_type": declared,
            "created_at": contracts.now(),
        }
        with self._store.transaction():
            self._store.database.execute(
                "INSERT INTO artifact(opaque_id, data) VALUES (?, ?)", (opaque_id, json.dumps(metadata))
            )
        return {"artifacts_uri": _PREFIX + opaque_id, "size_bytes": len(data), "content_type": declared}

    def metadata(self, uri: str) -> Document:
        """The metadata of the artifact with this URI."""
        opaque_id = uri.removeprefix(_PREFIX)
        if not uri.startswith(_PREFIX) or re.fullmatch("[0-9a-f]{32}", opaque_id) is None:
            raise Problem("not-found", f"unrecognized artifact uri {uri!r}")
        with self._store.transaction():
            rows = self._store.database.execute("SELECT data FROM artifact WHERE opaque_id = ?", (opaque_id,))
        if not rows:
            raise Problem("not-found", f"artifact {opaque_id!r}")
        return dict(json.loads(rows[0][0]))

    def content(self, opaque_id: str) -> bytes:
        """The bytes; `not-found` when they were lost with the process that held them."""
        if self._directory is None:
            content = self._memory.get(opaque_id)
        else:
            path = self._directory / opaque_id
            content = path.read_bytes() if path.is_file() else None
        if content is None:
            raise Problem("not-found", f"artifact {opaque_id!r}")
        return content


def read_served_file(root: Path | None, path: str) -> bytes:
    """A file under the directory that the reference route serves."""
    if root is None:
        raise Problem("artifact-serving-disabled", "task-store-server started without --artifacts-dir")
    parts = path.split("/")
    if any(part in ("", "..") or "\0" in part for part in parts):
        raise Problem("invalid-path", f"invalid path component in {path!r}")
    steps = [root.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    if any(step.is_symlink() for step in steps):
        raise Problem("forbidden", "symlink not allowed")
    if not steps[-1].is_file():
        raise Problem("not-found", "artifact not found")
    if steps[-1].stat().st_size > _REFERENCE_CAP:
        raise Problem("artifact-too-large", f"{path!r} exceeds {_REFERENCE_CAP} bytes")
    return steps[-1].read_bytes()


def _only_file(content_type: str, body: bytes) -> tuple[bytes, str]:
    """Bytes and declared type of the part `file`, when it is the only one."""
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    parts = list(message.iter_parts()) if message.is_multipart() and not message.defects else []
    names = [part.get_param("name", header="content-disposition") for part in parts]
    if names != ["file"] or parts[0].get_filename() is None:
        raise Problem("bad-request", "deposit body must be multipart/form-data with exactly one 'file' part")
    payload = parts[0].get_payload(decode=True)
    declared = str(parts[0].get("Content-Type", ""))
    cleaned = "".join(character for character in declared if " " <= character <= "~").strip()
    return payload if isinstance(payload, bytes) else b"", cleaned or "application/octet-stream"
