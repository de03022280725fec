# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold after every fault: each oracle says in sentences what it finds violated.

A sentence begins with the oracle's name: converges, stays idle, same objects, identities, secrets kept,
claims, nothing left.
"""

from __future__ import annotations

import base64
import hashlib
import http
import json
import re
import typing as t
from dataclasses import dataclass, field

from kube import PATHS, Object
from node import who_am_i
from secret_search import SHORTEST, SecretSearch
from standin_api import Api
from thin_rig import INSTANCE, Experiment, Outcome, processes
from truth_table import GROUPS, WORKERS

CREDENTIALS = f"{INSTANCE}-credentials"
MEMBERS = {name: sorted(members) for name, members in GROUPS.items()}

# What the API server keeps about an object.
SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")
# Digests of what is random in each experiment.
DIGESTS = ("eden.reference/applied", "eden.reference/credentials", "eden.reference/identity")
CLUSTER_IP_FIELDS = ("clusterIP", "clusterIPs")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SEED_JOB = re.compile(rf"{INSTANCE}-seed-[0-9a-f]{{8}}")
# The label of what a test puts beside the experiment.
EQUIPMENT = {"tests.eden.reference/equipment": "true"}
# The objects of controllers, under names that they make up, and of runs.
_MADE = ("Pod", "Lease")

Hashes = dict[tuple[str, str], str]


@dataclass(frozen=True)
class State:
    """What there is of an experiment.

    Attributes:
        objects: each object without what differs between two experiments of the same inputs.
        pods: the number of pods of each component that are to stay.
        workers: for each name the number of workers.
        groups: the names of the members of each group, by its name, for each group of that name.
    """

    objects: dict[str, Object]
    pods: dict[str, int]
    workers: dict[str, int]
    groups: dict[str, list[list[str]]]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run, to which the others are compared."""

    state: State
    first: Outcome
    boundaries: int = 0


@dataclass
class Verdict:
    """What was found after a fault.

    Attributes:
        violations: sentences that begin with the oracle's name.
        outcomes: the runs, in their order.
        faults: the requests that something happened to.
    """

    violations: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def require(self, holds: object, oracle: str, sentence: str) -> None:
        """Note a violation unless it holds."""
        if not holds:
            self.violations.append(f"{oracle}: {sentence}")

    def compare(self, expected: State, found: State) -> None:
        """Note every difference from what is expected."""
        self.violations += [f"same objects: {line}" for line in differences(expected, found)]


def registry(experiment: Experiment) -> Api | None:
    """The registry of the experiment as its admin, None while there is none."""
    store = experiment.node.task_store(experiment.namespace)
    secret = experiment.kube.get("Secret", experiment.namespace, CREDENTIALS)
    if store.server is None or secret is None:
        return None
    (identifier,) = [
        argument.partition("=")[2] for argument in store.arguments if argument.startswith("--experiment-id=")
    ]
    token = base64.b64decode(secret["data"]["EDEN_ADMIN_TOKEN"]).decode()
    return Api(*store.server, identifier, f"admin:{token}")


def hashes(experiment: Experiment) -> Hashes:
    """The digest of each value of each Secret."""
    return {
        (secret["metadata"]["name"], key): hashlib.sha256(value.encode()).hexdigest()
        for secret in experiment.kube.objects("Secret", experiment.namespace)
        for key, value in (secret.get("data") or {}).items()
    }


def valid_identities(experiment: Experiment) -> set[str]:
    """The identity Secrets whose token is taken for the worker's id that is with it."""
    found = registry(experiment)
    if found is None:
        return set()
    return {
        secret["metadata"]["name"]
        for secret in experiment.kube.objects("Secret", experiment.namespace)
        if secret["metadata"]["name"].endswith("-identity") and _is_taken(found, secret)
    }


def _is_taken(found: Api, secret: Object) -> bool:
    worker, token = (
        base64.b64decode((secret.get("data") or {}).get(key, "")).decode() for key in ("worker_id", "token")
    )
    answer = who_am_i((found.host, found.port), found.experiment_id, worker, token)
    return bool(worker) and answer == http.HTTPStatus.OK


def state(experiment: Experiment) -> State:
    """What there is of the experiment."""
    found = registry(experiment)
    assert found is not None, "there is no task store"
    rows = found.ok("GET", "/workers")["workers"]
    names = {row["worker_id"]: row["name"] for row in rows}
    workers = {name: list(names.values()).count(name) for name in sorted(set(names.values()))}
    groups: dict[str, list[list[str]]] = {}
    for row in found.ok("GET", "/groups")["groups"]:
        groups.setdefault(row["name"], []).append(
            sorted(names.get(member, member) for member in row["members"])
        )
    replacements = {found.experiment_id: "EXPERIMENT", experiment.namespace: "NAMESPACE"}
    replacements |= {worker: f"ID-OF-{name}" for worker, name in names.items()}
    objects = {}
    for kind in (kind for kind in PATHS if kind not in _MADE):
        for thing in experiment.kube.objects(kind, experiment.namespace):
            if EQUIPMENT.items() <= (thing["metadata"].get("labels") or {}).items():
                continue
            normalized = _normalized(kind, thing, replacements)
            objects[f"{kind} {normalized['metadata']['name']}"] = normalized
    pods: dict[str, int] = {}
    for pod in experiment.kube.objects("Pod", experiment.namespace):
        if not pod["metadata"].get("deletionTimestamp"):
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            pods[component] = pods.get(component, 0) + 1
    return State(objects, pods, workers, groups)


def _normalized(kind: str, thing: Object, replacements: t.Mapping[str, str]) -> Object:
    kept = {key: value for key, value in thing.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in thing["metadata"].items() if key not in SERVER_FIELDS}
    annotations = dict(kept["metadata"].get("annotations") or {})
    kept["metadata"]["annotations"] = annotations
    template = ((kept.get("spec") or {}).get("template") or {}).get("metadata") or {}
    for place in (annotations, template.get("annotations") or {}):
        place.update({key: "DIGEST" for key in DIGESTS if place.get(key)})
    if kind == "Secret":
        kept["data"] = {
            key: _described(value, replacements) for key, value in (kept.get("data") or {}).items()
        }
        annotations.update(dict.fromkeys(annotations, "TEXT"))
    if kind == "Service" and kept["spec"].get("clusterIP") != "None":
        kept["spec"] = {key: value for key, value in kept["spec"].items() if key not in CLUSTER_IP_FIELDS}
    text = json.dumps(kept)
    for old, new in replacements.items():
        text = text.replace(old, new)
    return dict(json.loads(_SEED_JOB.sub(f"{INSTANCE}-seed-DIGEST", _UUID.sub("UID", text))))


def _described(value: str, replacements: t.Mapping[str, str]) -> str:
    """What a value of a Secret is: a known id, or how long it is."""
    text = base64.b64decode(value).decode(errors="replace")
    return replacements.get(text, f"{len(text)} characters")


def differences(expected: State, found: State) -> list[str]:
    """What is not as in the reference, a line each."""
    lines = []
    for name in sorted(expected.objects.keys() | found.objects.keys()):
        ours, theirs = found.objects.get(name), expected.objects.get(name)
        if ours != theirs:
            lines.append(f"{name}: {_difference(theirs, ours)}")
    for part in ("pods", "workers", "groups"):
        if getattr(expected, part) != getattr(found, part):
            lines.append(f"{part}: {getattr(found, part)} in place of {getattr(expected, part)}")
    return lines


def _difference(expected: t.Any, found: t.Any, path: str = "") -> str:
    """The first place where two values differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                return _difference(expected.get(key), found.get(key), f"{path}.{key}")
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (theirs, ours) in enumerate(zip(expected, found, strict=True)):
            if theirs != ours:
                return _difference(theirs, ours, f"{path}[{index}]")
    return f"{path} is {json.dumps(found)[:300]} in place of {json.dumps(expected)[:300]}"


def identities_hold(verdict: Verdict, experiment: Experiment, found: State) -> None:
    """One worker for each name and replica, exact groups, and a token in each Secret that is taken."""
    verdict.require(
        found.workers == dict.fromkeys(WORKERS, 1),
        "identities",
        f"the registry has these workers: {found.workers}",
    )
    verdict.require(
        found.groups == {name: [members] for name, members in MEMBERS.items()},
        "identities",
        f"the groups have these members: {found.groups}",
    )
    expected = {f"{INSTANCE}-{name}-identity" for name in WORKERS}
    taken = valid_identities(experiment)
    verdict.require(taken == expected, "identities", f"the token of {sorted(expected - taken)} is not taken")


def nothing_is_left(verdict: Verdict, experiment: Experiment) -> None:
    """No process of a run, no port-forward, no temporary file, no secret in any file."""
    left = processes(experiment.namespace)
    verdict.require(not left, "nothing left", f"there are processes of the runs: {left}")
    forwards = experiment.open_forwards()
    verdict.require(forwards == 0, "nothing left", f"{forwards} port-forwards are open")
    files = [str(path.relative_to(experiment.temporary)) for path in experiment.temporary.rglob("*")]
    verdict.require(not files, "nothing left", f"there are temporary files: {files}")
    no_secret_in_files(verdict, experiment)


def secret_values(experiment: Experiment) -> dict[str, str]:
    """What no file may hold: the values of the Secrets, every token that was issued, the kubeconfig's own."""
    found = {
        f"{key} of Secret {secret['metadata']['name']}": base64.b64decode(value).decode(errors="replace")
        for secret in experiment.kube.objects("Secret", experiment.namespace)
        for key, value in (secret.get("data") or {}).items()
        if key != "worker_id"
    }
    tokens = experiment.node.task_store(experiment.namespace).tokens
    found |= {f"issued token {number}": token for number, token in enumerate(tokens - set(found.values()))}
    return {
        label: value for label, value in {**found, **experiment.private}.items() if len(value) >= SHORTEST
    }


def no_secret_in_files(verdict: Verdict, experiment: Experiment) -> None:
    """No file of a run holds a secret; what a killed run has left is looked at before it is removed."""
    contents = {}
    for path in experiment.directory.rglob("*"):
        if path.is_file() and path != experiment.kubeconfig:
            contents[f"the file {path.relative_to(experiment.directory)}"] = path.read_bytes()
    for hit in SecretSearch(secret_values(experiment)).find_in(contents):
        verdict.require(False, "nothing left", str(hit))


def claims_hold(verdict: Verdict, experiment: Experiment) -> None:
    """No task is claimed by a worker whose container is younger than the claim: it would never submit."""
    found = registry(experiment)
    if found is None:
        return
    started: dict[str, list[str]] = {}
    for pod in experiment.kube.objects("Pod", experiment.namespace):
        for volume in pod["spec"].get("volumes") or []:
            if volume["name"] == "identity":
                started.setdefault(volume["secret"]["secretName"], []).extend(_beginnings(pod))
    names = {row["worker_id"]: row["name"] for row in found.ok("GET", "/workers")["workers"]}
    for task in found.ok("GET", "/tasks?state=claimed"):
        claimed, name = (
            task["claim"]["claimed_at"],
            names.get(task["claim"]["worker_id"], "an unknown worker"),
        )
        # A pod that is on its way out may still submit, beside the one that takes its place.
        since = min(started.get(f"{INSTANCE}-{name}-identity") or ["never"])
        # A pod's time has whole seconds.
        verdict.require(
            since[:19] <= claimed[:19],
            "claims",
            f"task {task['task_id']} is claimed by {name} since {claimed}, whose pod began {since}",
        )


def _beginnings(pod: Object) -> list[str]:
    """When the running container of a worker's pod began, nothing if there is none."""
    rows = (pod.get("status") or {}).get("containerStatuses") or []
    return [row["state"]["running"]["startedAt"] for row in rows if "running" in row["state"]]


def check_after_kill(
    experiment: Experiment, reference: Reference, secrets: Hashes, valid: t.Collection[str]
) -> Verdict:
    """All oracles, after a kill that left these Secrets, of which the ``valid`` ones had a good token."""
    forget_temporary_files(experiment)
    verdict = check_run(experiment, reference, experiment.run())
    secrets_are_kept(verdict, experiment, secrets, valid)
    return verdict


def check_run(experiment: Experiment, reference: Reference, outcome: Outcome) -> Verdict:
    """All oracles but that of the kept secrets, after a run that is to have succeeded."""
    verdict = Verdict(outcomes=[outcome])
    verdict.require(outcome.status == 0, "converges", f"the run ended with {outcome.status}: {tail(outcome)}")
    if outcome.status != 0:
        return verdict
    again = outcome
    if again.writes or again.recap["changed"]:
        again = experiment.run()
        verdict.outcomes.append(again)
    verdict.require(
        again.status == 0 and again.recap.get("changed") == 0 and not again.writes,
        "stays idle",
        f"the next run ended with {again.status}, changed {again.recap.get('changed')} tasks and wrote "
        f"{[str(request) for request in again.writes]}: {tail(again)}",
    )
    found = state(experiment)
    verdict.compare(reference.state, found)
    identities_hold(verdict, experiment, found)
    claims_hold(verdict, experiment)
    nothing_is_left(verdict, experiment)
    return verdict


def secrets_are_kept(
    verdict: Verdict, experiment: Experiment, before: Hashes, valid: t.Collection[str]
) -> None:
    """What was generated stays, and so does a token that was good."""
    after = hashes(experiment)
    for (name, key), value in before.items():
        if not name.endswith("-identity") or name in valid or key == "worker_id":
            verdict.require(
                after.get((name, key)) == value, "secrets kept", f"Secret {name} has another {key}"
            )


def forget_temporary_files(experiment: Experiment) -> None:
    """Remove what a run left that was killed: what a program was about to remove itself."""
    for path in sorted(experiment.temporary.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def tail(outcome: Outcome, lines: int = 25) -> str:
    """The end of what a run printed."""
    return "\n".join(outcome.output.splitlines()[-lines:])
