# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a workload does not become ready, told from the objects around it.

Pure functions over objects as the Kubernetes API returns them.
This module is private to the collection.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    CONFIG_REASONS,
    IMAGE_REASONS,
    ContainerStatus,
    condition,
    container_statuses,
    current_pods,
    current_replica_set,
    event_order,
    events_of,
    image_of,
    is_observed,
    is_pod_ready,
    is_scheduled,
    job_failure,
    pods_of,
    wanted_replicas,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe

Ends = t.Mapping[str, int]

# How long each trouble may last before it is the cause, in seconds; ``crashes`` is a count.
GRACE: dict[str, float] = {
    "image": 15.0,
    "config": 5.0,
    "crashes": 3,
    "unschedulable": 15.0,
    "scale_up": 180.0,
    "provisioning": 18.0,
    "mount": 18.0,
    "refused": 3.0,
    "blocked": 10.0,
    "node": 18.0,
    "missing": 5.0,
}
# Long enough for controllers to replace what a new revision has just made obsolete.
SETTLE = 1.0

# A registry that answers so will not answer otherwise in a moment.
_FINAL_ANSWERS = re.compile(
    r"not found|manifest unknown|name unknown|does not exist|unauthorized|authorization failed|denied"
    r"|forbidden|no match for platform",
    re.IGNORECASE,
)
# The components that have settings of their own, under the same names with their prefix.
_OWN_SETTINGS = ("postgres", "forgejo")
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"

_NOT_MOUNTED = ("FailedMount", "FailedAttachVolume")
# Of a container: the kubelet begins with none before all volumes are mounted.
_MOUNTED = ("Pulling", "Pulled", "Created", "Started")

_USERINFO = re.compile(r"(://[^\s/:@]*):[^\s]*@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[^\s\"']+")
_ASSIGNED = re.compile(
    r"(?i)((?:password|passwd|token|secret)[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;\"']+)"
)
_LONG_HEX = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{32,}(?![0-9a-z])")


@dataclass(frozen=True)
class Cause:
    """Why a workload is not ready.

    Attributes:
        kind: one word for programs, see the module's documentation.
        subject: the object in trouble, such as ``Pod eden-postgres-0``.
        problem: what is wrong with it, a clause without a full stop.
        said: the words of the server, empty where it gave none.
        advice: what to do next, whole sentences.
        wait: for how many seconds it must have lasted to be the cause.
        pod: name of the pod, where one is in trouble.
        container: the container whose log tells more, where one does.
    """

    kind: str
    subject: str
    problem: str
    said: str
    advice: str
    wait: float
    pod: str = ""
    container: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells one trouble from another while its words change."""
        return self.kind, self.subject, self.container

    def sentence(self) -> str:
        """The problem and the server's words, without a full stop."""
        return f"{self.problem}: {self.said}" if self.said else self.problem


@dataclass(frozen=True)
class Scene:
    """A workload that is not ready and what surrounds it.

    Attributes:
        workload: the StatefulSet, Deployment or Job.
        pods: the pods of its namespace.
        events: the events of its namespace that count as news.
        claims: the PersistentVolumeClaims of its namespace, None where they were not read.
        storage_classes: the StorageClasses, None where they were not or may not be read.
        before: for each pod (uid) older than the rollout, how many ends of each container do not count.
            What was wrong with such a pod may have been repaired since: it takes news to be a cause.
        final: nothing more will be waited for, so that old news counts as well.
    """

    workload: Object
    pods: t.Sequence[Object]
    events: t.Sequence[Object]
    claims: t.Sequence[Object] | None = None
    storage_classes: t.Sequence[Object] | None = None
    before: t.Mapping[str, Ends] = field(default_factory=dict)
    final: bool = False

    @property
    def namespace(self) -> str:
        """The namespace of the workload."""
        return str(self.workload["metadata"].get("namespace") or "")

    def variable(self, setting: str) -> str:
        """The variable of the collection that sets something of the workload, such as its image."""
        component = component_of(self.workload)
        return f"eden_{component}_{setting}" if component in _OWN_SETTINGS else f"eden_{setting}"

    def is_old(self, pod: Object) -> bool:
        """The pod was there before the rollout began. What has failed again since needs no more patience."""
        return pod["metadata"]["uid"] in self.before


def component_of(workload: Object) -> str:
    """The component that a workload is labelled as, or else its name."""
    metadata = workload["metadata"]
    return str((metadata.get("labels") or {}).get("app.kubernetes.io/component") or metadata["name"])


def find_causes(scene: Scene, grace: t.Mapping[str, float]) -> list[Cause]:
    """What keeps the workload from being ready, the most telling first; empty while nothing is wrong with it.

    A cause holds once it has lasted for its ``wait`` seconds.
    """
    failure = job_failure(scene.workload)
    if failure is not None:
        return [_failed_job(scene, failure)]
    # A status older than the spec tells about pods that are about to be replaced.
    if not is_observed(scene.workload):
        return []
    causes = [*_refused(scene, grace), *_blocked(scene, grace)]
    for pod in current_pods(scene.workload, scene.pods):
        if not is_pod_ready(pod):
            causes.extend(_pod_causes(scene, pod, grace))
    return causes


def last_words(scene: Scene) -> str:
    """What a probe said last about a pod of the workload that runs and is not ready, or nothing."""
    for pod in reversed(current_pods(scene.workload, scene.pods)):
        if is_pod_ready(pod) or any(container.down for container in container_statuses(pod)):
            continue
        unhappy = [event for event in events_of(pod, scene.events) if event.get("reason") == "Unhealthy"]
        if unhappy:
            said = mask_line(_one_line(unhappy[-1].get("message"))).rstrip(": ")
            return f"pod {pod['metadata']['name']}: {said}"
    return ""


def forgiven_ends(pod: Object, crashes: float) -> dict[str, int]:
    """How many ends of each container of a pod that is older than the rollout do not count.

    Of a container that runs, all. Of one that crashes again and again, so many that its next end is the last
    one: it may wait for minutes to be started again, and that start decides.
    """
    return {
        container.name: max(0, container.ends - _most_ends(container, crashes) + 1)
        if container.down
        else container.ends
        for container in container_statuses(pod)
    }


def mask_words(text: str) -> str:
    """Text without the passwords that its URLs may hold."""
    return _USERINFO.sub(r"\1:***@", text)


def mask_line(line: str) -> str:
    """A line of a log without what may be secret: a URL's password, a token, a long hexadecimal string."""
    return _LONG_HEX.sub("***", _ASSIGNED.sub(r"\1***", _BEARER.sub(r"\1***", mask_words(line))))


def _pod_causes(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    if not is_scheduled(pod):
        return _volumes(scene, pod, grace) or _unschedulable(scene, pod, grace)
    causes = [*_images(scene, pod, grace), *_configs(scene, pod, grace), *_mounts(scene, pod, grace)]
    return [*causes, *_crashes(scene, pod, grace), *_node(scene, pod, grace)]


def _failed_job(scene: Scene, failure: Object) -> Cause:
    metadata = scene.workload["metadata"]
    pods = pods_of(scene.workload, scene.pods)
    failed = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed"] or pods
    pod = failed[-1] if failed else None
    ended = [c for c in container_statuses(pod) if c.last_end.get("exitCode")] if pod else []
    code = f", the last with exit code {ended[0].last_end['exitCode']}" if ended else ""
    reason = failure.get("reason") or "Failed"
    tries = f" after {len(pods)} pods" if len(pods) > 1 else ""
    return Cause(
        kind="job",
        subject=f"Job {metadata['name']}",
        problem=f"it has failed for good{tries}{code}",
        said=f"{reason}, {_one_line(failure.get('message'))}".rstrip(", "),
        advice="Remove what its log complains about and run again: the Job is then made anew.",
        wait=0.0,
        pod=pod["metadata"]["name"] if pod else "",
        container=(ended[0].name if ended else _first_container(pod)) if pod else "",
    )


def _refused(scene: Scene, grace: t.Mapping[str, float]) -> list[Cause]:
    """The API server refuses the pods, or the claims, that the controller wants to create."""
    workload = scene.workload
    if len(_standing_pods(workload, scene.pods)) >= wanted_replicas(workload):
        return []
    tries = sorted(_creations(scene), key=event_order)
    words = tries[-1].get("message") if tries and tries[-1]["reason"] == "FailedCreate" else ""
    if not words and scene.final:
        words = (condition(workload, "ReplicaFailure", "True") or {}).get("message")
    if not words:
        return []
    said = _refusal_words(words)
    kind, problem, advice = _explain_refusal(scene, said)
    metadata = workload["metadata"]
    return [
        Cause(
            kind=kind,
            subject=f"{workload['kind']} {metadata['name']}",
            problem=problem,
            said=mask_words(said),
            advice=advice,
            wait=grace["refused"],
        )
    ]


def _standing_pods(workload: Object, pods: t.Sequence[Object]) -> list[Object]:
    return [pod for pod in current_pods(workload, pods) if (pod.get("status") or {}).get("phase") != "Failed"]


def _creations(scene: Scene) -> list[Object]:
    """What the events tell of the controller's tries to create pods and claims."""
    workload = scene.workload
    tries = [event for event in scene.events if event.get("reason") in ("FailedCreate", "SuccessfulCreate")]
    if workload["kind"] != "Deployment":
        return events_of(workload, tries)
    name = current_replica_set(workload)
    mine = re.compile(re.escape(name) if name else re.escape(workload["metadata"]["name"]) + r"-[a-z0-9]+")
    return [
        event
        for event in tries
        if event["involvedObject"].get("kind") == "ReplicaSet"
        and mine.fullmatch(event["involvedObject"].get("name") or "")
    ]


def _refusal_words(message: str) -> str:
    """The API server's words without the controller's preamble."""
    text = re.sub(r"^\(combined from similar events\):\s*", "", _one_line(message))
    text = re.sub(r"^Error creating:\s*", "", text)
    return re.sub(r"^[Cc]reate (?:Pod|Claim) .*? failed error:\s*", "", text)


def _explain_refusal(scene: Scene, said: str) -> tuple[str, str, str]:
    """The kind of a refusal, the problem and the advice."""
    namespace = scene.namespace
    kind = scene.workload["kind"]
    again = f"Then run again; the {kind}'s controller tries again by itself, with growing pauses."
    if "exceeded quota" in said or "failed quota" in said:
        advice = f"Raise the quota or free some of it: kubectl -n {namespace} describe resourcequota. {again}"
        return "quota", "a quota of the namespace leaves no room for it", advice
    if "violates PodSecurity" in said:
        advice = (
            "Give the pod a security context that meets the level, or set another level by the namespace's "
            f"label pod-security.kubernetes.io/enforce. {again}"
        )
        return "pod_security", "Pod Security refuses its pod", advice
    if re.search(r"(?:minimum|maximum) .* usage per |max limit to request ratio per ", said):
        advice = (
            "Change the requests and limits, or the limits of the namespace: "
            f"kubectl -n {namespace} describe limitrange. {again}"
        )
        return "limit_range", "a LimitRange of the namespace refuses it", advice
    if "webhook" in said or "ValidatingAdmissionPolicy" in said:
        advice = f"Meet the policy that it names, or ask its owner for an exception. {again}"
        return "admission", "an admission policy refuses it", advice
    if "error looking up service account" in said:
        advice = "Run the phase infra, which makes the service accounts, or name one that exists."
        return "config", "its service account does not exist", advice
    return "refused", "the API server refuses its pod", f"Remove what the message names. {again}"


def _blocked(scene: Scene, grace: t.Mapping[str, float]) -> list[Cause]:
    """A StatefulSet that updates in order waits for a pod of its old revision that cannot become ready."""
    workload = scene.workload
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    if workload["kind"] != "StatefulSet" or spec.get("podManagementPolicy") == "Parallel":
        return []
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete" or not status.get("updateRevision"):
        return []
    current = {pod["metadata"]["uid"] for pod in current_pods(workload, scene.pods)}
    found = []
    for pod in pods_of(workload, scene.pods):
        if pod["metadata"]["uid"] in current or pod["metadata"].get("deletionTimestamp") or is_pod_ready(pod):
            continue
        # Whatever befell this pod is no news, and it is not repaired either.
        causes = _pod_causes(replace(scene, before={}), pod, grace)
        if causes:
            name = pod["metadata"]["name"]
            found.append(
                Cause(
                    kind="blocked",
                    subject=f"Pod {name}",
                    problem=f"its update waits for a pod of the previous revision, {causes[0].problem}",
                    said=causes[0].said,
                    advice="Delete that pod, which is made anew from the new revision: "
                    f"kubectl -n {scene.namespace} delete pod {name}. Then run again.",
                    wait=grace["blocked"],
                    pod=name,
                    container=causes[0].container,
                )
            )
    return found


def _images(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    name = pod["metadata"]["name"]
    causes = []
    for container in container_statuses(pod):
        if container.reason not in IMAGE_REASONS or not _is_news(scene, pod, container):
            continue
        said = re.sub(
            r'^Back-off pulling image "[^"]*"(?:: (?:ErrImagePull|ImagePullBackOff))?:?\s*',
            "",
            _one_line(container.message),
        )
        said = said or _failed_pull(scene, pod, container) or container.reason
        final = container.reason in ("InvalidImageName", "ErrImageNeverPull") or _FINAL_ANSWERS.search(said)
        causes.append(
            Cause(
                kind="image",
                subject=f"Pod {name}",
                problem=f"pod {name} cannot pull image {image_of(pod, container.name)}",
                said=mask_words(said),
                advice=_image_advice(scene, container, said),
                wait=SETTLE if final or scene.is_old(pod) else grace["image"],
                pod=name,
            )
        )
    return causes[:1]


def _image_advice(scene: Scene, container: ContainerStatus, said: str) -> str:
    variable = scene.variable("image")
    if container.reason == "ErrImageNeverPull":
        return (
            f"Load the image into the node, name another one in {variable}, "
            f"or set {variable}_pull_policy to IfNotPresent."
        )
    if "no match for platform" in said:
        return f"The image in {variable} is not built for the nodes' processors: build it for them as well."
    if re.search(r"unauthorized|authorization|denied|forbidden|40[13]", said, re.IGNORECASE):
        return f"Check the name in {variable}, and the credentials that eden_image_pull_secrets names."
    return f"Check the name in {variable}, that the image is pushed, and that the nodes reach its registry."


def _is_news(scene: Scene, pod: Object, container: ContainerStatus) -> bool:
    """The trouble of the container arose, or was found again, since the rollout began."""
    return not scene.is_old(pod) or any(
        event.get("reason") in ("Failed", "InspectFailed", "ErrImageNeverPull")
        and _is_about(event, container)
        # This one repeats what was found earlier, without a try.
        and event.get("message") != "Error: ImagePullBackOff"
        for event in events_of(pod, scene.events)
    )


def _failed_pull(scene: Scene, pod: Object, container: ContainerStatus) -> str:
    for event in reversed(events_of(pod, scene.events)):
        message = _one_line(event.get("message"))
        if (
            event.get("reason") == "Failed"
            and _is_about(event, container)
            and message.startswith("Failed to pull image")
        ):
            return message.partition('": ')[2] or message
    return ""


def _configs(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    name = pod["metadata"]["name"]
    return [
        Cause(
            kind="config",
            subject=f"Pod {name}",
            problem=f"pod {name} cannot start container {container.name}",
            said=mask_words(_one_line(container.message)) or container.reason,
            advice=_reference_advice(container.message),
            wait=SETTLE if scene.is_old(pod) else grace["config"],
            pod=name,
        )
        for container in container_statuses(pod)
        if container.reason in CONFIG_REASONS and _is_news(scene, pod, container)
    ][:1]


def _reference_advice(said: str) -> str:
    if re.search(r"secret|configmap|find key|references non-existent", said, re.IGNORECASE):
        return (
            "Run the phases that make it (infra for credentials and configuration, identities for tokens), "
            "or add it to the Secret that you brought yourself."
        )
    return "Correct what the message names and run again."


def _mounts(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    if any(container.running or container.ends for container in container_statuses(pod)):
        return []
    tries = [e for e in events_of(pod, scene.events) if e.get("reason") in (*_NOT_MOUNTED, *_MOUNTED)]
    if not tries or tries[-1]["reason"] in _MOUNTED:
        return []
    name = pod["metadata"]["name"]
    said = _one_line(tries[-1].get("message"))
    reference = re.search(
        r"(?:secret|configmap) \"[^\"]+\" not found|references non-existent", said, re.IGNORECASE
    )
    return [
        Cause(
            kind="config" if reference else "mount",
            subject=f"Pod {name}",
            problem=f"pod {name} cannot mount a volume",
            said=mask_words(said),
            advice=_reference_advice(said)
            if reference
            else "See whether another node still holds the volume and whether its driver runs: "
            f"kubectl -n {scene.namespace} describe pod {name}.",
            wait=grace["config"] if reference else grace["mount"],
            pod=name,
        )
    ]


def _volumes(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    """Claims of an unscheduled pod that nobody will bind."""
    wanted = claims_of(pod)
    pending = [
        claim
        for claim in scene.claims or ()
        if claim["metadata"]["name"] in wanted and (claim.get("status") or {}).get("phase") == "Pending"
    ]
    causes = [cause for claim in pending for cause in _volume(scene, pod, claim, grace)]
    return causes[:1]


def _volume(scene: Scene, pod: Object, claim: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    name = claim["metadata"]["name"]
    asked = (claim.get("spec") or {}).get("storageClassName")
    classes = scene.storage_classes
    failures = [e for e in events_of(claim, scene.events) if e.get("reason") == "ProvisioningFailed"]
    known = ", ".join(_class_name(entry) for entry in classes or ()) or "none"
    choose = "Name a storage class of the cluster in eden_storage_class"
    wait = grace["config"]
    if asked == "":
        problem, said = (
            f"claim {name} asks for a volume without a storage class, and no such volume is free",
            "",
        )
        advice = f"{choose}, or make a PersistentVolume for it."
    elif asked is None:
        if classes is not None and any(_is_default(entry) for entry in classes):
            return []
        problem = f"claim {name} names no storage class and the cluster has no default one"
        said = f"the cluster's storage classes: {known}" if classes is not None else ""
        advice = f"{choose}, or make one the default by the annotation {_DEFAULT_CLASS}."
    elif classes is not None and all(entry["metadata"]["name"] != asked for entry in classes):
        problem = f"claim {name} asks for storage class {asked}, which does not exist"
        said, advice = f"the cluster's storage classes: {known}", f"{choose}."
    elif failures:
        problem, said = (
            f"claim {name} gets no volume from storage class {asked}",
            _one_line(failures[-1].get("message")),
        )
        advice = "Ask who runs the storage of the cluster, or name another class in eden_storage_class."
        wait = grace["provisioning"]
    else:
        return []
    workload = scene.workload
    owner = f"statefulset/{workload['metadata']['name']} " if workload["kind"] == "StatefulSet" else ""
    advice += (
        " A claim keeps the class that it was made with: for another one delete what waits for it, "
        f"kubectl -n {scene.namespace} delete {owner}pvc/{name}, and run again."
    )
    return [
        Cause(
            kind="volume",
            subject=f"PersistentVolumeClaim {name}",
            problem=problem,
            said=mask_words(said),
            advice=advice,
            wait=wait,
            pod=pod["metadata"]["name"],
        )
    ]


def claims_of(pod: Object) -> set[str]:
    """Names of the PersistentVolumeClaims that a pod mounts."""
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in (pod.get("spec") or {}).get("volumes") or []
        if volume.get("persistentVolumeClaim")
    }


def _is_default(storage_class: Object) -> bool:
    return (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def _class_name(storage_class: Object) -> str:
    return storage_class["metadata"]["name"] + (" (default)" if _is_default(storage_class) else "")


def _unschedulable(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    refusal = condition(pod, "PodScheduled", "False")
    if refusal is None:
        return []
    name = pod["metadata"]["name"]
    # What follows tells why evicting others would not help.
    said = re.split(r"\.? (?:no new claims to deallocate, )?preemption:", _one_line(refusal.get("message")))[
        0
    ]
    scaling = any(event.get("reason") == "TriggeredScaleUp" for event in events_of(pod, scene.events))
    volume = "persistentvolumeclaim" in said.lower()
    wait = grace["scale_up"] if scaling else grace["provisioning"] if volume else grace["unschedulable"]
    return [
        Cause(
            kind="volume" if volume else "unschedulable",
            subject=f"Pod {name}",
            problem=f"no node takes pod {name}",
            said=said or refusal.get("reason") or "",
            advice=_scheduling_advice(scene, said),
            wait=wait,
            pod=name,
        )
    ]


def _scheduling_advice(scene: Scene, said: str) -> str:
    advice = []
    if "persistentvolumeclaim" in said.lower() or "volume node affinity" in said:
        advice.append(f"See what its claims wait for: kubectl -n {scene.namespace} get pvc,events.")
    if "Insufficient" in said:
        advice.append(f"Lower the requests in {scene.variable('resources')}, free some room, or add a node.")
    if "node.kubernetes.io/" in said:
        advice.append("See what is wrong with the nodes: kubectl describe nodes.")
    elif "untolerated taint" in said:
        advice.append("Tolerate the taint by eden_tolerations, or add a node without it.")
    if "affinity/selector" in said or "anti-affinity" in said or "topology spread" in said:
        advice.append("Change eden_node_selector or eden_affinity, or label a node so that it fits.")
    if "Too many pods" in said:
        advice.append("Free some room, or add a node.")
    return " ".join(advice) or f"See kubectl -n {scene.namespace} describe pod for what it asks of a node."


def _crashes(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    # The pods of a Job may fail as often as its backoffLimit says.
    if scene.workload["kind"] == "Job":
        return []
    before = scene.before.get(pod["metadata"]["uid"], {})
    for container in container_statuses(pod):
        ends = container.ends - before.get(container.name, 0)
        if container.down and ends >= _most_ends(container, grace["crashes"]):
            return [_crash(scene, pod, container)]
    return []


def _crash(scene: Scene, pod: Object, container: ContainerStatus) -> Cause:
    name = pod["metadata"]["name"]
    end = container.last_end
    kind, said, advice = "crash_loop", "", "Remove what its log complains about and run again."
    events = [event for event in events_of(pod, scene.events) if _is_about(event, container)]
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
        advice = f"Raise the memory limit in {scene.variable('resources')}."
    elif hooks:
        kind, how = "hook", ", because its postStart hook fails"
        said = mask_line(
            _one_line(
                container.message if container.reason == "PostStartHookError" else hooks[-1].get("message")
            )
        )
        advice = "The hook's own output is not kept: see what it waits for, and the log of the container."
    elif _cannot_run(container):
        said = mask_words(_one_line(end.get("message") or container.message))
        advice = f"Check that {scene.variable('image')} names the right image: it cannot run the program."
    elif probe:
        how, said = ", each time killed because a probe failed", mask_line(probe)
    elif end.get("message"):
        said = mask_line(_one_line(end["message"]))
    return Cause(
        kind=kind,
        subject=f"Pod {name}",
        problem=f"{'init ' if container.init else ''}container {container.name} of pod {name} "
        f"has ended {container.ends} times{how}",
        said=said,
        advice=advice,
        wait=SETTLE,
        pod=name,
        container=container.name,
    )


def _most_ends(container: ContainerStatus, crashes: float) -> int:
    """How many ends make a container's trouble the cause."""
    # A program that cannot be started will not be found at a later try either.
    return min(int(crashes), 2) if _cannot_run(container) else int(crashes)


def _cannot_run(container: ContainerStatus) -> bool:
    return container.reason == "RunContainerError" or container.last_end.get("reason") in (
        "StartError",
        "ContainerCannotRun",
    )


def _killing_probe(events: t.Sequence[Object]) -> str:
    """What the probe said whose failure ended the container, empty where no probe did."""
    killed = any(
        event.get("reason") == "Killing"
        and re.search(r"failed (?:startup|liveness) probe", event.get("message") or "")
        for event in events
    )
    unhappy = [event for event in events if event.get("reason") == "Unhealthy"]
    return _one_line(unhappy[-1].get("message")).rstrip(": ") if killed and unhappy else ""


def _memory_limit(pod: Object, container: str) -> str:
    spec = pod.get("spec") or {}
    for entry in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if entry.get("name") == container:
            return str(((entry.get("resources") or {}).get("limits") or {}).get("memory") or "")
    return ""


def _node(scene: Scene, pod: Object, grace: t.Mapping[str, float]) -> list[Cause]:
    name = pod["metadata"]["name"]
    node = (pod.get("spec") or {}).get("nodeName") or "its node"
    lost = [event for event in events_of(pod, scene.events) if event.get("reason") == "NodeNotReady"]
    if not lost:
        return []
    return [
        Cause(
            kind="node",
            subject=f"Pod {name}",
            problem=f"node {node}, which runs pod {name}, is not ready",
            said=_one_line(lost[-1].get("message")),
            advice=f"See kubectl describe node {node}.",
            wait=grace["node"],
            pod=name,
        )
    ]


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
