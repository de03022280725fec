# SPDX-License-Identifier: GPL-3.0-or-later
"""What the components of an experiment are, in a table that the product does not read."""

from __future__ import annotations

# The components that others connect to, and their ports.
SERVERS = {"postgres": 5432, "forgejo": 3000, "task-store-server": 8080, "web-ui": 8090}
# Every component, and the servers that it needs besides the cluster's DNS.
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
# The workloads of each phase, with one replica of each service.
WORKLOADS = {
    "infra": {("StatefulSet", "postgres"), ("StatefulSet", "forgejo")},
    "task_store": {("Deployment", "task-store-server")},
    "app_tier": {
        ("StatefulSet", name)
        for name in ("orchestrator", "ideator-host-1", "executor-host-1", "evaluator-host-1", "web-ui")
    },
}
# The components whose pods end.
ENDING = {"seed", "provision"}
# The keys of the credentials Secret, and the components that read them.
READERS = {
    "EDEN_ADMIN_TOKEN": {"task-store-server"},
    "POSTGRES_PASSWORD": {"task-store-server", "postgres"},
    "EDEN_READONLY_PASSWORD": {"task-store-server"},
    "EDEN_SESSION_SECRET": {"web-ui"},
    "FORGEJO_REMOTE_PASSWORD": {"forgejo", "seed", "orchestrator", "executor-host", "web-ui"},
    "FORGEJO_SECRET_KEY": {"forgejo"},
    "FORGEJO_INTERNAL_TOKEN": {"forgejo"},
}
# The components that mount the experiment config, and restart when it changes.
CONFIG_READERS = {"task-store-server", "orchestrator", "evaluator-host", "web-ui"}
# The workers of one replica of each service, and their groups.
WORKERS = {
    "operator": {"admins"},
    "orchestrator": {"orchestrators"},
    "web-ui-1": {"admins"},
    "ideator-host-1": set(),
    "executor-host-1": set(),
    "evaluator-host-1": set(),
}
# The claims, with their default size and the StatefulSet that makes them.
CLAIMS = {
    "data-{name}-postgres-0": ("postgres", "10Gi", "postgres"),
    "data-{name}-forgejo-0": ("forgejo", "20Gi", "forgejo"),
    "{name}-blob": ("blob", "10Gi", ""),
    "{name}-artifacts": ("artifacts", "50Gi", ""),
}
