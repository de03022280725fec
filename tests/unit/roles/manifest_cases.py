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

# Files of an experiment with commands, and its seed.
FILES = str(Path(__file__).parent / "experiment")
EGRESS = [{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}], "ports": [{"port": 443}]}]
GPU = {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi", "nvidia.com/gpu": 1}}

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
    # Commands in EDEN's image or one that is built on it, and files from a directory.
    "commands": {
        "eden_experiment_dir": FILES,
        "eden_seed_dir": f"{FILES}/start",
        "eden_workers": {
            "ideator_host": {"mode": "subprocess", "env_secret": "llm-keys", "egress": EGRESS},
            "executor_host": {
                "mode": "subprocess",
                "image": "example.com/on-eden:1",
                "placement": "host",
                "replicas": 2,
                "resources": GPU,
                "pass_credential": True,
            },
            "evaluator_host": {"mode": "subprocess"},
        },
    },
    # Commands in images of their own, a mixture of modes, and files from an image.
    "beside": {
        **SCHEDULING,
        "eden_experiment_config_file": f"{FILES}/.eden/config.yaml",
        "eden_experiment_source": {"image": "example.com/files:1", "path": "/experiment"},
        "eden_replicas": {"web_ui": 0, "ideator_host": 2},
        "eden_workers": {
            "ideator_host": {"node_selector": {"zone": "b"}, "resources": GPU},
            "executor_host": {
                "mode": "subprocess",
                "image": "example.com/cuda:12",
                "image_pull_policy": "Always",
                "resources": GPU,
                "node_selector": {"pool": "gpu"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "runtime_class": "nvidia",
                "env_secret": "0x10",
                "egress": EGRESS,
            },
            "evaluator_host": {"mode": "subprocess", "image": "debian:12", "pass_credential": True},
        },
        "eden_artifacts_access_mode": "ReadWriteMany",
    },
}
