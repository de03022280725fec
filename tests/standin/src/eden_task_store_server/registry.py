# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers with their credentials, and groups with their members."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from eden_service_common import contracts

from .problems import Problem
from .store import GROUPS, WORKERS, Document, Store

_RESERVED_WORKERS = frozenset({"admin", "system", "internal"})
_RESERVED_GROUPS = frozenset({"admins", "orchestrators"})


class Registry:
    """The workers and groups of a store's experiment."""

    def __init__(self, store: Store, *, verify_once: bool = False) -> None:
        self._store = store
        # argon2-cffi's defaults, as EDEN has them: 3 passes over 64 MiB in 4 threads.
        self._hasher = PasswordHasher()
        # Of nobody, so that an unknown worker costs as much as a wrong token.
        self._dummy = self._hasher.hash(secrets.token_hex(32))
        self._verify_once = verify_once
        # A hash that has been verified, with a digest of the token. A reissue changes the hash.
        self._verified: dict[str, bytes] = {}

    def register_worker(
        self, name: str | None, labels: dict[str, str] | None, registered_by: str | None
    ) -> tuple[Document, str]:
        """A new worker and its token, which is stored as a hash only. Names may repeat."""
        if name is not None:
            _check_name("worker", name)
            if name in _RESERVED_WORKERS:
                raise Problem("reserved-identifier", f"worker name {name!r} is reserved by the protocol")
        worker: Document = {"worker_id": contracts.mint("wkr")}
        if name is not None:
            worker["name"] = name
        worker["experiment_id"] = self._store.experiment_id
        worker["registered_at"] = contracts.now()
        if registered_by is not None:
            worker["registered_by"] = registered_by
        if labels:
            worker["labels"] = labels
        token = secrets.token_hex(32)
        with self._store.transaction():
            self._store.database.execute(
                "INSERT INTO worker(worker_id, data, credential_hash, name) VALUES (?, ?, ?, ?)",
                (worker["worker_id"], json.dumps(worker), self._hasher.hash(token), name),
            )
        return worker, token

    def reissue(self, worker_id: str) -> tuple[Document, str]:
        """The worker and its new token; the old one is dead."""
        token = secrets.token_hex(32)
        with self._store.transaction():
            worker = self._store.get(WORKERS, worker_id)
            self._store.database.execute(
                "UPDATE worker SET credential_hash = ? WHERE worker_id = ?",
                (self._hasher.hash(token), worker_id),
            )
        return worker, token

    def verify(self, worker_id: str, token: str) -> bool:
        """Whether this is the worker's current token."""
        with self._store.transaction():
            rows = self._store.database.execute(
                "SELECT credential_hash FROM worker WHERE worker_id = ?", (worker_id,)
            )
        stored = str(rows[0][0]) if rows else self._dummy
        digest = hashlib.sha256(token.encode()).digest()
        if self._verify_once and hmac.compare_digest(self._verified.get(stored, b""), digest):
            return True
        try:
            self._hasher.verify(stored, token)
        except (Argon2Error, InvalidHashError):
            return False
        self._verified[stored] = digest
        return True

    def worker(self, worker_id: str) -> Document:
        with self._store.transaction():
            return self._store.get(WORKERS, worker_id)

    def workers(self, name: str | None) -> list[Document]:
        with self._store.transaction():
            return self._store.select(WORKERS, name=name)

    def register_group(
        self, name: str | None, members: list[str], created_by: str | None, *, may_reserve: bool
    ) -> Document:
        """A new group; only one may have each reserved name, and only a caller that may reserve makes it."""
        if name is not None:
            _check_name("group", name)
        group: Document = {"group_id": contracts.mint("grp")}
        if name is not None:
            group["name"] = name
        group["experiment_id"] = self._store.experiment_id
        group["members"] = list(dict.fromkeys(members))
        group["created_at"] = contracts.now()
        if created_by is not None:
            group["created_by"] = created_by
        with self._store.transaction():
            if name in _RESERVED_GROUPS and not (may_reserve and not self._store.select(GROUPS, name=name)):
                raise Problem("reserved-identifier", f"group name {name!r} is reserved or already exists")
            return self._put_group(group)

    def group(self, group_id: str) -> Document:
        with self._store.transaction():
            return self._store.get(GROUPS, group_id)

    def groups(self, name: str | None) -> list[Document]:
        with self._store.transaction():
            return self._store.select(GROUPS, name=name)

    def add_member(self, group_id: str, member_id: str) -> Document:
        """The group with the member; `cycle-detected` when the member contains the group."""
        with self._store.transaction():
            group = self._store.get(GROUPS, group_id)
            if member_id in group["members"]:
                return group
            return self._put_group({**group, "members": [*group["members"], member_id]})

    def remove_member(self, group_id: str, member_id: str) -> Document:
        with self._store.transaction():
            group = self._store.get(GROUPS, group_id)
            if member_id not in group["members"]:
                return group
            return self._put_group({**group, "members": [m for m in group["members"] if m != member_id]})

    def delete_group(self, group_id: str) -> None:
        with self._store.transaction():
            self._store.get(GROUPS, group_id)
            for table in ("group_membership", "worker_group"):
                self._store.database.execute(f"DELETE FROM {table} WHERE group_id = ?", (group_id,))

    def is_member(self, worker_id: str, group_id: str) -> bool:
        """Whether a registered worker is in the group or in a group inside it."""
        with self._store.transaction():
            return self._store.find(WORKERS, worker_id) is not None and worker_id in self._reach(group_id)

    def is_in_group_named(self, worker_id: str, *names: str) -> bool:
        """Whether the worker is a member of a group with one of the names; a missing group has no members."""
        with self._store.transaction():
            groups = [group for name in names for group in self._store.select(GROUPS, name=name)]
            return any(self.is_member(worker_id, group["group_id"]) for group in groups)

    def _reach(self, group_id: str) -> set[str]:
        reached: set[str] = set()
        pending = [group_id]
        while pending:
            group = self._store.find(GROUPS, pending.pop())
            for member in group["members"] if group else ():
                if member not in reached:
                    reached.add(member)
                    pending.append(member)
        return reached

    def _put_group(self, group: Document) -> Document:
        self._store.put(GROUPS, group)
        group_id = group["group_id"]
        self._store.database.execute("DELETE FROM group_membership WHERE group_id = ?", (group_id,))
        for position, member in enumerate(group["members"]):
            self._store.database.execute(
                "INSERT INTO group_membership(group_id, member_id, position) VALUES (?, ?, ?)",
                (group_id, member, position),
            )
        if group_id in self._reach(group_id):
            raise Problem("cycle-detected", f"group mutation on {group_id!r} would introduce a cycle")
        return group


def _check_name(kind: str, name: str) -> None:
    fault = contracts.display_name_fault(name)
    if fault is not None:
        raise Problem("invalid-name", f"{kind} name {name!r} is not a well-formed display name: {fault}")
