# SPDX-License-Identifier: GPL-3.0-or-later
"""What another user may do to the fields that the collection has applied."""

from __future__ import annotations

import copy
import http
import re
import typing as t

from kube import Kube, KubeError, Object

OURS = "eden.reference"
# Another one than the collection's.
OTHER_MANAGER = "fieldManager=other"
REPLACEMENTS = 20
REFUSALS = (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UNPROCESSABLE_ENTITY)

Path = tuple[t.Any, ...]


def owned(live: Object) -> list[Path]:
    """The places of the values that we applied."""
    (fields,) = [
        entry["fieldsV1"]
        for entry in live["metadata"]["managedFields"]
        if entry["manager"] == OURS and entry["operation"] == "Apply"
    ]
    return list(_leaves(fields, live, ()))


def _leaves(fields: Object, live: t.Any, path: Path) -> t.Iterator[Path]:
    inner = {name: below for name, below in fields.items() if name != "."}
    if not inner and path:
        yield path
    for name, below in inner.items():
        sort, _colon, key = name.partition(":")
        if sort == "f" and isinstance(live, dict) and key in live:
            yield from _leaves(below, live[key], (*path, key))
        elif sort == "k" and isinstance(live, list):
            wanted = re.findall(r'"(\w+)":(?:"([^"]*)"|(\d+))', key)
            for index, item in enumerate(live):
                if all(str(item.get(part)) == (text or number) for part, text, number in wanted):
                    yield from _leaves(below, item, (*path, index))


def tamper(kube: Kube, path: str, place: Path, remove: bool = False) -> list[str]:
    """Put another value at the place of the object at the path, or none, the first that the API server takes.

    Returns what was refused if nothing was taken, else nothing.
    """
    live = kube.ask("GET", path)
    refusals = []
    for value in [None] if remove else _others(at(live, place)):
        changed = copy.deepcopy(live)
        if remove:
            at(changed, place[:-1]).pop(place[-1])
        else:
            at(changed, place[:-1])[place[-1]] = value
        try:
            stored = _replace(kube, path, changed)
        except KubeError as error:
            if error.status not in REFUSALS:
                raise
            refusals.append(f"{place}: {error}")
            continue
        # The server may have filled in what was taken out.
        if _find(stored, place) != _find(live, place):
            return []
    return refusals or [f"{place}: the API server put it back"]


def _replace(kube: Kube, path: str, changed: Object) -> Object:
    """The object, stored over whatever a controller has written of it meanwhile."""
    for _attempt in range(REPLACEMENTS):
        found = kube.ask("GET", path)["metadata"]["resourceVersion"]
        changed["metadata"]["resourceVersion"] = found
        try:
            return kube.ask("PUT", f"{path}?{OTHER_MANAGER}", changed)
        except KubeError as error:
            if error.status != http.HTTPStatus.CONFLICT:
                raise
    raise AssertionError(f"others keep writing {path}")


def at(value: t.Any, place: Path) -> t.Any:
    """The value at the place."""
    for step in place:
        value = value[step]
    return value


def _find(value: t.Any, place: Path) -> t.Any:
    try:
        return at(value, place)
    except (KeyError, IndexError):
        return None


def _others(value: t.Any) -> list[t.Any]:
    """Values of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, str):
        number = re.sub(r"\d+", lambda digits: str(int(digits[0]) + 1), value, count=1)
        return [text for text in (f"{value}x", number, "another", "privileged") if text != value]
    if isinstance(value, list):
        inside = [(index, other) for index, item in enumerate(value) for other in _others(item)]
        return [[*value[:index], other, *value[index + 1 :]] for index, other in inside] + [value[:-1]]
    if isinstance(value, dict):
        return [{**value, key: other} for key, item in value.items() for other in _others(item)]
    return []
