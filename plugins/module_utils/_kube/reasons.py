# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which reasons of Kubernetes are final, and which may pass: one table, with its sources.

Cluster components give a reason for a waiting container, in a condition and in an event. Its message may
change the meaning: ``ErrImagePull`` is final with "not found", and retryable with "i/o timeout".
This module is private to the collection.
"""

from __future__ import annotations

import re
import typing as t

# final: another attempt has the same result. repeated: final if the next attempt has the same result.
# retryable: the component retries, and may succeed. unknown: not in the table, or its message decides.
# harmless: it keeps nothing from becoming ready.
Outcome = t.Literal["final", "repeated", "retryable", "unknown", "harmless"]
# The origin of the reason: the state of a container that waits, an event about a pod or the status of a pod
# that has failed, an event about a claim, an event about a workload, or a condition of a pod or a Job.
Place = t.Literal["container", "pod", "claim", "workload", "condition"]
Topic = t.Literal[
    "image",
    "config",
    "mount",
    "sandbox",
    "node",
    "crash_loop",
    "hook",
    "unschedulable",
    "volume",
    "refused",
    "job",
    "other",
]


class Reason(t.NamedTuple):
    """A row of the table.

    Attributes:
        topic: its subject, which selects the patterns of messages that change the outcome.
        outcome: its meaning unless the message changes it.
        source: the file that defines it.
    """

    topic: Topic
    outcome: Outcome
    source: str


_KUBELET = "kubernetes/kubernetes: pkg/kubelet/"
_CONTROLLER = "kubernetes/kubernetes: pkg/controller/"
_EVENTS = _KUBELET + "events/event.go"
_IMAGES = _KUBELET + "images/types.go"
_SYNC = _KUBELET + "container/sync_result.go"
_START = _KUBELET + "kuberuntime/kuberuntime_container.go"
_PODS = _KUBELET + "kubelet_pods.go"
_DNS = _KUBELET + "network/dns/dns.go"
_CERTIFICATES = _KUBELET + "podcertificate/podcertificatemanager.go"
_PREDICATE = _KUBELET + "lifecycle/predicate.go"
_HANDLERS = _KUBELET + "lifecycle/handlers.go"
_CRI = "kubernetes/cri-api: pkg/errors/errors.go"
_SCHEDULER = "kubernetes/kubernetes: pkg/scheduler/schedule_one.go"
_PREEMPTION = "kubernetes/kubernetes: pkg/scheduler/framework/preemption/executor.go"
_CORE = "kubernetes/api: core/v1/types.go"
_BATCH = "kubernetes/api: batch/v1/types.go"
_VOLUMES = _CONTROLLER + "volume/events/event.go"
_NODE = _CONTROLLER + "util/node/controller_utils.go"
_TAINTS = _CONTROLLER + "tainteviction/taint_eviction.go"
_DISRUPTION = _CONTROLLER + "disruption/disruption.go"
_SELINUX = _CONTROLLER + "volume/selinuxwarning/selinux_warning_controller.go"
_REPLICAS = _CONTROLLER + "controller_utils.go"
_DEPLOYMENT = _CONTROLLER + "deployment/util/deployment_util.go"
_DEPLOYMENTS = _CONTROLLER + "deployment/deployment_controller.go"
_RESOURCE_CLAIMS = _CONTROLLER + "resourceclaim/controller.go"
_SHUTDOWN = _KUBELET + "nodeshutdown/nodeshutdown_manager.go"
_STATS = _KUBELET + "server/stats/volume_stat_calculator.go"
_STATEFULSET = _CONTROLLER + "statefulset/stateful_pod_control.go"
_JOB = _CONTROLLER + "job/job_controller.go"
_AUTOSCALER = "kubernetes/autoscaler: cluster-autoscaler/processors/status/eventing_scale_up_processor.go"
_SCALE_DOWN = "kubernetes/autoscaler: cluster-autoscaler/core/scaledown/actuation/drain.go"
_KARPENTER = "kubernetes-sigs/karpenter: pkg/events/reason.go"
_PROVISIONER = "kubernetes-sigs/sig-storage-lib-external-provisioner: controller/controller.go"


def _rows(
    place: Place, topic: Topic, outcome: Outcome, source: str, *names: str
) -> dict[tuple[Place, str], Reason]:
    return {(place, name): Reason(topic, outcome, source) for name in names}


REASONS: dict[tuple[Place, str], Reason] = {
    # Containers that wait.
    **_rows("container", "other", "harmless", _PODS, "ContainerCreating", "PodInitializing"),
    **_rows("container", "image", "retryable", _IMAGES, "ErrImagePull", "ImagePullBackOff"),
    **_rows("container", "image", "retryable", _CRI, "RegistryUnavailable"),
    **_rows("container", "image", "final", _CRI, "SignatureValidationFailed"),
    **_rows("container", "image", "final", _IMAGES, "ImageInspectError", "InvalidImageName"),
    **_rows("container", "image", "final", _IMAGES, "ErrImageNeverPull"),
    **_rows("container", "config", "unknown", _START, "CreateContainerConfigError", "CreateContainerError"),
    **_rows("container", "config", "unknown", _START, "PreCreateHookError", "PreStartHookError"),
    **_rows("container", "config", "final", _CRI, "RROUnsupported"),
    **_rows("container", "config", "unknown", _CRI, "ImageVolumeMountFailed"),
    **_rows("container", "hook", "final", _START, "PostStartHookError"),
    **_rows("container", "crash_loop", "final", _SYNC, "CrashLoopBackOff", "RunContainerError"),
    **_rows(
        "container", "sandbox", "retryable", _SYNC,
        "CreatePodSandboxError", "ConfigPodSandboxError", "KillPodSandboxError", "KillContainerError",
        "RemoveContainerError", "ResizePodInPlaceError",
    ),
    # Events about pods: progress, and problems that the container's state reports as well.
    **_rows("pod", "other", "harmless", _SCHEDULER, "Scheduled"),
    **_rows(
        "pod", "other", "harmless", _EVENTS,
        "Pulling", "Pulled", "Created", "Started", "SuccessfulAttachVolume", "SuccessfulMountVolume",
        "Failed", "BackOff", "InspectFailed", "ErrImageNeverPull", "Unhealthy", "ProbeWarning",
        "FailedPostStartHook", "FailedPreStopHook", "Killing", "ExceededGracePeriod", "SandboxChanged",
        "AlreadyMountedVolume", "VolumeResizeSuccessful", "FileSystemResizeSuccessful",
        "ResizeStarted", "ResizeCompleted", "ResizeDeferred", "ResizeInfeasible", "ResizeError",
    ),
    **_rows("pod", "other", "harmless", _PODS, "FailedToRetrieveImagePullSecret", "HostIPsIPFamilyMismatch"),
    **_rows("pod", "other", "harmless", _DNS, "DNSConfigForming", "MissingClusterDNS"),
    **_rows("pod", "other", "harmless", _HANDLERS, "LifecycleHTTPFallback"),
    **_rows("pod", "other", "harmless", _DISRUPTION, "MultiplePodDisruptionBudgets", "NotDeleted"),
    **_rows("pod", "other", "harmless", _SELINUX, "MultipleSELinuxLabels"),
    **_rows("pod", "other", "harmless", _SELINUX, "SELinuxLabelConflict", "SELinuxChangePolicyConflict"),
    **_rows("pod", "other", "harmless", _CERTIFICATES, "CertificateExpired", "CertificateOverdueForRefresh"),
    # Events about pods that do not start.
    **_rows("pod", "mount", "retryable", _EVENTS, "FailedMount", "FailedAttachVolume", "FailedMapVolume"),
    **_rows(
        "pod", "mount", "retryable", _EVENTS,
        "FailedMountOnFilesystemMismatch", "VolumeResizeFailed", "FileSystemResizeFailed",
        "VolumePermissionChangeInProgress",
    ),
    **_rows("pod", "mount", "retryable", _STATS, "VolumeConditionAbnormal"),
    **_rows(
        "pod", "sandbox", "retryable", _EVENTS,
        "FailedCreatePodSandBox", "FailedPodSandBoxStatus", "NetworkNotReady", "FailedCreatePodContainer",
        "FailedKillPod", "FailedSync", "FailedPrepareDynamicResources",
    ),
    **_rows("pod", "config", "final", _EVENTS, "FailedValidation"),
    **_rows("pod", "node", "repeated", _EVENTS, "FailedNodeDeclaredFeaturesCheck"),
    **_rows("pod", "node", "retryable", _EVENTS, "Preempting"),
    **_rows("pod", "node", "retryable", _NODE, "NodeNotReady", "NodeControllerEviction"),
    **_rows("pod", "node", "retryable", _TAINTS, "TaintManagerEviction"),
    **_rows("pod", "node", "retryable", _PREEMPTION, "Preempted"),
    **_rows("pod", "node", "retryable", _SCALE_DOWN, "ScaleDown"),
    **_rows("pod", "node", "retryable", _KARPENTER, "Disrupted"),
    **_rows("pod", "unschedulable", "repeated", _SCHEDULER, "FailedScheduling"),
    **_rows("pod", "unschedulable", "retryable", _AUTOSCALER, "TriggeredScaleUp"),
    **_rows("pod", "unschedulable", "repeated", _AUTOSCALER, "NotTriggerScaleUp"),
    **_rows("pod", "unschedulable", "retryable", _KARPENTER, "Nominated"),
    **_rows("pod", "unschedulable", "repeated", _KARPENTER, "NoCompatibleInstanceTypes"),
    **_rows("pod", "unschedulable", "repeated", _RESOURCE_CLAIMS, "FailedResourceClaimCreation"),
    **_rows(
        "pod", "unschedulable", "retryable",
        "kubernetes/kubernetes: pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go",
        "BindingConditionsPending",
    ),
    # Pods that their node rejected or evicted. Their controller creates others.
    **_rows("pod", "node", "retryable", _KUBELET + "eviction/helpers.go", "Evicted"),
    **_rows(
        "pod", "node", "retryable", _PREDICATE,
        "OutOfcpu", "OutOfmemory", "OutOfephemeral-storage", "OutOfpods", "UnexpectedAdmissionError",
        "UnknownReason", "UnexpectedPredicateFailureType", "InvalidNodeInfo",
    ),
    **_rows(
        "pod", "node", "repeated", _PREDICATE,
        "PodOSSelectorNodeLabelDoesNotMatch", "PodOSNotSupported", "SupplementalGroupsPolicyNotSupported",
    ),
    **_rows("pod", "node", "repeated", _HANDLERS, "AppArmor", "PodLevelResourcesNotSupported"),
    **_rows("pod", "node", "repeated", _KUBELET + "sysctl/allowlist.go", "SysctlForbidden"),
    **_rows("pod", "node", "retryable", _SHUTDOWN, "NodeShutdown", "Terminated"),
    **_rows("pod", "node", "retryable", _KUBELET + "cm/admission/errors.go", "EmptyPodSharedPoolError"),
    # Claims.
    **_rows("claim", "volume", "harmless", _VOLUMES, "ProvisioningSucceeded"),
    **_rows("claim", "volume", "harmless", _PROVISIONER, "Provisioning"),
    **_rows(
        "claim", "volume", "retryable", _VOLUMES,
        "WaitForFirstConsumer", "WaitForPodScheduled", "ExternalProvisioning", "ProvisioningFailed",
        "ProvisioningCleanupFailed", "FailedBinding", "ExternalExpanding",
    ),
    **_rows("claim", "volume", "final", _VOLUMES, "VolumeMismatch"),
    # Workloads.
    **_rows("workload", "other", "harmless", _REPLICAS, "SuccessfulCreate", "SuccessfulDelete"),
    **_rows("workload", "other", "harmless", _STATEFULSET, "SuccessfulUpdate"),
    **_rows("workload", "other", "harmless", _DEPLOYMENT, "NewReplicaSetCreated", "FoundNewReplicaSet"),
    **_rows("workload", "other", "harmless", _CONTROLLER + "deployment/sync.go", "ScalingReplicaSet"),
    **_rows("workload", "other", "harmless", _JOB, "Completed", "Resumed"),
    **_rows("workload", "refused", "unknown", _REPLICAS, "FailedCreate"),
    **_rows("workload", "refused", "unknown", _DEPLOYMENT, "ReplicaSetCreateError"),
    **_rows("workload", "refused", "unknown", _STATEFULSET, "FailedUpdate"),
    **_rows("workload", "other", "retryable", _REPLICAS, "FailedDelete"),
    **_rows("workload", "other", "retryable", _STATEFULSET, "ConflictingController"),
    **_rows("workload", "other", "retryable", _JOB, "Suspended", "TooManySucceededPods"),
    **_rows("workload", "other", "repeated", _DEPLOYMENTS, "SelectingAll"),
    **_rows("workload", "other", "repeated", _JOB, "UnknownCompletionMode"),
    # Conditions.
    **_rows("condition", "unschedulable", "repeated", _CORE, "Unschedulable"),
    **_rows("condition", "unschedulable", "retryable", _CORE, "SchedulingGated", "SchedulerError"),
    **_rows("condition", "other", "harmless", _DEPLOYMENT, "ProgressDeadlineExceeded"),
    **_rows(
        "condition", "job", "final", _BATCH,
        "BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "MaxFailedIndexesExceeded",
        "FailedIndexes",
    ),
    **_rows("condition", "job", "harmless", _BATCH, "CompletionsReached", "SuccessPolicy"),
}  # fmt: skip

# These never depend on a network.
_CERTAIN = frozenset({"InvalidImageName", "ErrImageNeverPull", "SignatureValidationFailed", "RROUnsupported"})

# Messages of timeouts, of a server that is overloaded or starting, and of overlapping attempts.
_RETRYABLE_WORDS = (
    r"deadline exceeded|Client\.Timeout|i/o timeout|handshake timeout|timed out|request timeout"
    r"|connection (?:refused|reset)|no route to host|network is unreachable|unexpected EOF|: EOF\b"
    r"|server misbehaving|temporary failure in name resolution|too ?many ?requests"
    r"|internal server error|bad gateway|service unavailable|gateway time-?out"
    r"|status(?: ?code)?:? (?:429|5\d\d)\b|code = (?:Unavailable|Aborted|DeadlineExceeded|ResourceExhausted)"
    # containerd and CRI-O: an earlier attempt that was abandoned still holds the name.
    r"|failed to reserve (?:container|sandbox) name|error reserving (?:ctr|pod) name|name is reserved"
    # pkg/kubelet/util/manager and kubelet_pods.go: the kubelet's caches are still being filled.
    r"|failed to sync \w+ cache|not registered|services have not yet been read"
    r"|not found in the list of registered CSI drivers|object has been modified|no space left on device"
)
_MISSING_REFERENCE = (
    r"(?:secret|configmap) \"[^\"]+\" not found|couldn't find key|references non-existent|no such key"
)
_WORDS: dict[Topic, tuple[tuple[Outcome, str], ...]] = {
    "image": (
        ("retryable", _RETRYABLE_WORDS),
        (
            "final",
            r"not found|manifest unknown|name unknown|does not exist|unauthorized|authorization failed"
            r"|authentication required|no basic auth credentials|denied|forbidden|no match for platform"
            r"|no matching manifest|no image found in|short.name|ambiguous|invalid reference format|x509: "
            r"|server gave HTTP response to HTTPS client|unsupported (?:media|manifest)",
        ),
        # The registry's name does not resolve; a resolver that has just started may answer so once.
        ("repeated", r"no such host"),
    ),
    "config": (
        ("retryable", _RETRYABLE_WORDS),
        (
            "final",
            rf"{_MISSING_REFERENCE}|runAsNonRoot|no command specified|executable file not found"
            r"|unable to find (?:user|group)|no matching entries in passwd file|apparmor|seccomp profile"
            r"|invalid capability",
        ),
    ),
    "mount": (
        ("retryable", _RETRYABLE_WORDS),
        ("final", rf"{_MISSING_REFERENCE}|hostPath type check failed"),
    ),
    "sandbox": (
        ("retryable", _RETRYABLE_WORDS),
        ("final", r"no runtime for |failed to find runtime handler|RuntimeClass .* not found"),
    ),
    "unschedulable": (
        # Taints of nodes that start, stop or are overloaded, and volumes that are being provisioned.
        (
            "retryable",
            r"node\.kubernetes\.io/|node\.cloudprovider\.kubernetes\.io/|agent-not-ready|karpenter\.sh/"
            r"|ToBeDeletedByClusterAutoscaler|DeletionCandidateOfClusterAutoscaler|were unschedulable"
            r"|unbound immediate PersistentVolumeClaims|is being deleted|binding volumes|timed out",
        ),
    ),
    "crash_loop": (("retryable", _RETRYABLE_WORDS),),
    # Refusals that no rule in refusals.py matches.
    "refused": (("retryable", _RETRYABLE_WORDS), ("final", r"is forbidden|is invalid|denied")),
    "volume": (
        (
            "final",
            r"storageclass\S* \"[^\"]+\" not found|infeasible error|code = (?:InvalidArgument|Unimplemented)"
            r"|does not support",
        ),
    ),
}  # fmt: skip
_COMPILED = {
    topic: tuple((outcome, re.compile(pattern, re.IGNORECASE)) for outcome, pattern in rows)
    for topic, rows in _WORDS.items()
}
_BACK_OFF = re.compile(
    r'^Back-off pulling image "[^"]*"(?:: (?P<reason>\w+)(?:: (?P<message>.*))?)?', re.DOTALL
)
MISSING_REFERENCE = re.compile(_MISSING_REFERENCE, re.IGNORECASE)


class Classification(t.NamedTuple):
    """The meaning of a reason and its message."""

    topic: Topic
    outcome: Outcome


def classify_reason(place: Place, reason: str, message: str = "") -> Classification:
    """The meaning of a reason for a rollout, by the table and by its message."""
    row = REASONS.get((place, reason))
    if row is None:
        return Classification("other", "unknown")
    if row.outcome == "harmless" or reason in _CERTAIN:
        return Classification(row.topic, row.outcome)
    outcome = next(
        (outcome for outcome, pattern in _COMPILED.get(row.topic, ()) if pattern.search(message)), row.outcome
    )
    return Classification(row.topic, outcome)


def pull_failure(reason: str, message: str) -> tuple[str, str]:
    """The reason and the message of the failed pull, if the message of the back-off repeats them."""
    found = _BACK_OFF.match(message)
    if reason != "ImagePullBackOff" or not found:
        return reason, message
    return found["reason"] or reason, found["message"] or ""
