# SPDX-License-Identifier: GPL-3.0-or-later
"""What the orchestrator sees to before its loop: its group, and the baseline variant."""

from __future__ import annotations

from eden_service_common import contracts
from eden_service_common.client import (
    AlreadyExists,
    Client,
    Document,
    NotFound,
    ReservedIdentifier,
    ServerError,
)
from eden_service_common.config import ExperimentConfig
from eden_service_common.logs import Log

_GROUP = "orchestrators"
_BASELINE = "baseline"


def join_group(admin: Client, worker_id: str, log: Log) -> None:
    """Put the worker into `orchestrators`, which is created when absent. Raises what the client raises."""
    groups = admin.groups(_GROUP)
    if not groups:
        try:
            groups = [admin.create_group(_GROUP)]
        except ReservedIdentifier:
            groups = admin.groups(_GROUP)
    admin.add_member(groups[0]["group_id"], worker_id)
    log.info("joined_group", group_id=groups[0]["group_id"], worker_id=worker_id)


def ensure_baseline(client: Client, config: ExperimentConfig, log: Log) -> None:
    """Create the variant `baseline` from the seed commit, unless the config turns it off or it exists.

    Raises RuntimeError when another commit is recorded, or what the client raises (403 outside the group).
    """
    if not config.baseline_enabled:
        return
    try:
        seed = client.experiment().get("base_commit_sha")
    except ServerError:
        log.warning("ensure_baseline_read_experiment_failed")
        return
    if seed is None:
        log.warning("baseline_enabled_but_no_base_commit_sha")
        return
    try:
        _verify(client.variant(_BASELINE), seed)
        return
    except NotFound:
        pass
    variant: Document = {
        "variant_id": _BASELINE,
        "experiment_id": client.experiment_id,
        "kind": "baseline",
        "status": "starting",
        "parent_commits": [seed],
        "commit_sha": seed,
        "started_at": contracts.now(),
    }
    if config.baseline_metrics is not None:
        variant |= {
            "status": "success",
            "evaluation": config.baseline_metrics,
            "completed_at": variant["started_at"],
        }
    try:
        client.create_variant(variant)
    except AlreadyExists:
        _verify(client.variant(_BASELINE), seed)
        return
    log.info("baseline_variant_created", commit_sha=seed)


def _verify(variant: Document, seed: str) -> None:
    if variant.get("kind") != "baseline" or variant.get("commit_sha") != seed:
        raise RuntimeError(
            f"variant {_BASELINE!r} exists but is not the expected baseline: kind={variant.get('kind')!r}, "
            f"commit_sha={variant.get('commit_sha')!r} (expected commit_sha={seed!r}). Seed/config drift."
        )
