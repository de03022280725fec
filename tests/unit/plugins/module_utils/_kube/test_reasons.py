# SPDX-License-Identifier: GPL-3.0-or-later
"""Each reason has its source, and the words that come with a reason count."""

from __future__ import annotations

import re

import pytest

from ansible_collections.eden.reference.plugins.module_utils._kube.reasons import (
    REASONS,
    Outcome,
    Place,
    classify_reason,
    pull_failure,
)


@pytest.mark.parametrize(("place", "reason"), REASONS)
def test_every_reason_names_the_file_that_defines_or_emits_it(place: Place, reason: str) -> None:
    assert re.search(r"\.go$", REASONS[place, reason].source)


# What containerd, CRI-O, registries, the kubelet, the scheduler and provisioners say (containerd issue 4604,
# CRI-O issue 8906, pkg/kubelet/util/manager, pkg/kubelet/kuberuntime, core/remotes of containerd).
WORDS: dict[tuple[Place, str], dict[Outcome, tuple[str, ...]]] = {
    ("container", "ErrImagePull"): {
        "final": (
            'failed to resolve reference "docker.io/x:1": x:1: not found',
            "manifest unknown: manifest unknown",
            "pull access denied, repository does not exist or may require authorization",
            "unexpected status from GET request to https://r/token: 401 Unauthorized",
            "unexpected status from HEAD request to https://r/v2/x: 403 Forbidden",
            "no match for platform in manifest: not found",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "http: server gave HTTP response to HTTPS client",
            "short name mode is enforcing, but image name x:1 returns ambiguous list",
        ),
        "repeated": ("dial tcp: lookup registry.example on 10.96.0.10:53: no such host",),
        "retryable": (
            "dial tcp: lookup registry.example on 10.96.0.10:53: server misbehaving",
            "dial tcp 192.0.2.1:443: i/o timeout",
            "dial tcp 192.0.2.1:443: connect: connection refused",
            "net/http: TLS handshake timeout",
            "unexpected status from HEAD request to https://r/v2/x: 503 Service Unavailable",
            "received unexpected HTTP status: 502 Bad Gateway",
            "429 Too Many Requests - toomanyrequests: You have reached your pull rate limit",
            "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            "failed to copy: httpReadSeeker: failed open: unexpected EOF",
            "words that are not known",
        ),
    },
    ("container", "RegistryUnavailable"): {
        "retryable": ("image pull failed because the registry is unavailable",),
        "final": ("the registry is unavailable: 401 Unauthorized",),
    },
    ("container", "SignatureValidationFailed"): {"final": ("Source image rejected: i/o timeout",)},
    ("container", "ImageInspectError"): {
        "final": ('short-name "x:1" did not resolve to an alias',),
        "retryable": ("rpc error: code = Unavailable desc = connection error",),
    },
    ("container", "InvalidImageName"): {"final": ("couldn't parse image name",)},
    ("container", "ErrImageNeverPull"): {"final": ("is not present with pull policy of Never",)},
    ("container", "CreateContainerConfigError"): {
        "final": (
            'secret "absent" not found',
            "couldn't find key k in Secret eden/s",
            "container has runAsNonRoot and image will run as root",
        ),
        "retryable": (
            "failed to sync secret cache: timed out waiting for the condition",
            "failed to sync configmap cache: timed out waiting for the condition",
            'object "eden"/"eden-credentials" not registered',
            "services have not yet been read at least once",
        ),
        "unknown": ("words that are not known",),
    },
    ("container", "CreateContainerError"): {
        "retryable": (
            "context deadline exceeded",
            'failed to reserve container name "a": name "a" is reserved for "b"',
            "error reserving ctr name k8s_a for id b: name is reserved",
        ),
        "final": ("failed to generate container: no command specified",),
    },
    ("container", "RunContainerError"): {
        "final": ('exec: "eden": executable file not found in $PATH',),
        "retryable": ("context deadline exceeded",),
    },
    ("pod", "FailedMount"): {
        "final": (
            'MountVolume.SetUp failed for volume "v" : secret "absent" not found',
            "references non-existent secret key: TOKEN",
        ),
        "retryable": (
            'volume "v" : failed to sync configmap cache: timed out waiting',
            "driver name x.csi not found in the list of registered CSI drivers",
        ),
    },
    ("pod", "FailedAttachVolume"): {
        "retryable": ("Multi-Attach error for volume: already used by pod(s) other",)
    },
    ("pod", "FailedCreatePodSandBox"): {
        "retryable": (
            "failed to setup network for sandbox: plugin is not ready",
            'failed to reserve sandbox name "a": name "a" is reserved',
        ),
        "final": ('no runtime for "gvisor" is configured',),
    },
    ("claim", "ProvisioningFailed"): {
        "retryable": ("rpc error: code = ResourceExhausted desc = no space",),
        "final": (
            "Volume provisioning failed with infeasible error. Retries will be delayed.",
            'storageclass.storage.k8s.io "fast" not found',
        ),
    },
    ("claim", "ExternalProvisioning"): {"retryable": ("Waiting for a volume to be created",)},
    ("condition", "Unschedulable"): {
        "repeated": (
            "0/1 nodes are available: 1 Insufficient cpu.",
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: }.",
        ),
        "retryable": (
            "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            "pod has unbound immediate PersistentVolumeClaims. not found",
        ),
    },
    ("workload", "FailedCreate"): {
        "retryable": ("etcdserver: request timed out",),
        "final": ('pods "db-0" is forbidden: some rule',),
    },
    ("container", "ReasonOfTheFuture"): {"unknown": ("",)},
}


@pytest.mark.parametrize(
    ("place", "reason", "outcome", "words"),
    [(*key, outcome, words) for key, row in WORDS.items() for outcome, said in row.items() for words in said],
)
def test_words_change_the_outcome(place: Place, reason: str, outcome: Outcome, words: str) -> None:
    assert classify_reason(place, reason, words).outcome == outcome


@pytest.mark.parametrize(
    ("words", "failure"),
    [
        ('Back-off pulling image "x:1"', ("ImagePullBackOff", "")),
        ('Back-off pulling image "x:1": ErrImagePull: x:1: not found', ("ErrImagePull", "x:1: not found")),
        (
            'Back-off pulling image "x:1": SignatureValidationFailed: no signature',
            ("SignatureValidationFailed", "no signature"),
        ),
        ("other words", ("ImagePullBackOff", "other words")),
    ],
)
def test_a_back_off_repeats_the_failed_pull(words: str, failure: tuple[str, str]) -> None:
    assert pull_failure("ImagePullBackOff", words) == failure
