# SPDX-License-Identifier: GPL-3.0-or-later
"""Which component of an experiment may connect to which, besides the cluster's DNS."""

from __future__ import annotations

# The components that others connect to, and their ports.
SERVERS = {"postgres": 5432, "forgejo": 3000, "task-store-server": 8080, "web-ui": 8090}
# Every component, and the servers that it needs.
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
