# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What refused a request to the Kubernetes API, by the words of the refusal, and the next step.

A 403 is a missing permission only if the API server says so. Admission answers 403, 422 and others for
quotas, limits, policies and webhooks, whose names only its words hold. The same words arrive in the events of
controllers, with no status. The phrases are those of Kubernetes' own admission plugins and of OpenShift's.
This module is private to the collection.
"""

from __future__ import annotations

import re
import typing as t

Category = t.Literal[
    "anonymous",
    "immutable",
    "impersonation",
    "invalid",
    "limit_range",
    "missing_reference",
    "namespace_terminating",
    "other",
    "permission",
    "pod_security",
    "policy",
    "quota",
    "security_context_constraints",
    "webhook",
    "webhook_failure",
]


class Refusal(t.NamedTuple):
    """What refused a request.

    Attributes:
        category: what kind of rule it was. ``immutable`` is the only one that deleting the object may answer.
        name: the quota, policy, webhook or missing object that the words name; empty if they name none.
        advice: the next step, in whole sentences.
        transient: whether the same request may succeed a moment later with nobody acting.
    """

    category: Category
    name: str
    advice: str
    transient: bool = False


class _Rule(t.NamedTuple):
    category: Category
    pattern: str
    advice: str
    transient: bool = False


# The first match counts: what is specific stands before what its words may contain.
_RULES = (
    _Rule(
        "policy",
        r"(?P<policy>(?:Validating|Mutating)AdmissionPolicy '(?P<name>[^']+)')",
        "Change what {policy} objects to, or ask its owner for an exception: kubectl describe {kind} {name}.",
    ),
    _Rule(
        "webhook",
        r'admission webhook "(?P<name>[^"]+)" (?:denied the request|attempted to modify the object)',
        'Change what the policy behind admission webhook "{name}" objects to, or ask its owner for an '
        "exception.",
    ),
    _Rule(
        "webhook_failure",
        r'failed calling webhook "(?P<name>[^"]+)"',
        'The service behind admission webhook "{name}" does not answer. Ask its owner to repair it: '
        "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations.",
        transient=True,
    ),
    _Rule(
        "policy",
        r"(?P<name>image policy webhook|one or more images rejected by webhook backend)",
        "Use an image that the cluster's image policy allows, or ask the cluster's administrator to allow "
        "it.",
    ),
    _Rule(
        "pod_security",
        r'violates PodSecurity "(?P<name>[^"]+)"',
        'The namespace enforces the Pod Security Standard "{name}". Meet it, or ask the namespace\'s owner '
        "to change its label pod-security.kubernetes.io/enforce.",
    ),
    _Rule(
        "security_context_constraints",
        r"(?P<name>)unable to validate against any security context constraint",
        "Ask the cluster's administrator for a SecurityContextConstraints that admits the pod, such as "
        "restricted-v2 or nonroot-v2.",
    ),
    _Rule(
        "quota",
        r"exceeded quota: (?P<name>[^\s,]+)",
        'Ask for less, free what is no longer used, or have quota "{name}" raised: '
        "kubectl describe resourcequota {name}.",
    ),
    _Rule(
        "quota",
        r"failed quota: (?P<name>[^\s:]+)",
        'Quota "{name}" wants values that the object lacks: set the requests and limits that are named, '
        "or have a LimitRange give defaults.",
    ),
    _Rule(
        "quota",
        r"status unknown for quota: (?P<name>[^\s,]+)",
        'Quota "{name}" is not yet calculated: kubectl describe resourcequota {name}.',
        transient=True,
    ),
    _Rule(
        "quota",
        r"(?P<name>)(?:insufficient quota to (?:consume|match these scopes)|quota usage is negative)",
        "Have a ResourceQuota made or changed that covers the request: kubectl describe resourcequota.",
    ),
    _Rule(
        "limit_range",
        r"(?P<name>)(?:(?:maximum|minimum) \S+ usage per|max limit to request ratio per)",
        "A LimitRange of the namespace bounds this value: stay within it, or have it changed: "
        "kubectl describe limitrange.",
    ),
    _Rule(
        "namespace_terminating",
        r"namespace (?P<name>\S+) because it is being terminated",
        "Namespace {name} is being deleted: wait until it is gone, or use another one.",
    ),
    _Rule(
        "missing_reference",
        r"error looking up service account \S+: serviceaccount \"(?P<name>default)\" not found",
        'The cluster has not made the ServiceAccount "default" of the namespace yet: kube-controller-manager '
        "makes it within seconds.",
        transient=True,
    ),
    _Rule(
        "missing_reference",
        r"error looking up service account (?P<name>[^\s:]+)",
        "Create ServiceAccount {name}, or name one that exists.",
    ),
    _Rule(
        "missing_reference",
        r"no PriorityClass with name (?P<name>\S+) was found",
        "Have PriorityClass {name} created, or name one that exists: kubectl get priorityclasses.",
    ),
    _Rule(
        "missing_reference",
        r'RuntimeClass "(?P<name>[^"]+)" not found',
        "Have RuntimeClass {name} created, or name one that exists: kubectl get runtimeclasses.",
    ),
    _Rule(
        "impersonation",
        r'User "(?P<name>[^"]*)" cannot impersonate',
        'Have the verb "impersonate" granted to "{name}", or connect without impersonation.',
    ),
    _Rule(
        "anonymous",
        r'User "(?P<name>system:anonymous)" cannot',
        "The API server got no credentials: have the connection send a token or a client certificate.",
    ),
    _Rule(
        "permission",
        r'User "(?P<name>[^"]*)" cannot',
        'Have this permission granted to "{name}", or connect as a user who has it.',
    ),
    _Rule(
        "permission",
        r'user "(?P<name>[^"]*)" \(groups=.*attempting to grant RBAC permissions not currently held',
        'Only a user who holds these permissions, or the verb "escalate", can grant them: ask the cluster\'s '
        "administrator.",
    ),
    _Rule(
        "immutable",
        r"(?P<name>)(?:field is immutable|is immutable after creation|may not change once set"
        r"|may not change fields other than|updates to \S+ spec for fields other than"
        r"|can not be less than status\.capacity)",
        "The object exists with another value in a field that can never be changed.",
    ),
    _Rule(
        "other",
        r"(?P<name>)not yet ready to handle request",
        "The API server is still starting.",
        transient=True,
    ),
)
_COMPILED = tuple((rule, re.compile(rule.pattern)) for rule in _RULES)

_BY_STATUS = {
    401: Refusal(
        "other", "", "Renew the credentials of the connection: the API server does not accept them."
    ),
    403: Refusal(
        "other",
        "",
        "Ask the cluster's administrator about the rule that these words name. If they name none, a "
        "proxy or firewall before the API server may have answered.",
    ),
    422: Refusal("invalid", "", "Correct the field that the answer names."),
}


def classify(message: str, status: int = 0, causes: t.Iterable[t.Mapping[str, t.Any]] = ()) -> Refusal | None:
    """What refused, by the message of a Status object or of an event.

    Args:
        message: the words of the API server.
        status: the HTTP status, for words that no rule knows; 0 for an event.
        causes: ``details.causes`` of the Status.

    Returns:
        None if neither the words nor the status say anything.
    """
    words = " ".join((message, *(str(cause.get("message", "")) for cause in causes)))
    for rule, pattern in _COMPILED:
        match = pattern.search(words)
        if match:
            values = {**match.groupdict(), "kind": match.group(0).split()[0].lower()}
            return Refusal(rule.category, match["name"], rule.advice.format(**values), rule.transient)
    return _BY_STATUS.get(status)


__all__ = ["Category", "Refusal", "classify"]
