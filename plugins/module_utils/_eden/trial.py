# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tries changed pods in pods of their own, before anything that runs is replaced.

What such a pod runs is in the catalogue of components. It tells facts in lines ``EDEN_TRIAL NAME VALUE``.
This module is private to the collection.
"""

from __future__ import annotations

import copy
import json
import math
import re
import typing as t
from decimal import Decimal

from ansible_collections.eden.reference.plugins.module_utils._collection import MANAGED_BY_LABEL, NAME
from ansible_collections.eden.reference.plugins.module_utils._eden.diagnosis import (
    OWN_INPUTS,
    claims_of,
    input_of,
    mask_line,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import TrialError
from ansible_collections.eden.reference.plugins.module_utils._eden.rollout import TIMEOUT, Clock, roll_out
from ansible_collections.eden.reference.plugins.module_utils._eden.stopping import TRIAL_LABEL
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, CollectionError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object
from ansible_collections.eden.reference.plugins.module_utils._kube.comparison import foreign_owner
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    container_statuses,
    pods_of,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

try:
    from kubernetes.utils.quantity import parse_quantity
except ImportError:
    # Connecting to the cluster reports it.
    parse_quantity = None  # type: ignore[assignment]

Progress = t.Callable[[str], None]
Resources = t.Mapping[str, t.Mapping[str, str]]

REPLICA_LABEL = f"{NAME}/replica"
# By these labels, pods that share a volume come to one node.
SHARING_LABELS = (f"{NAME}/shares-artifacts", "app.kubernetes.io/name", "app.kubernetes.io/instance")
CREDENTIALS_ANNOTATION = f"{NAME}/credentials"
# What a trial's container has of the one that it stands for.
KEPT = ("name", "image", "imagePullPolicy", "env", "envFrom")
# The fields of a pod and of its containers that decide where and whether it starts.
SCHEDULING = ("nodeSelector", "affinity", "tolerations")
POD_FIELDS = (*SCHEDULING, "runtimeClassName", "imagePullSecrets", "securityContext")
CONTAINER_FIELDS = ("image", "imagePullPolicy", "resources", "securityContext", "command", "envFrom")
# The container's fields that an input of the component sets, and the end of the input's name.
INPUTS = {"image": "image", "imagePullPolicy": "image_pull_policy", "resources": "resources"}
# Of the others, such as devices and huge pages, a container gets what it requests and no more.
OVERCOMMITTED = ("cpu", "memory", "ephemeral-storage")
# The limits of a namespace may refuse small requests.
STRICT = "limit_range"
# Causes that concern one more pod, not the changed one.
CROWDED = ("quota", "limit_range", "admission", "unschedulable")
# Longer than the wait, which reports more exactly.
MARGIN = 60
KEPT_SECONDS = 300

_FACT = re.compile(r"^EDEN_TRIAL (\w+) (.*)$", re.MULTILINE)
# The arguments are the command; its output is the version.
_TELL_OLD = '"$@" > /tmp/before'
_TELL_BOTH = 'after=$("$@") && echo "EDEN_TRIAL before $(cat /tmp/before)" && echo "EDEN_TRIAL after $after"'


class Restart(t.NamedTuple):
    """A workload whose pods are about to be replaced.

    Attributes:
        before: the live StatefulSet or Deployment.
        after: what it will be, as the API server predicts it.
        component: its component.
        trial: the field ``trial`` of the component's entry in the catalogue, empty for no trial.
    """

    before: Object
    after: Object
    component: str
    trial: t.Mapping[str, t.Any]

    @property
    def name(self) -> str:
        """The workload as messages name it."""
        metadata = self.after["metadata"]
        return describe(self.after["kind"], metadata.get("namespace", ""), metadata["name"])


def try_out(
    cluster: Cluster,
    namespace: str,
    restarts: t.Sequence[Restart],
    progress: Progress,
    timeout: int = TIMEOUT,
) -> None:
    """Start a pod for each change that could keep a pod from starting, and leave none behind.

    Raises:
        TrialError: a changed pod does not run, or must not.
    """
    wanted = [restart for restart in restarts if needs_trial(restart)]
    if not wanted:
        return
    progress(f"trying the changed pods of {', '.join(sorted({r.component for r in wanted}))} first")
    pods = cluster.list("Pod", namespace, labels=f"{MANAGED_BY_LABEL}={NAME}")
    try:
        _run(cluster, namespace, _jobs(wanted, pods, timeout), progress, timeout)
    except TrialError as error:
        if error.data.get("cause") != STRICT:
            raise
        _run(cluster, namespace, _jobs(wanted, pods, timeout, whole=True), progress, timeout)


def follow(
    changes: t.Iterable[Restart], live: Object, component: str, trial: t.Mapping[str, t.Any]
) -> Restart:
    """The restart that a later phase makes of a live workload: the inputs that have changed are its own, too.

    It is tried with the changes, because its pods are stopped before the later phase begins.
    """
    after = copy.deepcopy(live)
    spec = _spec(after)
    for change in changes:
        old, new = _spec(change.before), _spec(change.after)
        own = trial.get("own", ())
        placed = [field for field in (*SCHEDULING, "imagePullSecrets") if field not in own]
        _take(spec, old, new, placed)
        shared = [
            field
            for field, setting in INPUTS.items()
            if input_of(component, setting) == input_of(change.component, setting) and field not in own
        ]
        _take(spec["containers"][0], old["containers"][0], new["containers"][0], shared)
    return Restart(live, after, component, trial)


def needs_trial(restart: Restart) -> bool:
    """Whether the new pod could fail to start although the old one runs."""
    if not restart.trial:
        return False
    pulled = any(map(_is_pulled_always, _spec(restart.after)["containers"]))
    return pulled or _decisive(restart.before, restart.trial) != _decisive(restart.after, restart.trial)


def job(restart: Restart, pods: t.Sequence[Object], timeout: int, whole: bool = False) -> Object:
    """The Job that tries the restart; with ``whole`` it requests what the new pod will request.

    Otherwise it requests only what the new pod needs in addition to the old one, which runs beside it.
    """
    metadata, template = restart.after["metadata"], restart.after["spec"]["template"]
    labels = _labels(restart, template)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-trial",
            "namespace": metadata["namespace"],
            "labels": labels,
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": timeout + MARGIN,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"labels": labels, **_own_inputs(template)},
                "spec": _pod(restart, pods_of(restart.before, pods), timeout, whole),
            },
        },
    }


def _own_inputs(template: Object) -> Object:
    """The annotation by which a problem of the trial names the host's own input."""
    own = (template["metadata"].get("annotations") or {}).get(OWN_INPUTS)
    return {"annotations": {OWN_INPUTS: own}} if own else {}


def _pod(restart: Restart, running: t.Sequence[Object], timeout: int, whole: bool) -> Object:
    """The spec of a trial's pod; ``running`` are the pods that it will replace."""
    old, new = _spec(restart.before), _spec(restart.after)
    former, container = old["containers"][0], new["containers"][0]
    common = {
        "securityContext": container.get("securityContext") or {},
        "resources": _resources(former, container, whole),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    command = [*restart.trial["command"], *_flags(container, restart.trial)]
    secrets = list(new.get("imagePullSecrets") or [])
    first: Object = {}
    # EDEN's images may need their entrypoint; those of servers prepare a start in it.
    program: Object = {"args": command, "command": container.get("command") or []}
    if restart.trial.get("versions"):
        program = {"command": command}
        # Another image may have the same name. The old one, which runs, is on the node.
        if (former["image"] != container["image"] or _is_pulled_always(container)) and _has_run(running):
            program = {"command": ["sh", "-c", _TELL_BOTH, "sh", *command]}
            teller = {
                "name": "before",
                "image": former["image"],
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", _TELL_OLD, "sh", *command],
            }
            first = {"initContainers": [{**common, **teller}]}
            secrets += [secret for secret in old.get("imagePullSecrets") or [] if secret not in secrets]
    tried = {
        **{key: container[key] for key in KEPT if key in container},
        **program,
        # It is never ready, so that no Service sends it requests: the first probe would come too late.
        "readinessProbe": {"exec": {"command": ["false"]}, "initialDelaySeconds": timeout + 2 * MARGIN},
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": new.get("securityContext") or {},
        "imagePullSecrets": secrets,
        "nodeSelector": new.get("nodeSelector") or {},
        "tolerations": new.get("tolerations") or [],
        "affinity": _affinity(restart, running),
        **({"runtimeClassName": new["runtimeClassName"]} if new.get("runtimeClassName") else {}),
        **first,
        "containers": [{**common, **tried}, *_others(restart, whole)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _others(restart: Restart, whole: bool) -> list[Object]:
    """The further containers of a trial's pod: what they run is in the field ``beside``."""
    old = {entry["name"]: entry for entry in _spec(restart.before)["containers"]}
    return [
        {
            **{key: entry[key] for key in (*KEPT, "securityContext") if key in entry},
            "command": list(restart.trial["beside"]),
            "resources": _resources(old.get(entry["name"], {}), entry, whole),
        }
        for entry in _spec(restart.after)["containers"][1:]
        if restart.trial.get("beside")
    ]


def _resources(before: Object, after: Object, whole: bool) -> dict[str, t.Any]:
    """The resources of a trial's container."""
    old, new = (entry.get("resources") or {} for entry in (before, after))
    return new if whole else additional(old, new)


def additional(before: Resources, after: Resources) -> dict[str, dict[str, str]]:
    """The resources of a pod beside the old one: its limits, and of its requests what the old one lacks."""
    old, new = _requested(before), _requested(after)
    more = {
        name: _quantity(name, max(Decimal(0), parse_quantity(amount) - parse_quantity(old.get(name, "0"))))
        for name, amount in new.items()
    }
    limits = after.get("limits") or {}
    shared = {name: limit for name, limit in limits.items() if name in OVERCOMMITTED}
    exclusive = {name: more[name] for name in new if name not in OVERCOMMITTED and more[name] != "0"}
    return {
        "requests": {**{name: more[name] for name in new if name in OVERCOMMITTED}, **exclusive},
        "limits": {**shared, **exclusive},
    }


def complaint(restart: Restart, log: str) -> str:
    """What the facts that a trial has told forbid, and what to do instead; empty for nothing."""
    facts: dict[str, str] = dict(_FACT.findall(log))
    image = input_of(restart.component, "image")
    if "refused" in facts:
        return (
            f"its new pod cannot connect to the database: {mask_line(facts['refused'])}. If the credentials "
            "have changed, the Secret that eden_existing_secret names must have the database's own password."
        )
    if {"database", "image"} <= facts.keys() and int(facts["database"]) > int(facts["image"]):
        return (
            f"the database has schema version {facts['database']}, and the new image knows only "
            f"{facts['image']}: it would use what it does not know. Name in {image} the image that ran "
            "before, or a newer one. To go back, restore a backup from before the upgrade."
        )
    before, after = (_version(facts.get(name, "")) for name in ("before", "after"))
    rule = restart.trial.get("versions")
    if not before or not after:
        return ""
    if rule == "same_major" and before[0] != after[0]:
        return (
            f"its data has the format of major version {before[0]}, and the new image has version "
            f"{_dotted(after)}, which cannot read it. Name in {image} an image of major version {before[0]}. "
            "To go to another one, dump the database and restore it into a new volume."
        )
    if rule == "not_older" and after < before:
        return (
            f"its data was written by version {_dotted(before)}, and the new image has version "
            f"{_dotted(after)}, which may not read it. Name in {image} version {_dotted(before)} or a newer "
            "one."
        )
    return ""


def _run(
    cluster: Cluster,
    namespace: str,
    jobs: t.Sequence[tuple[Restart, Object]],
    progress: Progress,
    timeout: int,
) -> None:
    """Run the Jobs at the same time, judge them, and delete them."""
    workloads = [
        {"kind": "Job", "name": definition["metadata"]["name"], "component": restart.component}
        for restart, definition in jobs
    ]
    parameters = {"namespace": namespace, "workloads": workloads, "timeout": timeout}
    names = ", ".join(restart.name for restart, _definition in jobs)
    try:
        for _restart, definition in jobs:
            _start(cluster, definition)
        logs = roll_out(Task(parameters, progress=progress), cluster, Clock())["logs"]
    except CollectionError as error:
        spare = ""
        if error.data.get("cause") in CROWDED or error.data.get("status"):
            spare = " If there is no room for one more pod, set eden_trial: false, which skips the trial."
        raise TrialError(f"{_undone(names)} {error.message}{spare}", **error.data) from error
    finally:
        for _restart, definition in jobs:
            _remove(cluster, definition)
    for restart, definition in jobs:
        problem = complaint(restart, logs.get(definition["metadata"]["name"], ""))
        if problem:
            raise TrialError(f"{_undone(restart.name)} It showed: {problem}", cause="trial")


def _undone(names: str) -> str:
    return (
        f"The change of {names} was tried in a pod of its own first, and failed. No pod that runs was "
        "touched: the experiment goes on as before."
    )


def _start(cluster: Cluster, definition: Object) -> None:
    """Create a Job in place of one that a killed run has left."""
    metadata = definition["metadata"]
    left = cluster.read("Job", metadata["namespace"], metadata["name"])
    if left is not None:
        owner = foreign_owner(left)
        if owner:
            target = describe("Job", metadata["namespace"], metadata["name"])
            raise CollectionError(f"{target} exists already, {owner}: delete or rename it.")
        cluster.delete_and_wait(left)
    cluster.apply(definition)


def _remove(cluster: Cluster, definition: Object) -> None:
    """Delete a Job; the API server deletes what an unreachable client leaves, after a while."""
    metadata = definition["metadata"]
    try:
        live = cluster.read("Job", metadata["namespace"], metadata["name"])
        if live is not None and not foreign_owner(live):
            cluster.delete("Job", metadata["namespace"], metadata["name"])
    except ClusterError:
        pass


def _jobs(
    restarts: t.Iterable[Restart], pods: t.Sequence[Object], timeout: int, whole: bool = False
) -> list[tuple[Restart, Object]]:
    """One Job for all restarts of a component whose pods are alike."""
    found: dict[str, tuple[Restart, Object]] = {}
    for restart in restarts:
        definition = job(restart, pods, timeout, whole)
        found.setdefault(json.dumps(definition["spec"], sort_keys=True), (restart, definition))
    return list(found.values())


def _take(target: Object, old: Object, new: Object, fields: t.Iterable[str]) -> None:
    """Give a target those of the fields that have changed."""
    for field in fields:
        if (old.get(field) or None) != (new.get(field) or None):
            target[field] = new.get(field)


def _spec(workload: Object) -> Object:
    return t.cast(Object, workload["spec"]["template"]["spec"])


def _is_pulled_always(container: Object) -> bool:
    """Whether the image is pulled at each start, so that it may have changed, or be gone."""
    return container.get("imagePullPolicy") == "Always"


def _decisive(workload: Object, trial: t.Mapping[str, t.Any]) -> Object:
    """The part of a pod template that decides whether its pods start."""
    spec = _spec(workload)
    annotations = workload["spec"]["template"]["metadata"].get("annotations") or {}
    return {
        **{field: spec.get(field) or None for field in POD_FIELDS},
        "containers": [
            {
                **{field: container.get(field) or None for field in CONTAINER_FIELDS},
                "references": [entry for entry in container.get("env") or [] if entry.get("valueFrom")],
                "flags": _flags(container, trial),
            }
            for container in spec["containers"]
        ],
        # A trial that gets flags logs in.
        "credentials": annotations.get(CREDENTIALS_ANNOTATION) if trial.get("flags") else None,
    }


def _flags(container: Object, trial: t.Mapping[str, t.Any]) -> list[str]:
    """The container's flags that its trial gets, too."""
    wanted = tuple(f"{flag}=" for flag in trial.get("flags", ()))
    return [word for word in container.get("args") or [] if word.startswith(wanted)]


def _labels(restart: Restart, template: Object) -> dict[str, str]:
    """The labels of a trial: the component's only if it connects to others, which their policies must allow.

    No workload adopts a pod that a Job owns.
    """
    labels = {MANAGED_BY_LABEL: NAME, TRIAL_LABEL: restart.component}
    carried = template["metadata"].get("labels", {})
    if SHARING_LABELS[0] in carried:
        labels |= {key: carried[key] for key in SHARING_LABELS}
    if restart.trial.get("flags"):
        labels = {**carried, **labels}
    return {key: value for key, value in labels.items() if key != REPLICA_LABEL}


def _has_run(running: t.Sequence[Object]) -> bool:
    """Whether the image of the old pods could be pulled; so it is assumed if there are none."""
    return not running or any(c.status.get("imageID") for pod in running for c in container_statuses(pod))


def _affinity(restart: Restart, running: t.Sequence[Object]) -> Object:
    """The affinity of a trial: on the node of the running pod if the new one will not leave it.

    The running pod is not replaced yet, so that the pods that repel it repel its trial, too.
    """
    spec, old = _spec(restart.after), _spec(restart.before)
    affinity = {key: value for key, value in (spec.get("affinity") or {}).items() if key != "podAntiAffinity"}
    claims = claims_of({"spec": spec}) or restart.after["spec"].get("volumeClaimTemplates")
    moved = any((spec.get(field) or None) != (old.get(field) or None) for field in SCHEDULING)
    nodes = [pod["spec"]["nodeName"] for pod in running if pod["spec"].get("nodeName")]
    if not claims or moved or not nodes:
        return affinity
    pin = {"key": "metadata.name", "operator": "In", "values": [nodes[-1]]}
    node_affinity = affinity.get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [
        {**term, "matchFields": [*(term.get("matchFields") or []), pin]}
        for term in required.get("nodeSelectorTerms") or [{}]
    ]
    return {
        **affinity,
        "nodeAffinity": {
            **node_affinity,
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        },
    }


def _requested(resources: Resources) -> dict[str, str]:
    """What a container requests: by default its limits."""
    return {**(resources.get("limits") or {}), **(resources.get("requests") or {})}


def _quantity(name: str, amount: Decimal) -> str:
    if name == "cpu" and amount:
        return f"{math.ceil(amount * 1000)}m"
    return str(math.ceil(amount))


def _version(text: str) -> tuple[int, ...]:
    """The first number in a text, such as ``postgres (PostgreSQL) 16.6``; empty if there is none."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _dotted(version: t.Sequence[int]) -> str:
    return ".".join(map(str, version))
