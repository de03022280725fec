# SPDX-License-Identifier: GPL-3.0-or-later
"""How a service comes by the token of its worker: the token file, or a reissue with the admin token."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .client import Client, Unauthorized

DEFAULT_DIRECTORY = Path("/var/lib/eden/credentials")


def worker_bearer(
    base_url: str, experiment_id: str, worker_id: str, directory: Path, admin_token: str | None
) -> str | None:
    """The bearer of `worker_id`, or None when there is neither a token file nor an admin token.

    A token that the server does not accept for this worker is replaced by a reissue, which needs the admin
    token. A worker is never registered here. Raises RuntimeError when the token is bad and there is no
    admin token, or what the client raises.
    """
    path = directory / f"{worker_id}.token"
    if admin_token is None and _read(path) is None:
        return None
    with _locked(directory, worker_id):
        token = _read(path)
        known_as = None
        if token is not None:
            known_as = _whoami(base_url, experiment_id, f"{worker_id}:{token}")
        if known_as != worker_id:
            if admin_token is None:
                raise RuntimeError(
                    f"persisted credential for worker_id={worker_id!r} at {path} is stale (whoami returned "
                    f"{known_as!r}); reissue requires the admin token (set --admin-token or EDEN_ADMIN_TOKEN)"
                )
            token = Client(base_url, experiment_id, f"admin:{admin_token}").reissue_credential(worker_id)
            _write(path, token)
    return f"{worker_id}:{token}"


def _whoami(base_url: str, experiment_id: str, bearer: str) -> str | None:
    try:
        return Client(base_url, experiment_id, bearer).whoami()
    except Unauthorized:
        return None


def _read(path: Path) -> str | None:
    return (path.read_text().strip() or None) if path.exists() else None


def _write(path: Path, token: str) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.touch(mode=0o600)
        temporary.write_text(token)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(directory: Path, worker_id: str) -> Iterator[None]:
    # Two processes that start for one worker would otherwise kill each other's new token.
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / f"{worker_id}.token.lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def admin_token(flag: str | None) -> str | None:
    """The admin token: the flag, else `$EDEN_ADMIN_TOKEN`."""
    return flag or os.environ.get("EDEN_ADMIN_TOKEN")


def credentials_directory(flag: str | None) -> Path:
    """The directory of the token files: the flag, else `$EDEN_WORKER_CREDENTIALS_DIR`, else the default."""
    return Path(flag or os.environ.get("EDEN_WORKER_CREDENTIALS_DIR") or DEFAULT_DIRECTORY)
