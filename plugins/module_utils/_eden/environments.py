# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Secrets with which users fill the environment of their commands.

Values stay inside this module: it returns keys and keyed digests.
This module is private to the collection.
"""

from __future__ import annotations

import base64
import re
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError, MissingError
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import keyed_digest

if t.TYPE_CHECKING:
    from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object

# Of the host, of EDEN's protocol, and of what starts programs.
RESERVED = re.compile(r"(EDEN_|FORGEJO_|PYTHON|LD_).*|PATH|HOME", re.DOTALL)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def secrets_of(workers: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, str]:
    """The names of the Secrets in ``eden_workers``, by the input that names each."""
    return {
        f"eden_workers.{host}.env_secret": worker["env_secret"]
        for host, worker in workers.items()
        if worker.get("env_secret")
    }


def problems(
    live: Object | None, namespace: str, name: str, variable: str, namespace_exists: bool
) -> list[CollectionError]:
    """The problems of one Secret; ``variable`` is the input that names it."""
    named = f"{describe('Secret', namespace, name)}, which {variable} names"
    if live is None:
        label = "app.kubernetes.io/managed-by=eden.reference"
        first = (
            ""
            if namespace_exists
            else f"kubectl create namespace {namespace}; kubectl label namespace {namespace} {label}; "
        )
        return [
            MissingError(
                f"There is no {named}. Create it ({first}kubectl create secret generic {name} --namespace "
                f"{namespace} --from-env-file=FILE), or remove the input."
            )
        ]
    found = {key: problem for key, value in _data(live).items() if (problem := _key_problem(key, value))}
    if not found:
        return []
    listed = "; ".join(f"{key} {problem}" for key, problem in found.items())
    return [
        CredentialsError(
            f"{named}, has keys that cannot be variables of a command: {listed}. Rename or remove them.",
            unusable=sorted(found),
        )
    ]


def digests(
    cluster: Cluster, namespace: str, environments: t.Mapping[str, str], digest_key: str
) -> dict[str, str]:
    """By ``COMPONENT/environment``, a digest of the Secret of that component; empty without a key.

    Args:
        environments: the names of the Secrets, by component.
        digest_key: the value that keys the digests.

    Raises:
        MissingError: one does not exist.
    """
    found = {}
    for component, name in environments.items():
        live = cluster.read("Secret", namespace, name)
        if live is None:
            variable = f"eden_workers.{component.replace('-', '_')}.env_secret"
            raise problems(live, namespace, name, variable, namespace_exists=True)[0]
        found[f"{component}/environment"] = keyed_digest(digest_key, _data(live)) if digest_key else ""
    return found


def _data(live: Object) -> dict[str, str]:
    return dict(live.get("data") or {})


def _key_problem(key: str, value: str) -> str:
    """Why a key or its value cannot be a variable, without the value."""
    if RESERVED.fullmatch(key):
        return "is reserved"
    if not NAME.fullmatch(key):
        return "is not the name of a variable (letters, digits and _)"
    try:
        decoded = base64.b64decode(value).decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return "contains a NUL character" if "\0" in decoded else ""


__all__ = ["digests", "problems", "secrets_of"]
