# SPDX-License-Identifier: GPL-3.0-or-later
"""The two places that the module keeps in step, seen with clients of their own."""

from __future__ import annotations

import base64
import copy
import json
import typing as t

from control_plane import ControlPlane
from kubernetes.client import ApiClient, CoreV1Api
from standin_api import Api
from standin_processes import ADMIN_TOKEN, EXPERIMENT

from ansible_collections.eden.reference.plugins.module_utils._eden import identities
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError
from ansible_collections.eden.reference.plugins.module_utils._module import Task

Object = dict[str, t.Any]

LABEL = "eden.reference/instance"
INSTANCE = "one"
NAMES = ("operator", "orchestrator", "executor-host-1")


class World:
    """A registry and a namespace.

    Attributes:
        registry: the task store's routes, as the admin.
        core: the API server, as the administrator.
        parameters: the module's options; a test changes them as it likes.
        told: everything that the module said.
        tokens: every token that was ever in a Secret here, or that a test was given.
    """

    def __init__(self, control_plane: ControlPlane, admin: ApiClient, namespace: str, registry: Api) -> None:
        self.control_plane = control_plane
        self.core = CoreV1Api(admin)
        self.namespace = namespace
        self.registry = registry
        self.told: list[str] = []
        self.tokens = {ADMIN_TOKEN}
        self.parameters: Object = {
            "kubeconfig": str(control_plane.kubeconfig),
            "namespace": namespace,
            "instance": INSTANCE,
            "experiment_id": EXPERIMENT,
            "service": {"name": "task-store", "port": 8080},
            "task_store_url": registry.url,
            "admin_secret": {"name": "credentials", "key": "EDEN_ADMIN_TOKEN"},
            "workers": [
                {"name": name, "secret": f"id-{name}", "labels": {"component": name}} for name in NAMES
            ],
            "groups": [
                {"name": "admins", "members": ["operator"]},
                {"name": "orchestrators", "members": ["orchestrator"]},
                {"name": "all", "members": list(NAMES)},
            ],
            "timeout": 60,
        }
        self.put("credentials", {"EDEN_ADMIN_TOKEN": ADMIN_TOKEN})

    @property
    def label(self) -> dict[str, str]:
        """The registry label of what this instance minted."""
        return {LABEL: f"{self.namespace}/{INSTANCE}"}

    def run(self, check_mode: bool = False) -> Object:
        """The module's result; a failure is raised, and remembered as it would be printed."""
        parameters = copy.deepcopy(self.parameters)
        try:
            result = identities.run(Task(parameters, check_mode, diff=True, progress=self.told.append))
        except CollectionError as error:
            self.told.append(json.dumps(error.as_result()) + str(error))
            raise
        finally:
            self.remember()
        self.told.append(json.dumps(result))
        return result

    def put(self, name: str, values: t.Mapping[str, str], **metadata: t.Any) -> None:
        """Create a Secret, or replace it."""
        body: t.Any = {"metadata": {"name": name, **metadata}, "stringData": dict(values)}
        if name in self.secrets():
            self.core.replace_namespaced_secret(name, self.namespace, body)
        else:
            self.core.create_namespaced_secret(self.namespace, body)

    def secrets(self) -> dict[str, Object]:
        """The Secrets of the namespace, as the API server gives them."""
        found = self.core.list_namespaced_secret(self.namespace)
        rows: list[Object] = self.core.api_client.sanitize_for_serialization(found)["items"]
        return {row["metadata"]["name"]: row for row in rows}

    def values(self, name: str) -> dict[str, str]:
        """What a Secret holds."""
        data = self.secrets()[name].get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def held(self, name: str) -> str:
        """The id in a worker's Secret."""
        return self.values(f"id-{name}")["worker_id"]

    def remember(self) -> None:
        """Note the tokens that are in Secrets now."""
        for name in self.secrets():
            self.tokens.update(filter(None, [self.values(name).get("token")]))

    def mint(self, name: str, labels: t.Mapping[str, str] | None = None) -> str:
        """Register a worker as somebody else would, and return its id."""
        worker = self.registry.ok(
            "POST", "/workers", {"name": name, **({"labels": labels} if labels else {})}
        )
        self.tokens.add(worker["registration_token"])
        return str(worker["worker_id"])

    def workers(self, name: str) -> list[str]:
        """The ids of the workers of that name."""
        return [row["worker_id"] for row in self.registry.ok("GET", f"/workers?name={name}")["workers"]]

    def members(self, group: str) -> list[str]:
        """The members of the only group of that name."""
        (row,) = self.registry.ok("GET", f"/groups?name={group}")["groups"]
        return list(row["members"])

    def state(self) -> Object:
        """Everything in both places, but which tokens are valid."""
        return {
            "secrets": self.secrets(),
            "workers": self.registry.ok("GET", "/workers"),
            "groups": self.registry.ok("GET", "/groups"),
        }

    def accepted(self, secret: str) -> bool:
        """Whether whoami knows the bearer of the Secret's token as its worker."""
        values = self.values(secret)
        bearer = f"{values.get('worker_id')}:{values.get('token')}"
        answer = self.registry.as_caller(bearer).call("GET", "/whoami")
        return answer.status == 200 and answer.json["worker_id"] == values.get("worker_id")

    def writes(self) -> int:
        """How many requests so far could have changed something in the namespace."""
        return sum(
            event["verb"] in ("create", "update", "patch", "delete", "deletecollection")
            for event in self.control_plane.audit_events(self.namespace)
            if event.get("objectRef", {}).get("namespace") == self.namespace
            and event["stage"] == "ResponseComplete"
        )

    def check(self) -> None:
        """Every identity works, every membership is there, and no token was told."""
        for name in NAMES:
            assert self.accepted(f"id-{name}"), name
        for group in self.parameters["groups"]:
            assert {self.held(name) for name in group["members"]} <= set(self.members(group["name"]))
        for token in self.tokens:
            assert not any(token in text for text in self.told)
