# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares live objects with their definitions.

This module is private to the collection.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._collection import (
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    NAME,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

Path: t.TypeAlias = tuple[str | int, ...]

# The keys by which the API server tells the entries of a list apart; of several, the first that all have.
MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "port"),
}


def contains(live: t.Any, desired: t.Any) -> bool:
    """Whether ``live`` contains everything in ``desired``; lists must match item by item.

    An empty mapping or list that the server dropped counts as live.
    """
    if isinstance(desired, dict):
        if live is None:
            return not desired
        return isinstance(live, dict) and all(
            contains(live.get(key), value) for key, value in desired.items() if value is not None
        )
    if isinstance(desired, list):
        if live is None:
            return not desired
        return isinstance(live, list) and len(live) == len(desired) and all(map(contains, live, desired))
    return bool(live == desired)


def differing(live: t.Any, desired: t.Any, path: Path = ()) -> t.Iterator[Path]:
    """The paths at which ``live`` does not contain ``desired``."""
    if contains(live, desired):
        return
    if isinstance(desired, dict) and isinstance(live, dict):
        for key, value in desired.items():
            if value is not None:
                yield from differing(live.get(key), value, (*path, key))
    elif isinstance(desired, list) and isinstance(live, list) and len(live) == len(desired):
        for number, (item, value) in enumerate(zip(live, desired, strict=True)):
            yield from differing(item, value, (*path, number))
    else:
        yield path


def show(path: Path) -> str:
    """A path as messages name it, such as ``spec.ports[0].port``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def foreign_owner(live: Object) -> str:
    """Who manages or created an object, if it is not ours; empty if it is.

    Ours has our label, or fields that we applied: an edit may have removed the label, and a restore from a
    backup the record of the fields. A claim with neither may be a restored one.
    """
    metadata = live.get("metadata", {})
    label = (metadata.get("labels") or {}).get(MANAGED_BY_LABEL, "")
    managers = [entry.get("manager", "") for entry in metadata.get("managedFields") or []]
    if label == NAME or FIELD_MANAGER in managers:
        return ""
    if live.get("kind") == "PersistentVolumeClaim" and not label:
        return ""
    if label:
        return f"managed by {label}"
    creator = managers[0] if managers and managers[0] else "another tool"
    return f"created by {creator}, not by {NAME}"


def other_owners(live: Object, desired: Object) -> dict[str, list[str]]:
    """The fields that differ from the definition and were set by other managers, by manager."""
    found: dict[str, list[str]] = {}
    for path in differing(live, desired):
        for entry in live.get("metadata", {}).get("managedFields") or []:
            manager = str(entry.get("manager", ""))
            if manager != FIELD_MANAGER and _owns_path(entry.get("fieldsV1") or {}, live, path):
                found.setdefault(manager, []).append(show(path))
    return found


def _owns_path(fields: Object, live: t.Any, path: Path) -> bool:
    """Whether the fields of one manager include the path; a list without a merge key is owned as a whole."""
    for number, step in enumerate(path):
        if not fields:
            return number > 0
        if isinstance(step, int):
            live = live[step]
            name = next((name for name in fields if _is_entry(name, live)), "")
        else:
            live = (live or {}).get(step)
            name = f"f:{step}"
        if name not in fields:
            return False
        fields = fields[name]
    return True


def _is_entry(name: str, entry: t.Any) -> bool:
    """Whether this name of managed fields stands for the list entry."""
    if not name.startswith("k:") or not isinstance(entry, dict):
        return False
    return all(entry.get(key) == value for key, value in json.loads(name.removeprefix("k:")).items())


def preparing_patch(live: Object, desired: Object) -> Object:
    """The strategic merge patch for what server-side apply cannot revert; empty if it can revert everything.

    Server-side apply keeps a list entry whose merge key was edited by another manager, beside that of the
    definition. Such an entry is recognised by its other fields. Apply also keeps a field that the definition
    sets to null, such as one that the server defaulted because of a neighbouring field.
    """
    return _patch(live, desired, [fields for ours, fields in _fields(live) if not ours])


def _patch(live: Object, desired: Object, foreign: t.Sequence[Object]) -> Object:
    if any(value is None and live.get(name) is not None for name, value in desired.items()):
        return desired
    patch: Object = {}
    for name, value in desired.items():
        below = [fields[f"f:{name}"] for fields in foreign if f"f:{name}" in fields]
        part = live.get(name)
        inner: t.Any = None
        if isinstance(value, dict) and isinstance(part, dict):
            inner = _patch(part, value, below)
        elif name in MERGE_KEYS and isinstance(value, list) and isinstance(part, list):
            inner = _patch_of_entries(part, value, MERGE_KEYS[name], below)
        if inner:
            patch[name] = inner
    return patch


def _patch_of_entries(
    live: t.Sequence[Object], desired: t.Sequence[t.Any], keys: t.Sequence[str], foreign: t.Sequence[Object]
) -> list[Object]:
    key = next(
        (key for key in keys if all(isinstance(entry, dict) and key in entry for entry in desired)), ""
    )
    if not key:
        return []
    names = [entry[key] for entry in desired]
    # Server-side apply removes an entry that no other manager owns.
    foreign_entries = [
        other for other in live if other.get(key) not in names and _of_entry(foreign, key, other.get(key))
    ]
    patch: list[Object] = []
    for entry in desired:
        same = next((other for other in live if other.get(key) == entry[key]), None)
        renamed = next(
            (other for other in foreign_entries if contains({**other, key: entry[key]}, entry)), None
        )
        if same:
            inner = _patch(same, entry, _of_entry(foreign, key, entry[key]))
            patch += [{key: entry[key], **inner}] if inner else []
        elif renamed:
            foreign_entries.remove(renamed)
            patch += [{"$patch": "delete", key: renamed[key]}, entry]
    return patch


def _of_entry(foreign: t.Sequence[Object], key: str, value: t.Any) -> list[Object]:
    """The parts of the fields that are below the list entry whose key has this value."""
    return [
        below
        for fields in foreign
        for name, below in fields.items()
        if name.startswith("k:") and json.loads(name.removeprefix("k:")).get(key) == value
    ]


def set_by_others(live: Object, *place: str) -> bool:
    """Whether another manager has changed the value at the place since we applied it.

    False for an object that we never applied.
    """
    applied = [fields for ours, fields in _fields(live) if ours]
    return bool(applied) and not any(_owns(fields, place) for fields in applied)


def _fields(live: Object) -> t.Iterator[tuple[bool, Object]]:
    """For each manager, whether it is our apply, and its fields."""
    for entry in live.get("metadata", {}).get("managedFields") or []:
        ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        yield ours, entry.get("fieldsV1") or {}


def _owns(fields: Object, place: t.Sequence[str]) -> bool:
    for name in place:
        if f"f:{name}" not in fields:
            return False
        fields = fields[f"f:{name}"]
    return True
