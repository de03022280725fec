# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What refused a request to the Kubernetes API, by the message of the refusal, and the next step.

A 403 is a missing permission only if the message says so. Admission answers 403, 422 and others for quotas,
limits, policies and webhooks, which only the message names. Events of controllers repeat the message without
a status. The phrases are those of the admission plugins of Kubernetes and OpenShift.
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
        category: the kind of rule. Deleting the object can help only with ``immutable``.
        name: the quota, policy, webhook or missing object that the message names; empty if it names none.
        advice: the next step, in whole sentences.
        transient: whether the same request may succeed a moment later without any action.
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


# The first match counts, so specific rules come first.
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
        'Quota "{name}" requires values that the object lacks: set the requests and limits that are named, '
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
        "Have a ResourceQuota created or changed that covers the request: kubectl describe resourcequota.",
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
        'The cluster has not created the ServiceAccount "default" of the namespace yet: '
        "kube-controller-manager creates it within seconds.",
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
        "The API server received no credentials: configure a token or a client certificate.",
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
    # Server-side apply answers it with 500.
    _Rule(
        "invalid",
        r'(?P<name>)(?:field not declared in schema|unknown field ")',
        "Correct the field that the message names.",
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
        "Ask the cluster's administrator about the rule that the message names. If it names none, a "
        "proxy or firewall in front of the API server may have answered.",
    ),
    422: Refusal("invalid", "", "Correct the field that the message names."),
}


def classify(message: str, status: int = 0, causes: t.Iterable[t.Mapping[str, t.Any]] = ()) -> Refusal | None:
    """The refusal in the message of a Status object or an event.

    Args:
        message: the message of the API server.
        status: the HTTP status, for messages that no rule matches; 0 for an event.
        causes: ``details.causes`` of the Status.

    Returns:
        None if neither the message nor the status is known.
    """
    words = " ".join((message, *(str(cause.get("message", "")) for cause in causes)))
    for rule, pattern in _COMPILED:
        match = pattern.search(words)
        if match:
            values = {**match.groupdict(), "kind": match.group(0).split()[0].lower()}
            return Refusal(rule.category, match["name"], rule.advice.format(**values), rule.transient)
    return _BY_STATUS.get(status)


__all__ = ["Category", "Refusal", "classify"]
