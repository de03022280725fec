# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares what is in the cluster with what is wanted.

This module is private to the collection.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._collection import FIELD_MANAGER
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

# By which the API server tells the entries of a list apart; of several, the first that its entries have.
MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "port"),
}


def contains(live: t.Any, wanted: t.Any) -> bool:
    """Whether ``live`` holds all that ``wanted`` states; lists must match item by item.

    An empty mapping or list that the server dropped counts as held.
    """
    if isinstance(wanted, dict):
        if live is None:
            return not wanted
        return isinstance(live, dict) and all(
            contains(live.get(key), value) for key, value in wanted.items() if value is not None
        )
    if isinstance(wanted, list):
        if live is None:
            return not wanted
        return isinstance(live, list) and len(live) == len(wanted) and all(map(contains, live, wanted))
    return bool(live == wanted)


def differing(live: t.Any, wanted: t.Any, path: str = "") -> t.Iterator[str]:
    """The places where ``live`` does not hold what ``wanted`` states, such as ``spec.ports[0].port``."""
    if contains(live, wanted):
        return
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            if value is not None:
                yield from differing(live.get(key), value, f"{path}.{key}".lstrip("."))
    elif isinstance(wanted, list) and isinstance(live, list) and len(live) == len(wanted):
        for number, (held, value) in enumerate(zip(live, wanted, strict=True)):
            yield from differing(held, value, f"{path}[{number}]")
    else:
        yield path


def preparing_patch(live: Object, wanted: Object) -> Object:
    """The strategic merge patch of what server-side apply cannot put back; empty where it can put back all.

    To the API server a list entry whose key somebody changed is an entry of somebody else: server-side apply
    leaves it beside the one that is wanted. It is known by all else that it has. Apply also leaves what is
    wanted to be null, such as a value that the server filled in because of a neighbour's.
    """
    return _patch(live, wanted, [fields for ours, fields in _fields(live) if not ours])


def _patch(held: Object, wanted: Object, foreign: t.Sequence[Object]) -> Object:
    if any(value is None and held.get(name) is not None for name, value in wanted.items()):
        return wanted
    patch: Object = {}
    for name, value in wanted.items():
        below = [fields[f"f:{name}"] for fields in foreign if f"f:{name}" in fields]
        part = held.get(name)
        inner: t.Any = None
        if isinstance(value, dict) and isinstance(part, dict):
            inner = _patch(part, value, below)
        elif name in MERGE_KEYS and isinstance(value, list) and isinstance(part, list):
            inner = _patch_of_entries(part, value, MERGE_KEYS[name], below)
        if inner:
            patch[name] = inner
    return patch


def _patch_of_entries(
    held: t.Sequence[Object], wanted: t.Sequence[t.Any], keys: t.Sequence[str], foreign: t.Sequence[Object]
) -> list[Object]:
    key = next((key for key in keys if all(isinstance(entry, dict) and key in entry for entry in wanted)), "")
    if not key:
        return []
    names = [entry[key] for entry in wanted]
    # What nobody else owns goes by itself.
    strangers = [
        other for other in held if other.get(key) not in names and _of_entry(foreign, key, other.get(key))
    ]
    patch: list[Object] = []
    for entry in wanted:
        same = next((other for other in held if other.get(key) == entry[key]), None)
        renamed = next((other for other in strangers if contains({**other, key: entry[key]}, entry)), None)
        if same:
            inner = _patch(same, entry, _of_entry(foreign, key, entry[key]))
            patch += [{key: entry[key], **inner}] if inner else []
        elif renamed:
            strangers.remove(renamed)
            patch += [{"$patch": "delete", key: renamed[key]}, entry]
    return patch


def _of_entry(foreign: t.Sequence[Object], key: str, value: t.Any) -> list[Object]:
    """What of the fields is below the list entry that has the value as its key."""
    return [
        below
        for fields in foreign
        for name, below in fields.items()
        if name.startswith("k:") and json.loads(name.removeprefix("k:")).get(key) == value
    ]


def set_by_others(live: Object, *place: str) -> bool:
    """Whether the value at the place, which we apply, was set by somebody else since.

    An object that we never applied has no such value.
    """
    applied = [fields for ours, fields in _fields(live) if ours]
    return bool(applied) and not any(_owns(fields, place) for fields in applied)


def _fields(live: Object) -> t.Iterator[tuple[bool, Object]]:
    """For each owner of fields whether that is our apply, and the fields."""
    for entry in live.get("metadata", {}).get("managedFields") or []:
        ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        yield ours, entry.get("fieldsV1") or {}


def _owns(fields: Object, place: t.Sequence[str]) -> bool:
    for name in place:
        if f"f:{name}" not in fields:
            return False
        fields = fields[f"f:{name}"]
    return True
