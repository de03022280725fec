# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the causes that keep a workload from becoming ready.

Pure functions over objects as the Kubernetes API returns them.
This module is private to the collection.
"""

from __future__ import annotations

import math
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.eden.reference.plugins.module_utils._collection import NAME
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    ContainerStatus,
    condition,
    container_statuses,
    current_pods,
    current_replica_set,
    desired_replicas,
    event_order,
    events_of,
    image_of,
    is_observed,
    is_pod_ready,
    is_scheduled,
    job_failure,
    pods_of,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.reasons import (
    MISSING_REFERENCE,
    Outcome,
    classify_reason,
    pull_failure,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import Refusal, classify
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.storage import (
    DEFAULT_CLASS_ANNOTATION,
    has_default_class,
    is_bound,
    is_default_class,
)

# The seconds that a problem must last to be the cause.
# Long enough for controllers to replace what a new revision has just made obsolete.
SETTLE = 1.0
# A missing object may be applied, or created by a controller, a moment later.
APPEAR = 5.0
# Long enough for a second attempt of the kubelet or the scheduler, and for an autoscaler to announce a node.
SECOND_TRY = 18.0
# It may pass, or is unknown: the timeout of the rollout ends the wait.
RETRIED = math.inf
# A container that has exited so many times is in a crash loop. A program that cannot be started will not be
# found on a later attempt either.
CRASHES = 3
FAILED_STARTS = 2

# The components with their own inputs, whose names contain the component.
# The container with a host's command, and the annotation with the properties that the host's own options set.
COMMAND = "command"
OWN_INPUTS = f"{NAME}/own-inputs"
_OWN_SETTINGS = ("postgres", "forgejo")

# The kubelet pulls and starts containers once all volumes are mounted.
_PROGRESS = (
    "Scheduled",
    "SuccessfulAttachVolume",
    "SuccessfulMountVolume",
    "Pulling",
    "Pulled",
    "Created",
    "Started",
)

_USERINFO = re.compile(r"(://[^\s/:@]*):[^\s]*@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[^\s\"']+")
_ASSIGNED = re.compile(
    r"(?i)((?:password|passwd|token|secret)[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;\"']+)"
)
_LONG_HEX = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{32,}(?![0-9a-z])")

Restarts = t.Mapping[str, int]


@dataclass(frozen=True)
class Cause:
    """Why a workload is not ready.

    Attributes:
        kind: one word for programs, see the module's documentation.
        subject: the object concerned, such as ``Pod eden-postgres-0``.
        problem: its problem, a clause without a full stop.
        message: the server's message, empty if it gave none.
        advice: what to do next, whole sentences.
        wait: the seconds that it must last to fail the rollout; infinite if it may pass.
        pod: name of the pod, if it is about one.
        container: the container whose log helps, if there is one.
    """

    kind: str
    subject: str
    problem: str
    message: str
    advice: str
    wait: float
    pod: str = ""
    container: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Identifies a cause while its message changes."""
        return self.kind, self.subject, self.container

    @property
    def is_retried(self) -> bool:
        """Whether it may pass, so that the rollout waits until the timeout."""
        return self.wait == RETRIED

    def sentence(self) -> str:
        """The problem and the server's message, without a full stop."""
        return f"{self.problem}: {self.message}" if self.message else self.problem


@dataclass(frozen=True)
class RolloutState:
    """A workload that is not ready, and the objects related to it.

    Attributes:
        workload: the StatefulSet, Deployment or Job.
        component: its component.
        pods: the pods of its namespace.
        events: the new events of its namespace.
        claims: the PersistentVolumeClaims of its namespace, None if they were not read.
        storage_classes: the StorageClasses, None if they were not read.
        baseline_restarts: per pod (uid) older than the rollout, how many restarts of each container do not
            count. Old problems of such a pod may have been repaired, so that only new ones are causes.
        timed_out: whether the wait is over, so that old problems count as well.
    """

    workload: Object
    component: str
    pods: t.Sequence[Object]
    events: t.Sequence[Object]
    claims: t.Sequence[Object] | None = None
    storage_classes: t.Sequence[Object] | None = None
    baseline_restarts: t.Mapping[str, Restarts] = field(default_factory=dict)
    timed_out: bool = False

    @property
    def namespace(self) -> str:
        """The namespace of the workload."""
        return str(self.workload["metadata"].get("namespace") or "")

    @property
    def kubectl(self) -> str:
        """The start of a kubectl command for the namespace."""
        return f"kubectl -n {self.namespace}"

    def input(self, setting: str, container: str = "") -> str:
        """The input that sets a property of the workload, such as its image, or of one of its containers."""
        metadata = ((self.workload.get("spec") or {}).get("template") or {}).get("metadata") or {}
        own = (metadata.get("annotations") or {}).get(OWN_INPUTS, "").split()
        if setting in own or container == COMMAND:
            return f"eden_workers.{self.component.replace('-', '_')}.{setting}"
        return input_of(self.component, setting)

    def is_old(self, pod: Object) -> bool:
        """Whether the pod existed before the rollout began. Its new failures need no second attempt."""
        return pod["metadata"]["uid"] in self.baseline_restarts

    def wait_for(self, outcome: Outcome, pod: Object | None = None, final: float = SETTLE) -> float:
        """The seconds that a problem with this outcome must last to be the cause."""
        if outcome not in ("final", "repeated"):
            return RETRIED
        if pod is not None and self.is_old(pod):
            return SETTLE
        return final if outcome == "final" else SECOND_TRY


def input_of(component: str, setting: str) -> str:
    """The input that sets a property of a component, such as its image."""
    return f"eden_{component}_{setting}" if component in _OWN_SETTINGS else f"eden_{setting}"


def component_of(workload: Object) -> str:
    """The component in a workload's label, or else the workload's name."""
    metadata = workload["metadata"]
    return str((metadata.get("labels") or {}).get("app.kubernetes.io/component") or metadata["name"])


def find_causes(state: RolloutState) -> list[Cause]:
    """The causes that keep the workload from being ready, the most specific first.

    A cause counts once it has lasted for its ``wait`` seconds.
    """
    failure = job_failure(state.workload)
    if failure is not None:
        return [_failed_job(state, failure)]
    # A status older than the spec describes pods that are about to be replaced.
    if not is_observed(state.workload):
        return []
    causes = [*_refused(state), *_controller_events(state)]
    pods = current_pods(state.workload, state.pods)
    for pod in pods:
        if not is_pod_ready(pod):
            causes.extend(_pod_causes(state, pod))
    return [*causes, *_rejected(state, pods)]


def last_probe_failure(state: RolloutState) -> str:
    """The last probe failure of a pod of the workload that runs and is not ready, or an empty string."""
    for pod in reversed(current_pods(state.workload, state.pods)):
        if is_pod_ready(pod) or any(container.down for container in container_statuses(pod)):
            continue
        failures = [event for event in events_of(pod, state.events) if event.get("reason") == "Unhealthy"]
        if failures:
            message = mask_line(_one_line(failures[-1].get("message"))).rstrip(": ")
            return f"pod {pod['metadata']['name']}: {message}"
    return ""


def baseline_restarts(pod: Object) -> dict[str, int]:
    """How many restarts of each container of a pod that is older than the rollout do not count.

    For a running container, all. For one in a crash loop, all but enough that the next crash is decisive: the
    container may wait for minutes to be restarted.
    """
    return {
        container.name: max(0, container.restarts - _max_restarts(container) + 1)
        if container.down
        else container.restarts
        for container in container_statuses(pod)
    }


def mask_passwords(text: str) -> str:
    """Text without the passwords in its URLs."""
    return _USERINFO.sub(r"\1:***@", text)


def mask_line(line: str) -> str:
    """A line of a log without what may be secret: a URL's password, a token, a long hexadecimal string."""
    return _LONG_HEX.sub("***", _ASSIGNED.sub(r"\1***", _BEARER.sub(r"\1***", mask_passwords(line))))


def _pod_causes(state: RolloutState, pod: Object) -> list[Cause]:
    if not is_scheduled(pod):
        return _volumes(state, pod) or _unschedulable(state, pod)
    causes = [*_images(state, pod), *_configs(state, pod), *_pod_events(state, pod)]
    return [*causes, *_crashes(state, pod), *_node(state, pod)]


def _pod_cause(
    pod: Object, kind: str, problem: str, message: str, advice: str, wait: float, container: str = ""
) -> Cause:
    name = pod["metadata"]["name"]
    return Cause(kind, f"Pod {name}", problem, mask_passwords(message), advice, wait, name, container)


def _failed_job(state: RolloutState, failure: Object) -> Cause:
    metadata = state.workload["metadata"]
    pods = pods_of(state.workload, state.pods)
    failed = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed"] or pods
    pod = failed[-1] if failed else None
    ended = [c for c in container_statuses(pod) if c.last_end.get("exitCode")] if pod else []
    code = f", the last with exit code {ended[0].last_end['exitCode']}" if ended else ""
    reason = failure.get("reason") or "Failed"
    tries = f" after {len(pods)} pods" if len(pods) > 1 else ""
    return Cause(
        kind="job",
        subject=f"Job {metadata['name']}",
        problem=f"it has failed{tries}{code} and is not retried",
        message=f"{reason}, {_one_line(failure.get('message'))}".rstrip(", "),
        advice="Fix what its log complains about and run again: the Job is then recreated.",
        wait=0.0,
        pod=pod["metadata"]["name"] if pod else "",
        container=(ended[0].name if ended else _first_container(pod)) if pod else "",
    )


def _refused(state: RolloutState) -> list[Cause]:
    """Refusals of the pods or claims that the controller tries to create."""
    workload = state.workload
    if len(_standing_pods(workload, state.pods)) >= desired_replicas(workload):
        return []
    tries = sorted(_creations(state), key=event_order)
    words = tries[-1].get("message") if tries and tries[-1]["reason"] != "SuccessfulCreate" else ""
    if not words and state.timed_out:
        words = (condition(workload, "ReplicaFailure", "True") or {}).get("message")
    if not words:
        return []
    message = _refusal_words(words)
    refusal = classify(message)
    if refusal is None:
        wait = state.wait_for(classify_reason("workload", "FailedCreate", message).outcome, final=APPEAR)
    else:
        wait = RETRIED if refusal.transient else APPEAR
    kind, problem, advice = _explain_refusal(state, refusal, message)
    subject = f"{workload['kind']} {workload['metadata']['name']}"
    return [Cause(kind, subject, problem, mask_passwords(message), advice, wait)]


def _standing_pods(workload: Object, pods: t.Sequence[Object]) -> list[Object]:
    return [pod for pod in current_pods(workload, pods) if (pod.get("status") or {}).get("phase") != "Failed"]


def _creations(state: RolloutState) -> list[Object]:
    """The events about the controller's attempts to create pods and claims."""
    workload = state.workload
    reasons = ("FailedCreate", "SuccessfulCreate", "ReplicaSetCreateError")
    tries = [event for event in state.events if event.get("reason") in reasons]
    own = events_of(workload, tries)
    if workload["kind"] != "Deployment":
        return own
    name = current_replica_set(workload)
    mine = re.compile(re.escape(name) if name else re.escape(workload["metadata"]["name"]) + r"-[a-z0-9]+")
    return own + [
        event
        for event in tries
        if event["involvedObject"].get("kind") == "ReplicaSet"
        and mine.fullmatch(event["involvedObject"].get("name") or "")
    ]


def _refusal_words(message: str) -> str:
    """The API server's message without the controller's preamble."""
    text = re.sub(r"^\(combined from similar events\):\s*", "", _one_line(message))
    text = re.sub(r"^(?:Error creating|Failed to create new replica set \"[^\"]*\"):\s*", "", text)
    return re.sub(r"^[Cc]reate (?:Pod|Claim) .*? failed error:\s*", "", text)


# By the category of a refusal: the kind of the cause and the problem.
_REFUSED = {
    "quota": ("quota", "quota {name} of the namespace leaves no room for it"),
    "limit_range": ("limit_range", "a LimitRange of the namespace refuses it"),
    "pod_security": ("pod_security", "Pod Security refuses its pod"),
    "security_context_constraints": ("pod_security", "no SecurityContextConstraints admits its pod"),
    "policy": ("admission", "an admission policy refuses it"),
    "webhook": ("admission", "an admission policy refuses it"),
    "webhook_failure": ("admission", "an admission webhook does not answer"),
    "missing_reference": ("config", "{name}, which its pod needs, does not exist"),
}


def _explain_refusal(state: RolloutState, refusal: Refusal | None, message: str) -> tuple[str, str, str]:
    """The kind of a refusal, the problem and the advice."""
    again = f"The {state.workload['kind']}'s controller retries by itself, with growing pauses."
    category = refusal.category if refusal else ""
    kind, problem = _REFUSED.get(category, ("refused", "the API server refuses its pod"))
    problem = " ".join(problem.format(name=refusal.name if refusal else "").split())
    advice = refusal.advice if refusal else "Fix what the message names."
    if "service account" in message:
        problem = f"ServiceAccount {refusal.name if refusal else ''}, which its pod names, does not exist"
        if refusal is None or not refusal.transient:
            advice = (
                "The collection's pods name no ServiceAccount, so each gets the namespace's default one: "
                "an admission webhook of the cluster sets another. Create it, or change the webhook."
            )
    advice = advice.replace("kubectl describe", f"{state.kubectl} describe")
    hint = _input_hint(state, category, message)
    return kind, problem, " ".join(filter(None, (advice, hint, again)))


def _input_hint(state: RolloutState, category: str, message: str) -> str:
    """The inputs for the property that a quota, a limit or a policy refuses."""
    if category not in ("quota", "limit_range", "policy", "webhook"):
        return ""
    resources = state.input("resources")
    message = message.replace("denied the request", "").replace("denied request", "")
    settings = (
        (
            r"persistentvolumeclaim|storage|PersistentVolumeClaim",
            "the sizes of volumes",
            "eden_storage_sizes",
        ),
        (r"\b(?:cpu|memory|requests?|limits?|ephemeral-storage)\b", "requests and limits", resources),
        (r"\bimages?\b|registr|signed", "the image", state.input("image")),
        (r"toleration|\btaint", "tolerations", "eden_tolerations"),
        (r"nodeSelector|affinity", "the nodes of pods", "eden_node_selector and eden_affinity"),
    )
    setting = next((row for row in settings if re.search(row[0], message)), None)
    return f"{setting[2]} sets {setting[1]}." if setting else ""


def _controller_events(state: RolloutState) -> list[Cause]:
    """Other warnings of the workload's controller."""
    warnings = [event for event in events_of(state.workload, state.events) if event.get("type") == "Warning"]
    if not warnings or warnings[-1].get("reason") in ("FailedCreate", "ReplicaSetCreateError"):
        return []
    reason = str(warnings[-1].get("reason"))
    topic, outcome = classify_reason("workload", reason, message := _one_line(warnings[-1].get("message")))
    if outcome == "harmless" or classify_reason("condition", reason).topic == "job":
        return []
    name = f"{state.workload['kind']} {state.workload['metadata']['name']}"
    return [
        Cause(
            kind="refused" if topic == "refused" else "unknown",
            subject=name,
            problem=f"its controller reports {reason}",
            message=mask_passwords(message),
            advice=f"See {state.kubectl} describe {name.lower().replace(' ', '/', 1)}.",
            wait=state.wait_for(outcome),
        )
    ]


def _rejected(state: RolloutState, pods: t.Sequence[Object]) -> list[Cause]:
    """The node rejected or evicted the newest pod; the controller creates another one."""
    status = (pods[-1].get("status") or {}) if pods else {}
    reason = str(status.get("reason") or "")
    if state.workload["kind"] == "Job" or status.get("phase") != "Failed" or not reason:
        return []
    name = pods[-1]["metadata"]["name"]
    message = ", ".join(filter(None, (reason, _one_line(status.get("message")))))
    return [
        _pod_cause(
            pods[-1],
            "node",
            f"the node did not keep pod {name}",
            message,
            f"See {state.kubectl} describe pod {name}, and whether the node has free resources.",
            state.wait_for(classify_reason("pod", reason, message).outcome),
        )
    ]


def _images(state: RolloutState, pod: Object) -> list[Cause]:
    name = pod["metadata"]["name"]
    causes = []
    for container in container_statuses(pod):
        if classify_reason("container", container.reason).topic != "image" or not _is_news(
            state, pod, container
        ):
            continue
        reason, message = pull_failure(container.reason, _one_line(container.message))
        message = message or _failed_pull(state, pod, container) or reason
        outcome = classify_reason("container", reason, message).outcome
        causes.append(
            _pod_cause(
                pod,
                "image",
                f"pod {name} cannot pull image {image_of(pod, container.name)}",
                message,
                _image_advice(state, pod, container.name, reason, message),
                state.wait_for(outcome, pod),
            )
        )
    return causes[:1]


def _image_advice(state: RolloutState, pod: Object, container: str, reason: str, message: str) -> str:
    setting = state.input("image", container)
    if reason == "ErrImageNeverPull":
        return (
            f"Load the image into the node, name another one in {setting}, "
            f"or set {setting}_pull_policy to IfNotPresent."
        )
    if reason == "SignatureValidationFailed":
        return f"Name an image in {setting} whose signature the nodes accept, or have their policy changed."
    if reason == "InvalidImageName" or "invalid reference format" in message:
        return f"Correct the name in {setting}, such as registry.example.org/eden/reference:1.0."
    if re.search(r"short.name|ambiguous", message, re.IGNORECASE):
        return f"Write the registry in {setting}, such as docker.io/library/postgres:16.6-alpine."
    if (
        "no match for platform" in message
        or "no matching manifest" in message
        or "no image found in" in message
    ):
        return f"The image in {setting} is not built for the nodes' architecture: build it for that, too."
    if re.search(r"x509|HTTP response to HTTPS", message):
        return "Have the nodes' container runtime configured for this registry's certificate or protocol."
    if re.search(r"unauthorized|authorization|denied|forbidden|credentials|40[13]", message, re.IGNORECASE):
        advice = f"Check the name in {setting}, and the credentials that eden_image_pull_secrets names."
        missing = [
            e for e in events_of(pod, state.events) if e["reason"] == "FailedToRetrieveImagePullSecret"
        ]
        return f"{advice} {_one_line(missing[-1].get('message'))}" if missing else advice
    return f"Check the name in {setting}, that the image is pushed, and that the nodes reach its registry."


def _is_news(state: RolloutState, pod: Object, container: ContainerStatus) -> bool:
    """Whether the problem of the container began, or occurred again, since the rollout began."""
    return not state.is_old(pod) or any(
        event.get("reason") in ("Failed", "InspectFailed", "ErrImageNeverPull")
        and _is_about(event, container)
        # This one repeats an earlier failure, without a new attempt.
        and event.get("message") != "Error: ImagePullBackOff"
        for event in events_of(pod, state.events)
    )


def _failed_pull(state: RolloutState, pod: Object, container: ContainerStatus) -> str:
    for event in reversed(events_of(pod, state.events)):
        message = _one_line(event.get("message"))
        if (
            event.get("reason") == "Failed"
            and _is_about(event, container)
            and message.startswith("Failed to pull image")
        ):
            return message.partition('": ')[2] or message
    return ""


def _configs(state: RolloutState, pod: Object) -> list[Cause]:
    """Containers that cannot be created, and those that wait for an unknown reason."""
    name = pod["metadata"]["name"]
    causes = []
    for container in container_statuses(pod):
        message = _one_line(container.message)
        topic, outcome = classify_reason("container", container.reason, message)
        if (
            not container.reason
            or topic not in ("config", "sandbox", "other")
            or outcome == "harmless"
            or not _is_news(state, pod, container)
        ):
            continue
        known = topic == "config"
        causes.append(
            _pod_cause(
                pod,
                topic if topic != "other" else "unknown",
                f"pod {name} cannot start container {container.name}"
                if known
                else f"container {container.name} of pod {name} waits: {container.reason}",
                message or (container.reason if known else ""),
                _reference_advice(state, name, message, outcome),
                state.wait_for(outcome, pod, APPEAR),
            )
        )
    return causes[:1]


def _reference_advice(state: RolloutState, pod: str, message: str, outcome: Outcome) -> str:
    if MISSING_REFERENCE.search(message):
        return (
            "Run `--tags infra` for credentials and configuration, `--tags identities` for tokens, or add it "
            "to the Secret that eden_existing_secret names."
        )
    if outcome == "final":
        return f"Fix what the message names: {state.input('image')} names the image."
    return f"The kubelet retries by itself: {state.kubectl} describe pod {pod}."


_POD_EVENTS = {
    "mount": "cannot mount a volume",
    "sandbox": "cannot be set up by its node",
    "config": "is refused by its node",
    "node": "lost its node",
}


def _pod_events(state: RolloutState, pod: Object) -> list[Cause]:
    """The failure of the latest attempt to start a pod, before any of its containers was started."""
    if any(container.running or container.restarts for container in container_statuses(pod)):
        return []
    tries = [event for event in events_of(pod, state.events) if _is_try(event)]
    if not tries or tries[-1]["reason"] in _PROGRESS:
        return []
    name = pod["metadata"]["name"]
    reason, message = str(tries[-1]["reason"]), _one_line(tries[-1].get("message"))
    topic, outcome = classify_reason("pod", reason, message)
    if topic == "node":
        return []
    kind: str = "config" if MISSING_REFERENCE.search(message) else topic
    if kind == "config":
        advice = _reference_advice(state, name, message, outcome)
    elif topic == "mount":
        advice = (
            "Check whether another node still holds the volume and whether its driver runs: "
            f"{state.kubectl} describe pod {name}."
        )
    else:
        advice = f"The kubelet retries by itself: {state.kubectl} describe pod {name}."
    return [
        _pod_cause(
            pod,
            "unknown" if kind == "other" else kind,
            f"pod {name} {_POD_EVENTS[topic]}" if topic in _POD_EVENTS else f"pod {name}: {reason}",
            message,
            advice,
            state.wait_for(outcome, pod, APPEAR),
        )
    ]


def _is_try(event: Object) -> bool:
    reason = str(event.get("reason"))
    topic, outcome = classify_reason("pod", reason)
    if topic == "unschedulable" or outcome == "harmless":
        return reason in _PROGRESS
    return outcome != "unknown" or event.get("type") == "Warning"


def _volumes(state: RolloutState, pod: Object) -> list[Cause]:
    """Claims of an unscheduled pod that have no volume."""
    mounted = claims_of(pod)
    pending = [
        claim for claim in state.claims or () if claim["metadata"]["name"] in mounted and not is_bound(claim)
    ]
    causes = [cause for claim in pending for cause in _volume(state, pod, claim)]
    return sorted(causes, key=lambda cause: cause.wait)[:1]


def _volume(state: RolloutState, pod: Object, claim: Object) -> list[Cause]:
    name = claim["metadata"]["name"]
    asked = (claim.get("spec") or {}).get("storageClassName")
    classes = state.storage_classes
    known = ", ".join(_class_name(entry) for entry in classes or ()) or "none"
    choose = "Name a storage class of the cluster in eden_storage_class"
    wait = APPEAR
    if asked == "":
        problem = f"claim {name} requests a volume without a storage class, and none is available"
        message = ""
        advice = f"{choose}, or create a PersistentVolume for it."
    elif asked is None:
        if classes is not None and has_default_class(classes):
            return []
        problem = f"claim {name} has no storage class, and the cluster has no default one"
        message = f"the cluster's storage classes: {known}" if classes is not None else ""
        advice = f"{choose}, or make one the default with the annotation {DEFAULT_CLASS_ANNOTATION}."
    elif classes is not None and all(entry["metadata"]["name"] != asked for entry in classes):
        problem = f"claim {name} requests storage class {asked}, which does not exist"
        message, advice = f"the cluster's storage classes: {known}", f"{choose}."
    else:
        return _provisioning(state, pod, claim, str(asked))
    return [_claim_cause(state, pod, claim, problem, message, advice, wait)]


def _provisioning(state: RolloutState, pod: Object, claim: Object, storage_class: str) -> list[Cause]:
    """What the provisioner of a storage class reported last about a claim."""
    reported = [
        (event, classify_reason("claim", str(event.get("reason")), _one_line(event.get("message"))).outcome)
        for event in events_of(claim, state.events)
        # The claim waits for the pod, not the pod for the claim.
        if not str(event.get("reason")).startswith("WaitFor")
    ]
    if not reported or reported[-1][1] == "harmless":
        return []
    event, outcome = reported[-1]
    if outcome == "unknown" and event.get("type") != "Warning":
        return []
    problem = f"claim {claim['metadata']['name']} gets no volume from storage class {storage_class}"
    advice = "Ask the storage administrator, or name another class in eden_storage_class."
    wait = state.wait_for(outcome, final=APPEAR)
    return [_claim_cause(state, pod, claim, problem, _one_line(event.get("message")), advice, wait)]


def _claim_cause(
    state: RolloutState, pod: Object, claim: Object, problem: str, message: str, advice: str, wait: float
) -> Cause:
    name = claim["metadata"]["name"]
    workload = state.workload
    owner = f"statefulset/{workload['metadata']['name']} " if workload["kind"] == "StatefulSet" else ""
    advice += (
        " The class of a claim cannot change. This claim has no volume and holds no data: for another class, "
        f"delete it with {state.kubectl} delete {owner}pvc/{name}, and run the playbook again."
    )
    subject = f"PersistentVolumeClaim {name}"
    return Cause("volume", subject, problem, mask_passwords(message), advice, wait, pod["metadata"]["name"])


def claims_of(pod: Object) -> set[str]:
    """Names of the PersistentVolumeClaims that a pod mounts."""
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in (pod.get("spec") or {}).get("volumes") or []
        if volume.get("persistentVolumeClaim")
    }


def _class_name(storage_class: Object) -> str:
    return storage_class["metadata"]["name"] + (" (default)" if is_default_class(storage_class) else "")


def _unschedulable(state: RolloutState, pod: Object) -> list[Cause]:
    refusal = condition(pod, "PodScheduled", "False")
    if refusal is None:
        return []
    name = pod["metadata"]["name"]
    # The rest explains why preemption does not help.
    message = re.split(
        r"\.? (?:no new claims to deallocate, )?preemption:", _one_line(refusal.get("message"))
    )[0]
    outcome = classify_reason("condition", str(refusal.get("reason")), message).outcome
    # Events of autoscalers about the pod.
    announced = [
        event
        for event in events_of(pod, state.events)
        if classify_reason("pod", str(event.get("reason"))).topic == "unschedulable"
        and event["reason"] != "FailedScheduling"
    ]
    if announced:
        if classify_reason("pod", announced[-1]["reason"]).outcome == "retryable":
            outcome = "retryable"
        message = f"{message}; {_one_line(announced[-1].get('message'))}".rstrip("; ")
    # A terminating pod frees resources.
    if any(other["metadata"].get("deletionTimestamp") for other in state.pods):
        outcome = "retryable"
    return [
        _pod_cause(
            pod,
            "volume" if "persistentvolumeclaim" in message.lower() else "unschedulable",
            f"no node can run pod {name}",
            message or str(refusal.get("reason") or ""),
            _scheduling_advice(state, message),
            state.wait_for(outcome),
        )
    ]


def _scheduling_advice(state: RolloutState, message: str) -> str:
    advice = []
    if "persistentvolumeclaim" in message.lower() or "volume node affinity" in message:
        advice.append(f"Check its claims: {state.kubectl} get pvc,events.")
    if "Insufficient" in message:
        advice.append(
            f"Lower the requests in {state.input('resources')}, free some resources, or add a node."
        )
    if "node.kubernetes.io/" in message:
        advice.append("Check the nodes: kubectl describe nodes.")
    elif "untolerated taint" in message:
        advice.append("Tolerate the taint with eden_tolerations, or add a node without it.")
    if "affinity/selector" in message or "anti-affinity" in message or "topology spread" in message:
        advice.append("Change eden_node_selector or eden_affinity, or label a node so that it fits.")
    if "Too many pods" in message:
        advice.append("Free some resources, or add a node.")
    return " ".join(advice) or f"See {state.kubectl} describe pod for its requirements."


def _crashes(state: RolloutState, pod: Object) -> list[Cause]:
    # The pods of a Job may fail as often as its backoffLimit allows.
    if state.workload["kind"] == "Job":
        return []
    baseline = state.baseline_restarts.get(pod["metadata"]["uid"], {})
    for container in container_statuses(pod):
        restarts = container.restarts - baseline.get(container.name, 0)
        if container.down and restarts >= (1 if state.timed_out else _max_restarts(container)):
            return [_crash(state, pod, container)]
    return []


def _crash(state: RolloutState, pod: Object, container: ContainerStatus) -> Cause:
    name = pod["metadata"]["name"]
    end = container.last_end
    kind, message, advice = "crash_loop", "", "Fix what its log complains about and run again."
    wait = SETTLE
    events = [event for event in events_of(pod, state.events) if _is_about(event, container)]
    hooks = [event for event in events if event.get("reason") == "FailedPostStartHook"]
    probe = _killing_probe(events)
    code = end.get("exitCode")
    how = f", the last time with exit code {code}" if code is not None else ""
    if end.get("reason") == "OOMKilled":
        limit = _memory_limit(pod, container.name)
        kind, how = (
            "out_of_memory",
            f", the last time because it used more memory than {limit or 'its limit'}",
        )
        advice = f"Raise the memory limit in {state.input('resources', container.name)}."
    elif hooks:
        kind, how = "hook", ", because its postStart hook fails"
        message = mask_line(
            _one_line(
                container.message if container.reason == "PostStartHookError" else hooks[-1].get("message")
            )
        )
        advice = "The hook's output is not kept: check what it waits for, and the log of the container."
    elif _cannot_run(container):
        message = mask_passwords(_one_line(end.get("message") or container.message))
        setting = state.input("image", container.name)
        advice = f"Check that {setting} names the right image: the program cannot be started."
        wait = state.wait_for(classify_reason("container", "RunContainerError", message).outcome)
    elif probe:
        how, message = ", each time killed because a probe failed", mask_line(probe)
        advice += " If it only needs more time to start, set a longer eden_timeout."
    elif end.get("message"):
        message = mask_line(_one_line(end["message"]))
    problem = (
        f"{'init ' if container.init else ''}container {container.name} of pod {name} "
        f"has exited {_times(container.restarts)}{how}"
    )
    return _pod_cause(pod, kind, problem, message, advice, wait, container.name)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _max_restarts(container: ContainerStatus) -> int:
    """The number of restarts that make a crash loop."""
    return FAILED_STARTS if _cannot_run(container) else CRASHES


def _cannot_run(container: ContainerStatus) -> bool:
    return container.reason == "RunContainerError" or container.last_end.get("reason") in (
        "StartError",
        "ContainerCannotRun",
    )


def _killing_probe(events: t.Sequence[Object]) -> str:
    """The output of the probe whose failure ended the container, empty if no probe did."""
    killed = any(
        event.get("reason") == "Killing"
        and re.search(r"failed (?:startup|liveness) probe", event.get("message") or "")
        for event in events
    )
    failures = [event for event in events if event.get("reason") == "Unhealthy"]
    return _one_line(failures[-1].get("message")).rstrip(": ") if killed and failures else ""


def _memory_limit(pod: Object, container: str) -> str:
    spec = pod.get("spec") or {}
    for entry in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if entry.get("name") == container:
            return str(((entry.get("resources") or {}).get("limits") or {}).get("memory") or "")
    return ""


def _node(state: RolloutState, pod: Object) -> list[Cause]:
    """Problems of the node of a pod, or of the pod on it."""
    events = events_of(pod, state.events)
    lost = [event for event in events if classify_reason("pod", str(event.get("reason"))).topic == "node"]
    if not lost:
        return []
    name = pod["metadata"]["name"]
    node = (pod.get("spec") or {}).get("nodeName") or "its node"
    reason, message = str(lost[-1]["reason"]), _one_line(lost[-1].get("message"))
    problem = (
        f"node {node}, which runs pod {name}, is not ready"
        if reason == "NodeNotReady"
        else f"node {node} reports {reason} for pod {name}"
    )
    wait = state.wait_for(classify_reason("pod", reason, message).outcome)
    return [_pod_cause(pod, "node", problem, message, f"See kubectl describe node {node}.", wait)]


def _is_about(event: Object, container: ContainerStatus) -> bool:
    field_path = str((event.get("involvedObject") or {}).get("fieldPath") or "")
    return field_path.endswith(f"{{{container.name}}}")


def _first_container(pod: Object) -> str:
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    return str(containers[0].get("name") or "")


def _one_line(text: t.Any) -> str:
    return " ".join(str(text or "").split())


def not_ready(workload: Object, cause: Cause) -> str:
    """The message for the user."""
    metadata = workload["metadata"]
    target = describe(workload["kind"], str(metadata.get("namespace") or ""), metadata["name"])
    return f"{target} is not ready: {cause.sentence().rstrip('.')}. {cause.advice}"
