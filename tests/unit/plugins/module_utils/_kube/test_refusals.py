# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal is taken for what its words say, in the words that Kubernetes uses."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import Refusal, classify

POD = 'pods "x-0" is forbidden: '

# fmt: off
CASES: list[tuple[int, str, str, str, str]] = [
    # status, message, category, name, words of the advice
    (403,
     'secrets "a" is forbidden: User "system:serviceaccount:ci:bot" cannot get resource "secrets" in API '
     'group "" in the namespace "ns": RBAC: role.rbac.authorization.k8s.io "r" not found', "permission",
     "system:serviceaccount:ci:bot", 'permission granted to "system:serviceaccount:ci:bot"'),
    (403, 'User "jo" cannot get path "/version"', "permission", "jo", "permission granted"),
    (403, 'namespaces is forbidden: User "system:anonymous" cannot list', "anonymous", "system:anonymous",
     "no cred"),
    (403, 'users "admin" is forbidden: User "jo" cannot impersonate resource "users"', "impersonation", "jo",
     "verb"),
    (403, 'roles.rbac.authorization.k8s.io "r" is forbidden: user "jo" (groups=["system:authenticated"]) is '
     "attempting to grant RBAC permissions not currently held:", "permission", "jo", "escalate"),
    (403, 'persistentvolumeclaims "data" is forbidden: exceeded quota: team-a, requested: '
     "persistentvolumeclaims=1, used: persistentvolumeclaims=5, limited: persistentvolumeclaims=5", "quota",
     "team-a", "kubectl describe resourcequota team-a"),
    (0, f"{POD}failed quota: team-a: must specify limits.cpu for: c", "quota", "team-a",
     "requests and limits"),
    (403, f"{POD}status unknown for quota: team-a, resources: pods", "quota", "team-a", "not yet calculated"),
    (403, f"{POD}insufficient quota to match these scopes: [{{PriorityClass In [high]}}]", "quota", "",
     "covers"),
    (403, f"{POD}maximum memory usage per Container is 1Gi, but limit is 2Gi", "limit_range", "",
     "kubectl describe limitrange"),
    (403, f"{POD}cpu max limit to request ratio per Container is 2, but", "limit_range", "", "LimitRange"),
    (403, f'{POD}violates PodSecurity "restricted:latest": runAsNonRoot != true (pod must not set',
     "pod_security", "restricted:latest", "pod-security.kubernetes.io/enforce"),
    (422, "statefulsets.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'no-latest' with binding 'all' "
     "denied request: failed expression: object.spec.replicas <= 5", "policy", "no-latest",
     "kubectl describe validatingadmissionpolicy no-latest"),
    (400, 'admission webhook "validation.gatekeeper.sh" denied the request: [owner] field is immutable',
     "webhook", "validation.gatekeeper.sh", "ask its owner"),
    (403, 'admission webhook "w" denied the request without explanation', "webhook", "w", "ask its owner"),
    (500, 'Internal error occurred: failed calling webhook "w.svc": Post "https://w": refused',
     "webhook_failure", "w.svc", "does not answer"),
    (403, f"{POD}image policy webhook backend denied one or more images: no", "policy",
     "image policy webhook", "allow"),
    (403, f'{POD}unable to validate against any security context constraint: [provider "anyuid": Forbidden]',
     "security_context_constraints", "", "SecurityContextConstraints"),
    (403, 'configmaps "c" is forbidden: unable to create new content in namespace ns because it is '
     "being terminated", "namespace_terminating", "ns", "wait until it is gone"),
    (403, f'{POD}error looking up service account ns/bot: serviceaccount "bot" not found',
     "missing_reference", "ns/bot", "Create ServiceAccount ns/bot"),
    (403, f'{POD}error looking up service account ns/default: serviceaccount "default" not found',
     "missing_reference", "default", "within seconds"),
    (403, f"{POD}no PriorityClass with name high was found", "missing_reference", "high",
     "PriorityClass high"),
    (403, f'{POD}pod rejected: RuntimeClass "kata" not found', "missing_reference", "kata",
     "RuntimeClass kata"),
    (422,
     'StatefulSet.apps "x" is invalid: spec: Forbidden: updates to statefulset spec for fields other than '
     "'replicas', 'ordinals' are forbidden", "immutable", "", "can never be changed"),
    (422, 'Job.batch "x" is invalid: spec.template: Invalid value: {}: field is immutable', "immutable", "",
     "never"),
    (422, 'Service "x" is invalid: spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set',
     "immutable", "", ""),
    (422, 'Pod "x" is invalid: spec.containers[0].image: Required value', "invalid", "", "Correct the field"),
    (500, "failed to create typed patch object (ns/s; apps/v1, Kind=StatefulSet): .spec.replcas: field not "
     "declared in schema", "invalid", "", "Correct the field"),
    (403, "a proxy speaks", "other", "", "proxy or firewall"),
    (401, "Unauthorized", "other", "", "Renew the credentials"),
]
# fmt: on
TRANSIENT = {"status unknown for quota", "failed calling webhook", 'serviceaccount "default" not found'}


@pytest.mark.parametrize(("status", "message", "category", "name", "advice"), CASES)
def test_words_of_kubernetes(status: int, message: str, category: str, name: str, advice: str) -> None:
    refusal = classify(message, status)
    assert refusal is not None
    assert (refusal.category, refusal.name) == (category, name)
    assert advice in refusal.advice
    assert "{" not in refusal.advice
    assert refusal.transient == any(words in message for words in TRANSIENT)
    # Only a permission that is missing is advised to be granted.
    assert ("permission" in refusal.advice) == (category == "permission")


@pytest.mark.parametrize(("message", "status"), [("", 0), ("etcd is away", 503), ("not found", 404)])
def test_what_refuses_nothing(message: str, status: int) -> None:
    assert classify(message, status) is None


def test_cause_counts_too() -> None:
    causes: list[dict[str, t.Any]] = [{"message": "ValidatingAdmissionPolicy 'p' denied request: no"}]
    assert classify("denied", 422, causes) == Refusal(
        "policy",
        "p",
        "Change what ValidatingAdmissionPolicy 'p' objects to, or ask its owner for an exception: "
        "kubectl describe validatingadmissionpolicy p.",
    )
