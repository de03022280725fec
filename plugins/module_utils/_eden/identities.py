# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``identities``: observes, plans, and takes the steps of the plan.

A token goes from the task store's answer into its Secret, and from the Secret into the Authorization header
of whoami. It is in no result, no message and no argument.
This module is private to the collection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import typing as t
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible_collections.eden.reference.plugins.module_utils._collection import MANAGED_BY
from ansible_collections.eden.reference.plugins.module_utils._eden import ids, task_store
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import (
    CredentialsError,
    IdentityError,
    TaskStoreError,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import (
    INSTANCE_LABEL,
    GroupObservation,
    GroupStep,
    Observation,
    Plan,
    WorkerObservation,
    WorkerStep,
    ambiguous,
    ours,
    plan,
    plan_unseen,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import (
    Credential,
    LostReplyError,
    TaskStore,
    is_token,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    CollectionError,
    ConflictError,
    InputError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube import port_forward
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

if t.TYPE_CHECKING:
    import requests

# What the task store calls everybody when it was started without an admin token.
ANONYMOUS = "anonymous"

NAME_ANNOTATION = "eden.reference/worker-name"

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
    # Names of Secrets, which are no secrets.
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
    "groups": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "default": []},
        },
    },
    "timeout": {"type": "int", "default": int(task_store.PATIENCE)},
}


@dataclass(frozen=True)
class WantedWorker:
    """A wanted worker, its Secret's name and the labels of the Secret."""

    name: str
    secret: str
    labels: t.Mapping[str, str]


@dataclass(frozen=True)
class WantedGroup:
    """A wanted group and the names of the workers that belong into it."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """The options of the module, checked."""

    namespace: str
    instance: str
    experiment_id: str
    service: str
    port: int
    url: str
    task_store_changes: bool
    admin_secret: str
    admin_key: str
    workers: tuple[WantedWorker, ...]
    groups: tuple[WantedGroup, ...]
    timeout: int

    @property
    def label(self) -> str:
        """The value of the registry label: which instance minted a worker."""
        return f"{self.namespace}/{self.instance}"


@dataclass(frozen=True)
class Held:
    """What an identity Secret holds; ``version`` is empty where there is no such Secret."""

    version: str = ""
    worker_id: str = ""
    token: str = field(default="", repr=False)


def run(task: Task) -> dict[str, t.Any]:
    """Bring the registry and the identity Secrets to the wanted state; in check mode, say what that changes.

    Returns:
        ``changed``, ``identities``, ``groups`` and, where asked for, ``diff``.

    Raises:
        CollectionError: see the exception tree; a message never holds a token.
    """
    if task_store.IMPORT_ERROR is not None:
        raise CollectionError(
            f"The Python package 'requests' cannot be imported ({task_store.IMPORT_ERROR}). "
            "Install it into the Python that runs ansible: pip install requests."
        )
    wanted = wanted_of(task.parameters)
    with connected(task.parameters) as cluster:
        held = {
            worker.name: read_secret(cluster, wanted.namespace, worker.secret) for worker in wanted.workers
        }
        with open_task_store(cluster, wanted, task.check_mode) as store:
            if store is None:
                task.progress("no task store to ask yet: what the identity Secrets hold is taken to be good")
                observation = observe_secrets(wanted, held)
                steps = plan_unseen(observation)
            else:
                observation = observe(store, wanted, held)
                steps = plan(observation)
            outcome = Outcome.predict(wanted, steps, held)
            if store is not None and not task.check_mode:
                Work(cluster, store, wanted, held, task.progress).do(steps, outcome)
    result: dict[str, t.Any] = {
        "changed": steps.changes,
        "identities": outcome.identities,
        "groups": outcome.groups,
    }
    if task.diff:
        result["diff"] = {"before": before(observation, steps), "after": after(outcome, steps)}
    return result


def wanted_of(parameters: t.Mapping[str, t.Any]) -> Wanted:
    """The module's options.

    Raises:
        InputError: an option breaks a rule; the message names the option, its value and the rule.
    """
    wanted = Wanted(
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
            WantedWorker(
                row["name"],
                row["secret"],
                {key: str(value) for key, value in (row.get("labels") or {}).items()},
            )
            for row in parameters["workers"]
        ),
        groups=tuple(
            WantedGroup(row["name"], tuple(row.get("members") or ()))
            for row in parameters.get("groups") or ()
        ),
        timeout=parameters.get("timeout", int(task_store.PATIENCE)),
    )
    faults = list(_faults(wanted))
    if faults:
        raise InputError(" ".join(faults))
    return wanted


def _faults(wanted: Wanted) -> t.Iterator[str]:
    if not ids.EXPERIMENT_ID.match(wanted.experiment_id):
        yield (
            f"experiment_id {wanted.experiment_id!r} is no experiment id: those are exp_ and 26 of the "
            f"characters 0-9a-z without i, l, o and u, as in {ids.EXAMPLE_EXPERIMENT_ID}."
        )
    if not wanted.namespace:
        yield "namespace is empty: give the namespace of the experiment."
    if not wanted.instance:
        yield "instance is empty: give the release's name."
    address = urlsplit(wanted.url)
    if wanted.url and (address.scheme not in ("http", "https") or not address.hostname or address.path):
        yield f"task_store_url {wanted.url!r} is not scheme, host and port, as in http://task-store:8080."
    for option, names in (
        ("workers", [worker.name for worker in wanted.workers]),
        ("groups", [group.name for group in wanted.groups]),
    ):
        for name in names:
            fault = ids.display_name_fault(name)
            if fault:
                yield f"{option} has the name {name!r}, which the task store refuses: {fault}."
        yield from (
            f"{option} has the name {name!r} twice." for name, count in Counter(names).items() if count > 1
        )
    secrets = Counter(worker.secret for worker in wanted.workers)
    yield from (f"workers has the Secret {name!r} twice." for name, count in secrets.items() if count > 1)
    for worker in wanted.workers:
        if worker.name in ids.RESERVED_WORKER_NAMES:
            yield f"workers has the name {worker.name!r}, which the task store keeps for itself."
    known = {worker.name for worker in wanted.workers}
    for group in wanted.groups:
        for member in group.members:
            if member not in known:
                yield f"groups has the member {member!r} in {group.name!r}, which workers does not name."


@contextmanager
def open_task_store(cluster: Cluster, wanted: Wanted, check_mode: bool) -> t.Iterator[TaskStore | None]:
    """The task store, which has answered once; None where ``check_mode`` forgives that it is not there yet,
    or that it is still the one from before a change.

    Raises:
        MissingError: there is no task store, or no Secret of the admin's token.
        CredentialsError: the Secret has no token of the admin.
        TaskStoreError: the task store refuses the admin's token, or serves another experiment.
    """
    token = admin_token(cluster, wanted, check_mode)
    ready = bool(wanted.url) or port_forward.find_endpoint(
        cluster, wanted.namespace, wanted.service, wanted.port
    )
    if not ready and not check_mode:
        raise MissingError(
            "The task store is not reachable: run `--tags task_store` first (looked for a ready pod behind "
            f"{describe('Service', wanted.namespace, wanted.service)})."
        )
    if not ready or not token:
        yield None
        return
    with session(cluster, wanted) as carrier, explained(wanted):
        if check_mode and not _answers(carrier, wanted, token):
            yield None
            return
        store = _store(carrier, wanted, token, wanted.timeout)
        # The first answer proves the admin's token and the experiment before any worker's token is judged:
        # the task store of another experiment would refuse them all.
        store.state()
        yield store


def _store(carrier: requests.Session, wanted: Wanted, token: str, patience: float) -> TaskStore:
    url = wanted.url or f"http://{wanted.service}.{wanted.namespace}:{wanted.port}"
    return TaskStore(carrier, url, wanted.experiment_id, lambda: token, patience=patience)


def _answers(carrier: requests.Session, wanted: Wanted, token: str) -> bool:
    """Whether the task store that a run would ask is there already, by one request where it may not be."""
    if not wanted.url and not wanted.task_store_changes:
        return True
    try:
        _store(carrier, wanted, token, 0).state()
    except TaskStoreError as error:
        if wanted.task_store_changes or error.status == 0 or error.status >= 500:
            return False
        raise
    return True


@contextmanager
def session(cluster: Cluster, wanted: Wanted) -> t.Iterator[requests.Session]:
    """What carries the requests: the network for a ``task_store_url``, else the port-forward."""
    if not wanted.url:
        with port_forward.forwarded(cluster, wanted.namespace, wanted.service, wanted.port) as carrier:
            yield carrier
        return
    with task_store.network_session() as carrier:
        yield carrier


@contextmanager
def explained(wanted: Wanted) -> t.Iterator[None]:
    """Adds to the task store's refusals what only this module knows."""
    try:
        yield
    except TaskStoreError as error:
        source = f"key {wanted.admin_key} of {describe('Secret', wanted.namespace, wanted.admin_secret)}"
        kind = str(error.problem.get("type", ""))
        if error.status == 401 and kind == "eden://error/unauthorized":
            error.message += (
                f" The admin's token was read from {source}, and the task store was started with another: "
                "run `--tags task_store` to restart it with that token, or put the one that it has there."
            )
        elif kind == "eden://error/experiment-id-mismatch":
            error.message += (
                f" The task store serves another experiment than {wanted.experiment_id}: correct the id, "
                "or name the Service (or task_store_url) of that experiment's own task store."
            )
        error.args = (error.message,)
        raise


def admin_token(cluster: Cluster, wanted: Wanted, check_mode: bool) -> str:
    """The admin's token; empty where it is not there yet and ``check_mode`` forgives that.

    Raises:
        MissingError: there is no such Secret.
        CredentialsError: the key is missing, or what it holds is not a token.
    """
    found = cluster.read("Secret", wanted.namespace, wanted.admin_secret)
    secret = describe("Secret", wanted.namespace, wanted.admin_secret)
    value = _decoded(found, wanted.admin_key)
    if value and not is_token(value):
        raise CredentialsError(
            f"Key {wanted.admin_key} of {secret} does not hold a token: it has blanks, line breaks or "
            "characters outside ASCII, which no HTTP header carries. Write the token without them."
        )
    if value or check_mode:
        return value
    if found is None:
        raise MissingError(f"The admin's token is not there: run `--tags infra` first (looked for {secret}).")
    raise CredentialsError(
        f"{secret} lacks the key {wanted.admin_key}, the admin's token: run `--tags infra` first, or add it.",
        missing=[wanted.admin_key],
    )


def read_secret(cluster: Cluster, namespace: str, name: str) -> Held:
    """What the identity Secret holds; an id or a token that cannot be one counts as missing."""
    found = cluster.read("Secret", namespace, name)
    if found is None:
        return Held()
    worker_id, token = _decoded(found, "worker_id").strip(), _decoded(found, "token").strip()
    return Held(
        version=found["metadata"]["resourceVersion"],
        worker_id=worker_id if ids.WORKER_ID.match(worker_id) else "",
        token=token if is_token(token) else "",
    )


def _decoded(secret: Object | None, key: str) -> str:
    try:
        return base64.b64decode(((secret or {}).get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def observe_secrets(wanted: Wanted, held: t.Mapping[str, Held]) -> Observation:
    """What the cluster alone shows."""
    return Observation(
        wanted.label,
        tuple(
            WorkerObservation(row.name, row.secret, held[row.name].worker_id, bool(held[row.name].token))
            for row in wanted.workers
        ),
        tuple(GroupObservation(group.name, group.members) for group in wanted.groups),
    )


def observe(store: TaskStore, wanted: Wanted, held: t.Mapping[str, Held]) -> Observation:
    """What the cluster and the task store show; reads only.

    Raises:
        IdentityError: the task store does not authenticate anybody.
    """
    return Observation(
        wanted.label,
        tuple(_observe_worker(store, wanted, worker, held[worker.name]) for worker in wanted.workers),
        tuple(
            GroupObservation(group.name, group.members, tuple(store.find_groups(group.name)))
            for group in wanted.groups
        ),
    )


def bearer_of(store: TaskStore, wanted: Wanted, worker: WantedWorker, held: Held) -> str:
    """The id that the task store gives to the bearer of the Secret's token.

    Empty where it refuses the token, and where the bearer is another of the wanted workers: two Secrets whose
    contents were swapped are both good, and each service would act as the other.

    Raises:
        IdentityError: the task store does not authenticate anybody.
    """
    bearer = store.whoami(held.worker_id, held.token) if held.worker_id and held.token else None
    if bearer is None:
        return ""
    if bearer.worker_id == ANONYMOUS:
        raise IdentityError(
            "The task store runs without authentication: it answers everybody. Start it with --admin-token."
        )
    others = {other.name for other in wanted.workers} - {worker.name}
    return "" if bearer.name in others else bearer.worker_id


def _observe_worker(store: TaskStore, wanted: Wanted, worker: WantedWorker, held: Held) -> WorkerObservation:
    bearer = bearer_of(store, wanted, worker, held)
    proven = bool(bearer) and bearer == held.worker_id
    return WorkerObservation(
        name=worker.name,
        secret=worker.secret,
        worker_id=held.worker_id,
        has_token=bool(held.token),
        bearer=bearer,
        held=None if proven or not held.worker_id else store.worker(held.worker_id),
        namesakes=() if proven else tuple(store.find_workers(worker.name)),
    )


@dataclass
class Outcome:
    """The results ``identities`` and ``groups``: what the plan says, filled in while it is carried out."""

    identities: dict[str, dict[str, t.Any]]
    groups: dict[str, dict[str, t.Any]]

    @classmethod
    def predict(cls, wanted: Wanted, steps: Plan, held: t.Mapping[str, Held]) -> Outcome:
        """What is known before anything is done; null is what only the task store can tell."""
        secrets = {worker.name: worker.secret for worker in wanted.workers}
        return cls(
            identities={
                step.name: {
                    "worker_id": step.worker_id or None,
                    "secret": secrets[step.name],
                    "checksum": checksum(step.worker_id, held[step.name].token)
                    if step.verb == "unchanged"
                    else None,
                    "action": step.verb,
                }
                for step in steps.workers
            },
            groups={
                step.name: {"group_id": step.group_id or None, "action": step.verb, "added": list(step.add)}
                for step in steps.groups
            },
        )


@dataclass(frozen=True)
class Work:
    """Carries out a plan: the groups, the workers one by one, each with its Secret, then the memberships.

    Killed anywhere, the next run finds the rest: a row without a Secret is found by its name and label.
    """

    cluster: Cluster
    store: TaskStore
    wanted: Wanted
    held: t.Mapping[str, Held]
    progress: t.Callable[[str], None]

    def do(self, steps: Plan, outcome: Outcome) -> None:
        """Take the steps and fill in their results."""
        for group in steps.groups:
            if not group.group_id:
                outcome.groups[group.name]["group_id"] = self._create_group(group.name)
        for worker, step in zip(self.wanted.workers, steps.workers, strict=True):
            if step.verb != "unchanged":
                credential = self._credential(worker, step)
                outcome.identities[worker.name].update(
                    worker_id=credential.worker.worker_id,
                    checksum=checksum(credential.worker.worker_id, credential.token),
                )
        for group in steps.groups:
            for name in group.add:
                self.store.add_member(
                    outcome.groups[group.name]["group_id"], outcome.identities[name]["worker_id"]
                )
            if group.add:
                self.progress(f"added {', '.join(group.add)} to the group {group.name}")

    def _create_group(self, name: str) -> str:
        while True:
            lost: TaskStoreError | None = None
            try:
                created = self.store.create_group(name)
                if created is not None:
                    return created.group_id
            except LostReplyError as error:
                lost = error
            found = self.store.find_groups(name)
            if len(found) == 1:
                return found[0].group_id
            if found or lost is None:
                raise IdentityError(
                    f"The group {name} was made by somebody else meanwhile, and the registry lists "
                    f"{len(found)} of that name. Let the other run end, and run again."
                )
            self.store.pause(lost)

    def _credential(self, worker: WantedWorker, step: WorkerStep) -> Credential:
        """The worker's new token, which is in its Secret already."""
        # A Secret that could not be written would cost a token; ask before one is made.
        self._write(worker, step.worker_id, "", dry_run=True)
        credential = self.store.reissue(step.worker_id) if step.worker_id else self._mint(worker)
        worker_id = credential.worker.worker_id
        self._write(worker, worker_id, credential.token)
        self.progress(f"{step.verb} {worker.name}: {worker_id}, Secret {worker.secret}")
        return credential

    def _mint(self, worker: WantedWorker) -> Credential:
        while True:
            try:
                return self.store.register(worker.name, {INSTANCE_LABEL: self.wanted.label})
            except LostReplyError as lost:
                # The task store executes one request after the other: this sees what became of the lost one.
                found = ours(self.store.find_workers(worker.name), self.wanted.label)
                if len(found) > 1:
                    raise ambiguous(worker.name, worker.secret, found, "that were minted just now") from lost
                if found:
                    return self.store.reissue(found[0].worker_id)
                self.store.pause(lost)

    def _write(self, worker: WantedWorker, worker_id: str, token: str, dry_run: bool = False) -> None:
        version = self.held[worker.name].version
        definition = secret_definition(self.wanted.namespace, worker, worker_id, token, version)
        try:
            self.cluster.apply(definition, dry_run=dry_run)
        except ConflictError as error:
            # The answer to a write that succeeded may have been lost; its second try then meets the first.
            written = read_secret(self.cluster, self.wanted.namespace, worker.secret)
            if not dry_run and (written.worker_id, written.token) == (worker_id, token):
                return
            raise IdentityError(
                f"{describe('Secret', self.wanted.namespace, worker.secret)} was changed by somebody else "
                "while this ran, and was left as it is. Let the other run end, and run again.",
                worker=worker.name,
                secret=worker.secret,
            ) from error


def secret_definition(
    namespace: str, worker: WantedWorker, worker_id: str, token: str, version: str
) -> Object:
    """The identity Secret; with ``version`` it is written only where the Secret is still at that version."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": worker.secret,
            "namespace": namespace,
            "labels": {**worker.labels, **MANAGED_BY},
            "annotations": {NAME_ANNOTATION: worker.name},
            **({"resourceVersion": version} if version else {}),
        },
        "type": "Opaque",
        "data": {
            "worker_id": base64.b64encode(worker_id.encode()).decode(),
            "token": base64.b64encode(token.encode()).decode(),
        },
    }


def checksum(worker_id: str, token: str) -> str:
    """Hex SHA-256 of the identity, for the annotation that restarts its pods; the token has 256 bits."""
    return hashlib.sha256(f"{worker_id}:{token}".encode()).hexdigest()


def before(observation: Observation, steps: Plan) -> dict[str, t.Any]:
    """The first half of the diff."""
    verbs = {step.name: step.verb for step in steps.workers}
    names = {step.worker_id: step.name for step in steps.workers if step.worker_id}
    return {
        "workers": {
            worker.name: {
                "worker_id": worker.worker_id or None,
                "secret": worker.secret,
                "token": _token_before(worker, verbs[worker.name]),
            }
            for worker in observation.workers
            if worker.worker_id or worker.has_token
        },
        "groups": {
            step.name: {"group_id": step.group_id or None, "members": _members(step, names)}
            for step in steps.groups
            if step.group_id or step.unseen
        },
    }


def after(outcome: Outcome, steps: Plan) -> dict[str, t.Any]:
    """The second half of the diff."""
    names = {step.worker_id: step.name for step in steps.workers if step.worker_id}
    return {
        "workers": {
            name: {"worker_id": row["worker_id"], "secret": row["secret"], "token": row["action"]}
            for name, row in outcome.identities.items()
        },
        "groups": {
            step.name: {
                "group_id": outcome.groups[step.name]["group_id"],
                "members": sorted({*_members(step, names), *step.add}),
            }
            for step in steps.groups
        },
    }


def _token_before(worker: WorkerObservation, verb: str) -> str:
    if not worker.has_token:
        return "missing"
    return "unchanged" if verb == "unchanged" else "invalid"


def _members(step: GroupStep, names: t.Mapping[str, str]) -> list[str]:
    """The members, those that we know by name."""
    return sorted(names.get(member, member) for member in step.members)


__all__ = ["ARGUMENTS", "run"]
