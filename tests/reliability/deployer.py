# SPDX-License-Identifier: GPL-3.0-or-later
"""A user of the rig with the permissions of the Role that is shipped, or with a part of them."""

from __future__ import annotations

import copy
import re
import secrets
import time
import typing as t

import yaml
from kube import MERGE, PATHS, Kube, Object
from oracles import EQUIPMENT, tail
from thin_rig import CHECKOUT, Experiment, Outcome, Rig

SHIPPED = CHECKOUT / "roles/eden/files/deployer-role.yaml"
# The namespace of the file.
SHIPPED_NAMESPACE = "eden"
RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLES = f"/apis/{RBAC}/v1/clusterroles"
CLUSTER_BINDINGS = f"/apis/{RBAC}/v1/clusterrolebindings"
# The authorizer learns of a change through a watch.
PATIENCE = 60.0
# Of a rollout: on the rig each takes seconds.
TIMEOUT = 60

Rules = list[Object]


class Grant(t.NamedTuple):
    """One verb on one resource, of one name or of any."""

    verb: str
    group: str
    resource: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f" {self.name}" if self.name else "")


def _shipped_object(kind: str) -> Object:
    (found,) = [item for item in yaml.safe_load(SHIPPED.read_text())["items"] if item["kind"] == kind]
    return dict(found)


def shipped(kind: str, namespace: str = SHIPPED_NAMESPACE) -> Rules:
    """The rules of the Role or ClusterRole that is shipped, for another namespace."""
    rules = _shipped_object(kind)["rules"]
    for rule in rules:
        if rule["resources"] == ["namespaces"] and "resourceNames" in rule:
            rule["resourceNames"] = [namespace]
    return t.cast("Rules", rules)


def grants(rules: Rules) -> list[Grant]:
    """What the rules grant, one by one."""
    return [
        Grant(verb, group, resource, name)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
    ]


def is_optional(grant: Grant) -> bool:
    """Whether a run of site.yml does without the permission."""
    conditions = {
        key
        for kind in ("Role", "ClusterRole")
        for key, words in yaml.safe_load(
            _shipped_object(kind)["metadata"]["annotations"]["eden.reference/if"]
        ).items()
        if words == "optional"
    }
    return bool(conditions & {grant.resource, f"{grant.verb} {grant.resource}"})


def rules_of(wanted: t.Iterable[Grant]) -> Rules:
    """Rules for exactly that."""
    return [
        {
            "verbs": [grant.verb],
            "apiGroups": [grant.group],
            "resources": [grant.resource],
            **({"resourceNames": [grant.name]} if grant.name else {}),
        }
        for grant in wanted
    ]


class Deployer:
    """A user, who may do nothing yet, in a namespace that is there if ``namespace_exists``.

    Attributes:
        name: of the user, and of what gives the permissions.
        namespace: where the user's experiment is.
    """

    def __init__(self, rig: Rig, namespace_exists: bool = True) -> None:
        token = secrets.token_hex(4)
        self.name = f"deployer-{token}"
        self.namespace = f"rig-{token}"
        self._rig = rig
        self._kube = rig.node.kube
        self._eyes = Kube(rig.control_plane.url, rig.control_plane.context_for(self.name))
        self._roles: dict[str, Rules] = {}
        if namespace_exists:
            metadata = {"name": self.namespace, "labels": _shipped_object("Namespace")["metadata"]["labels"]}
            self._kube.ask("POST", "/api/v1/namespaces", {"metadata": metadata})

    def __enter__(self) -> Deployer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._eyes.close()

    def experiment(self, **variables: t.Any) -> Experiment:
        """The user's experiment."""
        found = self._rig.experiment(self.namespace, (self.name, ()))
        found.variables.update(eden_timeout=TIMEOUT, **variables)
        return found

    def may(self, rules: Rules) -> None:
        """Let the user do that in the namespace, and nothing else there."""
        self._grant(
            PATHS["Role"].format(self.namespace), PATHS["RoleBinding"].format(self.namespace), "Role", rules
        )

    def may_everywhere(self, rules: Rules) -> None:
        """Let the user do that in the whole cluster, and nothing else there."""
        self._grant(CLUSTER_ROLES, CLUSTER_BINDINGS, "ClusterRole", rules)

    def requests(self) -> list[Object]:
        """The audit events of what the user was granted so far."""
        return [
            event
            for event in self._rig.control_plane.audit_events(self.name)
            if event["user"]["username"] == self.name
            and event["annotations"].get("authorization.k8s.io/decision") == "allow"
            and event["responseStatus"]["code"] < 400
        ]

    def _grant(self, roles: str, bindings: str, kind: str, rules: Rules) -> None:
        metadata = {"name": self.name, "labels": EQUIPMENT}
        if kind in self._roles:
            self._kube.ask("PATCH", f"{roles}/{self.name}", {"rules": rules}, MERGE)
        else:
            self._kube.ask("POST", roles, {"metadata": metadata, "rules": rules})
            binding = {
                "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": kind, "name": self.name},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": self.name}],
            }
            self._kube.ask("POST", bindings, binding)
        self._roles[kind] = copy.deepcopy(rules)
        self._wait()

    def _wait(self) -> None:
        """Return when the authorizer knows of all the rules, and of no others."""
        wanted = sorted(grants([rule for rules in self._roles.values() for rule in rules]))
        deadline = time.monotonic() + PATIENCE
        while sorted(self._granted()) != wanted:
            assert time.monotonic() < deadline, f"the API server did not learn the rules of {self.name}"
            time.sleep(0.01)

    def _granted(self) -> list[Grant]:
        """What the user may do in the namespace, without what every user may."""
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        answer = self._eyes.ask("POST", path, {"spec": {"namespace": self.namespace}})
        rules = answer["status"]["resourceRules"]
        return [grant for grant in grants(rules) if not grant.resource.startswith("selfsubject")]


def used(events: t.Iterable[Object]) -> set[Grant]:
    """The permissions that requests made use of which were answered.

    An apply that makes the object needs create beside patch, and so does a connection to a port beside get.
    """
    found = set()
    for event in events:
        reference = event.get("objectRef") or {}
        resource = "/".join(filter(None, (reference.get("resource"), reference.get("subresource"))))
        group, name = reference.get("apiGroup", ""), reference.get("name", "")
        verbs = [event["verb"]]
        if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
            verbs.append("create")
        if event["verb"] == "get" and resource == "pods/portforward":
            verbs.append("create")
        found |= {Grant(verb, group, resource, each) for verb in verbs for each in (name, "")}
    return found


def refusal(outcome: Outcome, grant: Grant, namespace: str) -> str:
    """What is wrong with how a run ended that lacks a permission; empty if nothing is."""
    group = f" ({grant.group})" if grant.group else ""
    scope = f"namespace {namespace}" if namespace else "the whole cluster"
    permission = f"{grant.verb} {grant.resource}{group} in {scope}"
    # A permission on certain objects is reported with their names.
    named = f", named {re.escape(grant.name)}" if grant.name not in ("", namespace) else "(, named [^:]+)?"
    found = re.search(f"{re.escape(permission)}{named}: ", outcome.output)
    if outcome.status != 2 or outcome.writes or "Traceback" in outcome.output or not found:
        return (
            f"the run without {permission!r} ended with {outcome.status} after the writes "
            f"{[str(request) for request in outcome.writes]}: {tail(outcome)}"
        )
    return ""
