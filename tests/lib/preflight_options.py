# SPDX-License-Identifier: GPL-3.0-or-later
"""Options for the module preflight: a small experiment named eden."""

from __future__ import annotations

import typing as t

import yaml
from environments import CHECKOUT

CLAIMS = ["data-eden-postgres-0", "eden-blob"]
IDENTITIES = ["eden-operator-identity", "eden-executor-host-1-identity"]
COMPONENTS = ("postgres", "task-store-server", "web-ui")
SHARED = ("credentials", "experiment", "experiment-config", "git-credential-helper", "forgejo-user", "seed")
KEYS = ["EDEN_ADMIN_TOKEN", "POSTGRES_PASSWORD"]

TOPOLOGY: dict[str, t.Any] = {
    "labels": {"app.kubernetes.io/managed-by": "eden.reference"},
    "names": {part: f"eden-{part}" for part in (*SHARED, *COMPONENTS)},
    "components": {component: {"name": f"eden-{component}"} for component in COMPONENTS},
    "budgets": ["postgres"],
    "claims": {"postgres": CLAIMS[0], "blob": CLAIMS[1]},
    "identities": [{"secret": name} for name in IDENTITIES],
    "credential_keys": KEYS,
    "objects": [
        {"kind": "StatefulSet", "name": "eden-postgres"},
        {"kind": "Deployment", "name": "eden-task-store-server"},
        {"kind": "Service", "name": "eden-postgres"},
    ],
    "volumes": [
        {
            "workload": "eden-postgres",
            "claim": "data",
            "size": "10Gi",
            "variable": "eden_storage_sizes.postgres",
        },
        {"workload": "", "claim": "eden-blob", "size": "10Gi", "variable": "eden_storage_sizes.blob"},
    ],
}
INPUTS: dict[str, t.Any] = {
    "eden_name": "eden",
    "eden_experiment_id": "",
    "eden_manage_namespace": True,
    "eden_storage_class": "",
    "eden_existing_secret": "",
    "eden_image_pull_secrets": [],
    "eden_task_store_url": "",
    "eden_network_policies": True,
    "eden_disruption_budgets": True,
    "eden_ingress": {"host": "eden.example.com"},
    "eden_affinity": {},
    "eden_tolerations": [],
    "eden_node_selector": {},
    "eden_resources": {},
    "eden_postgres_resources": {},
    "eden_forgejo_resources": {},
    "eden_web_ui_peers": [],
    "eden_worker_egress": [],
    "eden_dns_peers": [],
}
ROLE: list[dict[str, t.Any]] = yaml.safe_load((CHECKOUT / "roles/eden/files/deployer-role.yaml").read_text())[
    "items"
]


def options(namespace: str, kubeconfig: str | None = None, **changes: t.Any) -> dict[str, t.Any]:
    """The options; ``changes`` are inputs."""
    existing = changes.get("eden_existing_secret")
    names = {**TOPOLOGY["names"], **({"credentials": existing} if existing else {})}
    return {
        "kubeconfig": kubeconfig,
        "namespace": namespace,
        "topology": {**TOPOLOGY, "names": names},
        "inputs": {**INPUTS, **changes},
        "deployer_role": ROLE,
        "lock_timeout": 0,
    }
