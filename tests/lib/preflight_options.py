# SPDX-License-Identifier: GPL-3.0-or-later
"""Options for the module preflight: a small experiment named eden."""

from __future__ import annotations

import typing as t

import yaml
from environments import CHECKOUT

CLAIMS = ["data-eden-postgres-0", "eden-blob"]
IDENTITIES = ["eden-operator-identity", "eden-executor-host-1-identity"]
COMPONENTS = ("postgres", "task-store-server", "web-ui")
SHARED = (
    *("credentials", "experiment", "experiment-config", "git-credential-helper", "forgejo-user"),
    *("postgres-start", "seed", "experiment-files", "seed-files"),
)
KEYS = ["EDEN_ADMIN_TOKEN", "POSTGRES_PASSWORD"]
CONFIG = "evaluation_schema:\n  score: real\n"
DIGEST_KEY = "FORGEJO_SECRET_KEY"

TOPOLOGY: dict[str, t.Any] = {
    "labels": {"app.kubernetes.io/managed-by": "eden.reference"},
    "names": {part: f"eden-{part}" for part in (*SHARED, *COMPONENTS)},
    "components": {component: {"name": f"eden-{component}"} for component in COMPONENTS},
    "budgets": ["postgres"],
    "claims": {"postgres": CLAIMS[0], "blob": CLAIMS[1]},
    "identities": [{"secret": name} for name in IDENTITIES],
    "readers": {"postgres": ["POSTGRES_PASSWORD"], "task-store-server": ["EDEN_ADMIN_TOKEN"]},
    "urls": {"postgres": "postgresql://eden@eden-postgres:5432/eden"},
    "credential_keys": KEYS,
    "digest_key": DIGEST_KEY,
    "objects": [
        {"kind": "StatefulSet", "name": "eden-postgres"},
        {"kind": "Deployment", "name": "eden-task-store-server"},
        {"kind": "Service", "name": "eden-postgres"},
    ],
    "volumes": [
        {
            "name": CLAIMS[0],
            "content": "the database",
            "without_backup": "Start anew.",
            "created_before": {"kind": "ConfigMap", "name": "eden-seed"},
            "workload": "eden-postgres",
            "claim": "data",
            "size": "10Gi",
            "variable": "eden_storage_sizes.postgres",
        },
        {
            "name": CLAIMS[1],
            "content": "files",
            "without_backup": "Go on without.",
            "created_before": {"kind": "Deployment", "name": "eden-task-store-server"},
            "workload": "",
            "claim": "eden-blob",
            "size": "10Gi",
            "variable": "eden_storage_sizes.blob",
        },
    ],
}
INPUTS: dict[str, t.Any] = {
    "eden_name": "eden",
    "eden_experiment_id": "",
    "eden_manage_namespace": True,
    "eden_storage_class": "",
    "eden_existing_secret": "",
    "eden_image_pull_secrets": [],
    "eden_database_password_changed": False,
    "eden_allow_downgrade": False,
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
    "eden_experiment_dir": "",
    "eden_seed_dir": "",
    "eden_workers": {},
    "eden_artifacts_access_mode": "ReadWriteOnce",
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
        "config": CONFIG,
        "deployer_role": ROLE,
        "lock_timeout": 0,
    }
