# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps the Secret with an experiment's credentials: makes what is missing, never changes what is there.

Values stay inside this module. What leaves it are key names and digests keyed with a secret.
This module is private to the collection.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import typing as t
from urllib.parse import quote

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._eden.values import CONTROL
from ansible_collections.eden.reference.plugins.module_utils._errors import ConflictError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "secret": {"type": "str", "required": True, "no_log": False},
    "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
    "advice": {"type": "str", "default": ""},
    "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "labels": {"type": "dict", "default": {}},
    "urls": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "user": {"type": "str", "required": True},
            "password_key": {"type": "str", "required": True, "no_log": False},
            "address": {"type": "str", "required": True},
        },
    },
    "bound": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "claim": {"type": "str", "required": True},
            "advice": {"type": "str", "required": True},
        },
    },
    "readers": {"type": "dict", "default": {}},
    "digest_key": {"type": "str", "required": True, "no_log": False},
}

# Somebody else may write between our read and our write; more often than this it is no accident.
ATTEMPTS = 5

Values = dict[str, str]


def run(task: Task) -> dict[str, t.Any]:
    """Verify or complete the Secret; return key names and digests."""
    parameters = task.parameters
    namespace, name = parameters["namespace"], parameters["secret"]
    with connected(parameters) as cluster:
        generated: list[str] = []
        if parameters["state"] == "verified":
            values = verified(cluster, namespace, name, parameters["keys"], parameters["advice"])
        else:
            values, generated = completed(cluster, task)
    answer: dict[str, t.Any] = {
        "changed": bool(generated),
        "secret": name,
        "generated": generated,
        "digests": digests(values, parameters["readers"], parameters["digest_key"]),
    }
    if task.diff and generated:
        before = sorted(set(values) - set(generated))
        header = describe("Secret", namespace, name)
        answer["diff"] = [
            {
                "before_header": header,
                "after_header": header,
                "before": {"keys": before},
                "after": {"keys": sorted({*before, *generated})},
            }
        ]
    return answer


def verified(cluster: Cluster, namespace: str, name: str, keys: t.Sequence[str], advice: str) -> Values:
    """The values of a Secret that has all keys.

    Raises:
        CredentialsError: it is not there, or lacks keys, or has values of no use; all of them are listed.
    """
    return usable(cluster.read("Secret", namespace, name), namespace, name, keys, advice)


def usable(live: Object | None, namespace: str, name: str, keys: t.Sequence[str], advice: str) -> Values:
    """The values of a Secret that has all keys, with values that a service can read.

    Raises:
        CredentialsError: as for :func:`verified`.
    """
    values = decoded(live) if live else {}
    missing = [key for key in keys if not values.get(key)]
    if missing:
        found = "lacks" if live else "does not exist; it needs"
        raise CredentialsError(
            f"{describe('Secret', namespace, name)} {found} {', '.join(missing)}. {advice}".rstrip(),
            missing=missing,
        )
    faults = {key: fault for key in keys if (fault := value_fault(values[key]))}
    if faults:
        listed = ", ".join(f"{key} {fault}" for key, fault in faults.items())
        raise CredentialsError(
            f"{describe('Secret', namespace, name)} has values that no service can use: {listed}. Write them "
            "without a line break at the end: kubectl create secret generic --from-literal, or printf %s.",
            unusable=sorted(faults),
        )
    return values


def value_fault(value: str) -> str:
    """What is wrong with a secret value, without the value."""
    if "\ufffd" in value:
        return "is not UTF-8"
    if value.startswith("\ufeff"):
        return "begins with a byte order mark"
    if value != value.strip():
        return "begins or ends with a line break or a blank"
    return "" if CONTROL.search(value) is None else "holds a control character"


def completed(cluster: Cluster, task: Task) -> tuple[Values, list[str]]:
    """The values of our own Secret, and the keys that were made for it now.

    In check mode the made values are not written and count as absent.

    Raises:
        CredentialsError: a missing key belongs to data that is still there.
    """
    parameters = task.parameters
    namespace, name = parameters["namespace"], parameters["secret"]
    conflict: ConflictError | None = None
    for _attempt in range(ATTEMPTS):
        live = cluster.read("Secret", namespace, name)
        kept = decoded(live) if live else {}
        missing = [key for key in parameters["keys"] if not kept.get(key)]
        refuse_bound(cluster, namespace, name, missing, parameters["bound"])
        values = {**kept, **{key: secrets.token_hex(32) for key in missing}}
        values |= {rule["key"]: url(rule, values[rule["password_key"]]) for rule in parameters["urls"]}
        generated = sorted(key for key, value in values.items() if kept.get(key) != value)
        if not generated:
            return values, []
        if task.check_mode:
            return kept, generated
        try:
            write(cluster, live, namespace, name, parameters["labels"], values)
            return values, generated
        except ConflictError as error:
            conflict = error
    raise conflict or AssertionError("unreachable")


def refuse_bound(
    cluster: Cluster,
    namespace: str,
    name: str,
    missing: t.Sequence[str],
    bound: t.Sequence[t.Mapping[str, str]],
) -> None:
    """Refuse to make a key up while the claim stays whose data was written with the lost one.

    Raises:
        CredentialsError: with the ways out.
    """
    for rule in bound:
        if rule["key"] in missing and cluster.read("PersistentVolumeClaim", namespace, rule["claim"]):
            raise CredentialsError(
                f"{describe('Secret', namespace, name)} has no {rule['key']}, but "
                f"{describe('PersistentVolumeClaim', namespace, rule['claim'])} holds data that was written "
                "with it; a new value would lock the service out of its own data. Nothing was changed. "
                f"{rule['advice']}",
                missing=[rule["key"]],
                claim=rule["claim"],
            )


def write(
    cluster: Cluster,
    live: Object | None,
    namespace: str,
    name: str,
    labels: t.Mapping[str, str],
    values: Values,
) -> None:
    """Create the Secret, or replace the one that was read.

    Raises:
        ConflictError: it was created or changed meanwhile.
    """
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    if live is None:
        cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
                "type": "Opaque",
                "data": data,
            }
        )
    else:
        cluster.replace({**live, "data": {**(live.get("data") or {}), **data}})


def decoded(live: Object) -> Values:
    """The values of a Secret as text."""
    return {
        key: base64.b64decode(value).decode(errors="replace")
        for key, value in (live.get("data") or {}).items()
    }


def url(rule: t.Mapping[str, str], password: str) -> str:
    """A database URL with its password, for people and tools outside the pods."""
    return f"postgresql://{quote(rule['user'], safe='')}:{quote(password, safe='')}@{rule['address']}"


def digests(values: Values, readers: t.Mapping[str, t.Sequence[str]], digest_key: str) -> dict[str, str]:
    """For each reader a digest of the values that it reads; empty where one of them is not known yet.

    Keyed with the value of ``digest_key``, so that nobody can try out passwords on a pod's annotation.
    """
    secret = values.get(digest_key, "")
    return {
        reader: _digest(secret, {key: values[key] for key in keys})
        if secret and all(map(values.get, keys))
        else ""
        for reader, keys in readers.items()
    }


def _digest(secret: str, values: Values) -> str:
    return hmac.new(secret.encode(), json.dumps(values, sort_keys=True).encode(), hashlib.sha256).hexdigest()
