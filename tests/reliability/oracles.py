# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold after every fault: each oracle tells in sentences what it finds violated.

O1 converges, O2 rests, O3 same objects as an undisturbed run, O4 identities exact, O5 secrets unchanged, O10
nothing left behind.
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
from standin_api import Api
from thin_rig import INSTANCE, Experiment, Outcome, processes

CREDENTIALS = f"{INSTANCE}-credentials"
WORKERS = ("evaluator-host-1", "executor-host-1", "ideator-host-1", "operator", "orchestrator", "web-ui-1")
MEMBERS = {"admins": ["operator", "web-ui-1"], "orchestrators": ["orchestrator"]}

# What the API server keeps about an object.
SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")
# Digests of what is random in each experiment.
DIGESTS = ("eden.reference/applied", "eden.reference/credentials", "eden.reference/identity")
CLUSTER_IP_FIELDS = ("clusterIP", "clusterIPs")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SEED_JOB = re.compile(rf"{INSTANCE}-seed-[0-9a-f]{{8}}")
# The label of what a test puts beside the experiment.
EQUIPMENT = {"tests.eden.reference/equipment": "true"}
# The kinds whose objects come from controllers, under names that they make up.
_MADE = ("Pod",)

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
        violations: sentences that begin with the oracle's id.
        outcomes: the runs, in their order.
        faults: the requests that something happened to.
    """

    violations: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def need(self, holds: object, oracle: str, sentence: str) -> None:
        """Note a violation unless it holds."""
        if not holds:
            self.violations.append(f"{oracle} {sentence}")


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
            essence = _essence(kind, thing, replacements)
            objects[f"{kind} {essence['metadata']['name']}"] = essence
    pods: dict[str, int] = {}
    for pod in experiment.kube.objects("Pod", experiment.namespace):
        if not pod["metadata"].get("deletionTimestamp"):
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            pods[component] = pods.get(component, 0) + 1
    return State(objects, pods, workers, groups)


def _essence(kind: str, thing: Object, replacements: t.Mapping[str, str]) -> Object:
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
    """O4: one worker for each name and replica, exact groups, and a token in each Secret that is taken."""
    verdict.need(
        found.workers == dict.fromkeys(WORKERS, 1), "O4", f"the registry has these workers: {found.workers}"
    )
    verdict.need(
        found.groups == {name: [members] for name, members in MEMBERS.items()},
        "O4",
        f"the groups have these members: {found.groups}",
    )
    expected = {f"{INSTANCE}-{name}-identity" for name in WORKERS}
    taken = valid_identities(experiment)
    verdict.need(taken == expected, "O4", f"the token of {sorted(expected - taken)} is not taken")


def nothing_is_left(verdict: Verdict, experiment: Experiment) -> None:
    """O10: no process of a run, no port-forward, no temporary file."""
    left = processes(experiment.namespace)
    verdict.need(not left, "O10", f"there are processes of the runs: {left}")
    forwards = experiment.open_forwards()
    verdict.need(forwards == 0, "O10", f"{forwards} port-forwards are open")
    files = [str(path.relative_to(experiment.temporary)) for path in experiment.temporary.rglob("*")]
    verdict.need(not files, "O10", f"there are temporary files: {files}")


def judge_after_kill(
    experiment: Experiment, reference: Reference, secrets: Hashes, valid: t.Collection[str]
) -> Verdict:
    """All oracles, after a kill that left these Secrets, of which the ``valid`` ones had a good token."""
    forget_temporary_files(experiment)
    verdict = judge_run(experiment, reference, experiment.run())
    secrets_are_kept(verdict, experiment, secrets, valid)
    return verdict


def judge_run(experiment: Experiment, reference: Reference, outcome: Outcome) -> Verdict:
    """All oracles but O5, after a run that is to have succeeded."""
    verdict = Verdict(outcomes=[outcome])
    verdict.need(outcome.status == 0, "O1", f"the run ended with {outcome.status}: {tail(outcome)}")
    if outcome.status != 0:
        return verdict
    again = outcome
    if again.writes or again.recap["changed"]:
        again = experiment.run()
        verdict.outcomes.append(again)
    verdict.need(
        again.status == 0 and again.recap.get("changed") == 0 and not again.writes,
        "O2",
        f"the next run ended with {again.status}, changed {again.recap.get('changed')} tasks and wrote "
        f"{[str(request) for request in again.writes]}: {tail(again)}",
    )
    found = state(experiment)
    for line in differences(reference.state, found):
        verdict.need(False, "O3", line)
    identities_hold(verdict, experiment, found)
    nothing_is_left(verdict, experiment)
    return verdict


def secrets_are_kept(
    verdict: Verdict, experiment: Experiment, before: Hashes, valid: t.Collection[str]
) -> None:
    """O5: what was generated stays, and so does a token that was good."""
    after = hashes(experiment)
    for (name, key), value in before.items():
        if not name.endswith("-identity") or name in valid or key == "worker_id":
            verdict.need(after.get((name, key)) == value, "O5", f"Secret {name} has another {key}")


def forget_temporary_files(experiment: Experiment) -> None:
    """Remove what a run left that was killed: what a program was about to remove itself."""
    for path in sorted(experiment.temporary.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def tail(outcome: Outcome, lines: int = 25) -> str:
    """The end of what a run printed."""
    return "\n".join(outcome.output.splitlines()[-lines:])
