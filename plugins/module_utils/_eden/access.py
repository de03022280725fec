# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Access to a task store: the modules' options, the admin's token, and a session.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.eden.reference.plugins.module_utils._eden import ids, task_store
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import (
    CredentialsError,
    TaskStoreError,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import TaskStore, is_token
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    CollectionError,
    InputError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube import port_forward
from ansible_collections.eden.reference.plugins.module_utils._kube.client import CLUSTER_ARGUMENTS, Cluster
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import decoded

if t.TYPE_CHECKING:
    import requests

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    **CLUSTER_ARGUMENTS,
    "instance": {"type": "str", "required": True},
    "experiment_id": {"type": "str", "required": True},
    "service": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
        },
    },
    "task_store_url": {"type": "str"},
    "task_store_changes": {"type": "bool", "default": False},
    # Names of Secrets are not secret.
    "admin_secret": {
        "type": "dict",
        "required": True,
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
        },
    },
    "workers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "labels": {"type": "dict", "default": {}},
        },
    },
    "timeout": {"type": "int", "default": int(task_store.RETRY_BUDGET)},
}


@dataclass(frozen=True)
class DesiredWorker:
    """A worker, and the name and the labels of its Secret."""

    name: str
    secret: str
    labels: t.Mapping[str, str]


@dataclass(frozen=True)
class DesiredGroup:
    """A group and the names of the workers that belong to it."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Desired:
    """The options of a module, checked."""

    namespace: str
    instance: str
    experiment_id: str
    service: str
    port: int
    url: str
    task_store_changes: bool
    admin_secret: str
    admin_key: str
    workers: tuple[DesiredWorker, ...]
    groups: tuple[DesiredGroup, ...]
    timeout: int

    @property
    def label(self) -> str:
        """The value of the registry label: which instance minted a worker."""
        return f"{self.namespace}/{self.instance}"


def desired_of(parameters: t.Mapping[str, t.Any]) -> Desired:
    """The module's options.

    Raises:
        InputError: an option breaks a rule; the message names the option, its value and the rule.
    """
    desired = Desired(
        namespace=parameters["namespace"],
        instance=parameters["instance"],
        experiment_id=parameters["experiment_id"],
        service=parameters["service"]["name"],
        port=parameters["service"]["port"],
        url=(parameters.get("task_store_url") or "").rstrip("/"),
        task_store_changes=bool(parameters.get("task_store_changes")),
        admin_secret=parameters["admin_secret"]["name"],
        admin_key=parameters["admin_secret"]["key"],
        workers=tuple(
            DesiredWorker(
                row["name"],
                row["secret"],
                {key: str(value) for key, value in (row.get("labels") or {}).items()},
            )
            for row in parameters["workers"]
        ),
        groups=tuple(
            DesiredGroup(row["name"], tuple(row.get("members") or ()))
            for row in parameters.get("groups") or ()
        ),
        timeout=parameters.get("timeout", int(task_store.RETRY_BUDGET)),
    )
    problems = list(_problems(desired))
    if problems:
        raise InputError(" ".join(problems))
    return desired


def _problems(desired: Desired) -> t.Iterator[str]:
    if not ids.EXPERIMENT_ID.match(desired.experiment_id):
        yield (
            f"experiment_id {desired.experiment_id!r} is not an experiment id, which is exp_ and 26 of the "
            f"characters 0-9a-z without i, l, o and u, as in {ids.EXAMPLE_EXPERIMENT_ID}."
        )
    if not desired.namespace:
        yield "namespace is empty: give the namespace of the experiment."
    if not desired.instance:
        yield "instance is empty: give the release's name."
    address = urlsplit(desired.url)
    if desired.url and (address.scheme not in ("http", "https") or not address.hostname or address.path):
        yield f"task_store_url {desired.url!r} is not scheme, host and port, as in http://task-store:8080."
    for option, names in (
        ("workers", [worker.name for worker in desired.workers]),
        ("groups", [group.name for group in desired.groups]),
    ):
        for name in names:
            if problem := ids.display_name_problem(name):
                yield f"{option} has the name {name!r}, which the task store refuses: {problem}."
        yield from (
            f"{option} has the name {name!r} twice." for name, count in Counter(names).items() if count > 1
        )
    secrets = Counter(worker.secret for worker in desired.workers)
    yield from (f"workers has the Secret {name!r} twice." for name, count in secrets.items() if count > 1)
    for worker in desired.workers:
        if worker.name in ids.RESERVED_WORKER_NAMES:
            yield f"workers has the name {worker.name!r}, which the task store reserves."
    known = {worker.name for worker in desired.workers}
    for group in desired.groups:
        for member in group.members:
            if member not in known:
                yield f"groups has the member {member!r} in {group.name!r}, which workers does not name."


@contextmanager
def open_task_store(cluster: Cluster, desired: Desired, check_mode: bool) -> t.Iterator[TaskStore | None]:
    """The task store, after it has answered once.

    In ``check_mode`` None, if it does not exist yet, or is still the one from before a change.

    Raises:
        MissingError: there is no task store, or no Secret of the admin's token.
        CredentialsError: the Secret has no token of the admin.
        TaskStoreError: the task store refuses the admin's token, or serves another experiment.
    """
    if task_store.IMPORT_ERROR is not None:
        raise CollectionError(
            f"The Python package 'requests' cannot be imported ({task_store.IMPORT_ERROR}). "
            "Install it into the Python that runs ansible: pip install requests."
        )
    token = admin_token(cluster, desired, check_mode)
    ready = bool(desired.url) or port_forward.find_endpoint(
        cluster, desired.namespace, desired.service, desired.port
    )
    if not ready and not check_mode:
        raise MissingError(
            "The task store is not reachable: run `--tags task_store` first (no ready pod behind "
            f"{describe('Service', desired.namespace, desired.service)})."
        )
    if not ready or not token:
        yield None
        return
    with session(cluster, desired) as carrier, explained(desired):
        if check_mode and not _answers(carrier, desired, token):
            yield None
            return
        store = _store(carrier, desired, token, desired.timeout)
        # The first answer verifies the admin's token and the experiment before any worker's token is checked:
        # the task store of another experiment would refuse them all.
        store.state()
        yield store


def _store(carrier: requests.Session, desired: Desired, token: str, retry_budget: float) -> TaskStore:
    url = desired.url or f"http://{desired.service}.{desired.namespace}:{desired.port}"
    return TaskStore(carrier, url, desired.experiment_id, lambda: token, retry_budget)


def _answers(carrier: requests.Session, desired: Desired, token: str) -> bool:
    """Whether the task store that a run would use exists already; sends one request if that is uncertain."""
    if not desired.url and not desired.task_store_changes:
        return True
    try:
        _store(carrier, desired, token, 0).state()
    except TaskStoreError as error:
        if desired.task_store_changes or error.status == 0 or error.status >= 500:
            return False
        raise
    return True


@contextmanager
def session(cluster: Cluster, desired: Desired) -> t.Iterator[requests.Session]:
    """The session for requests: over the network to a ``task_store_url``, else by a port-forward."""
    if not desired.url:
        with port_forward.forwarded(cluster, desired.namespace, desired.service, desired.port) as carrier:
            yield carrier
        return
    with task_store.network_session() as carrier:
        yield carrier


@contextmanager
def explained(desired: Desired) -> t.Iterator[None]:
    """Adds the origin of the token and of the id to the task store's refusals."""
    try:
        yield
    except TaskStoreError as error:
        source = f"key {desired.admin_key} of {describe('Secret', desired.namespace, desired.admin_secret)}"
        kind = str(error.problem.get("type", ""))
        if error.status == 401 and kind == "eden://error/unauthorized":
            error.message += (
                f" The admin's token was read from {source}, but the task store was started with another "
                "one: run `--tags task_store` to restart it with this token, or restore the other one there."
            )
        elif kind == "eden://error/experiment-id-mismatch":
            error.message += (
                f" The task store does not serve experiment {desired.experiment_id}: correct the id, "
                "or name the Service (or task_store_url) of that experiment's own task store."
            )
        error.args = (error.message,)
        raise


def admin_token(cluster: Cluster, desired: Desired, check_mode: bool) -> str:
    """The admin's token; in ``check_mode`` empty if it does not exist yet.

    Raises:
        MissingError: there is no such Secret.
        CredentialsError: the key is missing, or its value is not a token.
    """
    found = cluster.read("Secret", desired.namespace, desired.admin_secret)
    secret = describe("Secret", desired.namespace, desired.admin_secret)
    value = decoded(found).get(desired.admin_key, "")
    if value and not is_token(value):
        raise CredentialsError(
            f"Key {desired.admin_key} of {secret} does not hold a token: it has blanks, line breaks or "
            "characters other than ASCII, which an HTTP header cannot carry. Remove them."
        )
    if value or check_mode:
        return value
    if found is None:
        raise MissingError(f"The admin's token does not exist: run `--tags infra` first (missing: {secret}).")
    raise CredentialsError(
        f"{secret} lacks the key {desired.admin_key}, the admin's token: run `--tags infra` first or add it.",
        missing=[desired.admin_key],
    )
