# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of inputs for which the manifests are rendered."""

from __future__ import annotations

import typing as t
from pathlib import Path

EXPERIMENT_ID = "exp_0123456789abcdefghjkmnpqrs"
COMMIT = "666b95f001acc6e19682f7e1732e4d8c14b16cb9"
# Files of an experiment, with its seed in `start`.
EXPERIMENT = Path(__file__).with_name("experiment")
Manifests = list[dict[str, t.Any]]

SCHEDULING = {
    "eden_node_selector": {"pool": "experiments"},
    "eden_tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],
    "eden_affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "eden"}},
                    },
                }
            ]
        }
    },
}

# The inputs of each case, over the defaults.
CASES: dict[str, dict[str, t.Any]] = {
    "plain": {},
    "knobs": {
        **SCHEDULING,
        "eden_image": "images.example.com:5000/eden@sha256:" + "0" * 64,
        "eden_image_pull_policy": "Always",
        "eden_image_pull_secrets": ["first", "second"],
        "eden_postgres_image_pull_policy": "Never",
        "eden_storage_class": "fast",
        "eden_storage_sizes": {"postgres": "2Gi", "artifacts": "3Gi"},
        "eden_resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "eden_replicas": {"executor_host": 3, "ideator_host": 2, "web_ui": 0},
        "eden_existing_secret": "given",
        "eden_database_password_changed": True,
        "eden_allow_downgrade": True,
        "eden_web_ui_peers": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
        ],
        "eden_dns_peers": [{"ipBlock": {"cidr": "192.0.2.53/32"}}],
        "eden_worker_egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}],
        "eden_ingress": {
            "host": "eden.example.com",
            "class_name": "nginx",
            "annotations": {"example.com/login": "sso"},
            "tls_secret": "eden-tls",
        },
        "eden_max_unavailable": 0,
        "eden_manage_namespace": False,
        "eden_log_level": "debug",
        "eden_remember_credentials": False,
        "eden_poll_interval": 0.5,
        "eden_timeout": 900,
        "eden_lock_timeout": 60,
    },
    # What YAML takes for something else, and characters that it escapes, folds or refuses.
    "strings": {
        "eden_namespace": "null",
        "eden_existing_secret": "0x10",
        "eden_storage_class": "1e3",
        "eden_image_pull_secrets": ["null", "1e3"],
        "eden_node_selector": {"no": "yes", "on": "2026-11-28", "x/1e3": "0o17"},
        "eden_experiment_config": {
            "parallel_variants": 1,
            "evaluation_schema": {"score": "real"},
            "objective": {"expr": "score + 0 * len('🚀')", "direction": "maximize"},
            "ideation_policy": {"kind": "fixed_total", "total": 3},
            "execution_task_deadline": 0.5,
            "evaluation_task_deadline": 100000,
        },
        "eden_ingress": {
            "host": "eden.example.com",
            "class_name": "off",
            "annotations": {"on": "🚀 é: # \U0001f9ea", "no": "- a: b # c"},
        },
    },
    "files": {
        "eden_experiment_dir": str(EXPERIMENT),
        "eden_seed_dir": str(EXPERIMENT / "start"),
        "eden_workers": {"ideator_host": {"mode": "subprocess", "env_secret": "keys"}},
    },
    "longest-name": {"eden_name": "n" * 32, "eden_replicas": {"executor_host": 11}},
}
