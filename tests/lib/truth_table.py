# SPDX-License-Identifier: GPL-3.0-or-later
"""What an experiment consists of: the tests' own table, independent of the collection's catalogue."""

from __future__ import annotations

from collections import Counter

# The components that others connect to, and their ports.
SERVERS = {"postgres": 5432, "forgejo": 3000, "task-store-server": 8080, "web-ui": 8090}
# Every component, and the servers that it may connect to, besides the cluster's DNS.
CLIENTS: dict[str, set[str]] = {
    "postgres": set(),
    "forgejo": set(),
    "provision": set(),
    "seed": {"forgejo"},
    "task-store-server": {"postgres"},
    "orchestrator": {"forgejo", "task-store-server"},
    "ideator-host": {"task-store-server"},
    "executor-host": {"forgejo", "task-store-server"},
    "evaluator-host": {"task-store-server"},
    "web-ui": {"forgejo", "task-store-server"},
}
# Those whose pods stay, and those of them that have one workload for each replica.
LASTING = tuple(name for name in CLIENTS if name not in ("seed", "provision"))
NUMBERED = ("ideator-host", "executor-host", "evaluator-host")

# The keys of the credentials, and who reads them; the others read none.
READERS = {
    "postgres": {"POSTGRES_PASSWORD"},
    "forgejo": {"FORGEJO_REMOTE_PASSWORD", "FORGEJO_SECRET_KEY", "FORGEJO_INTERNAL_TOKEN"},
    "task-store-server": {"EDEN_ADMIN_TOKEN", "POSTGRES_PASSWORD", "EDEN_READONLY_PASSWORD"},
    "seed": {"FORGEJO_REMOTE_PASSWORD"},
    "orchestrator": {"FORGEJO_REMOTE_PASSWORD"},
    "executor-host": {"FORGEJO_REMOTE_PASSWORD"},
    "web-ui": {"EDEN_SESSION_SECRET", "FORGEJO_REMOTE_PASSWORD"},
}
# The components that mount the experiment config, and restart when it changes.
CONFIG_READERS = {"task-store-server", "orchestrator", "evaluator-host", "web-ui"}
GENERATED = {key for keys in READERS.values() for key in keys}
SECRET_KEYS = GENERATED | {"EDEN_STORE_URL", "EDEN_READONLY_STORE_URL"}

# The component of each worker that has a pod; the operator has none and steers the experiment from outside.
COMPONENTS_OF_WORKERS = {
    "orchestrator": "orchestrator",
    "web-ui-1": "web-ui",
    **{f"{name}-1": name for name in NUMBERED},
}
# The workloads of each phase.
WORKLOADS = {
    "infra": {("StatefulSet", "postgres"), ("StatefulSet", "forgejo")},
    "task_store": {("Deployment", "task-store-server")},
    "app_tier": {
        ("StatefulSet", name) for name in ("orchestrator", "web-ui", *(f"{name}-1" for name in NUMBERED))
    },
}
# The claims, with their key in the sizes, their default size, and the StatefulSet that makes them.
CLAIMS = {
    "data-{name}-postgres-0": ("postgres", "10Gi", "postgres"),
    "data-{name}-forgejo-0": ("forgejo", "20Gi", "forgejo"),
    "{name}-blob": ("blob", "10Gi", ""),
    "{name}-artifacts": ("artifacts", "50Gi", ""),
}
OPERATOR = "operator"
WORKERS = (OPERATOR, *COMPONENTS_OF_WORKERS)
GROUPS = {"admins": {OPERATOR, "web-ui-1"}, "orchestrators": {"orchestrator"}}

# What EDEN's seed always is: its content, its author and its date are fixed.
SEED_COMMIT = "666b95f001acc6e19682f7e1732e4d8c14b16cb9"
# The fixture: three ideas, and the baseline, which is evaluated but never integrated.
EVENTS = Counter(
    {
        **dict.fromkeys(("task.created", "task.claimed", "task.submitted", "task.completed"), 10),
        **dict.fromkeys(("idea.drafted", "idea.ready", "idea.dispatched", "idea.completed"), 3),
        **dict.fromkeys(("variant.started", "variant.succeeded"), 4),
        "variant.integrated": 3,
    }
)
