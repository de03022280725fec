# SPDX-License-Identifier: GPL-3.0-or-later
"""Which claims are orphaned."""

from __future__ import annotations

import typing as t
from datetime import datetime

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import claims
from ansible_collections.eden.reference.plugins.module_utils._eden.claims import Host, branch_prefix
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import ClaimedTask
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._kube import kube_objects as k

Object = dict[str, t.Any]

LABELS = {"app.kubernetes.io/component": "executor-host", "eden.reference/replica": "1"}
W = "wkr_01jabcdefghjkmnpqrstvwxyz0"
HOSTS = {W: Host("executor-host-1", "executor-host", LABELS)}
CLAIM = ClaimedTask("execution-1", "execution", W, "2026-11-28T05:00:10.500Z")
SOON, LATER = "05:00:40", "05:01:41"


def at(time: str) -> str:
    return f"2026-11-28T{time}Z"


def pod(
    *states: Object, phase: str = "Running", created: str = "05:00:00", ended: str = "", **labels: str
) -> Object:
    """A pod with containers; the previous run of each has ended then."""
    last = {"terminated": {"exitCode": 1, "finishedAt": at(ended)}} if ended else {}
    workload = k.statefulset("eden-executor-host-1", "executor-host")
    made = k.pod(workload, *[k.container(state, last=last) for state in states], phase=phase)
    made["metadata"] |= {"labels": LABELS | labels, "creationTimestamp": at(created)}
    made["spec"]["terminationGracePeriodSeconds"] = 30
    return made


def deleted(made: Object) -> Object:
    made["metadata"]["deletionTimestamp"] = at("05:00:20")
    return made


def started(time: str) -> Object:
    return k.running(at(time))


CRASHED = k.waiting("CrashLoopBackOff")
ANOTHER = {"eden.reference/replica": "2"}

ROWS: dict[str, tuple[list[Object], str, bool]] = {
    "no pod": ([], SOON, True),
    "older container": ([pod(started("05:00:05"))], SOON, False),
    "older container, long ago": ([pod(started("05:00:05"))], "23:00:00", False),
    "younger container": ([pod(started("05:00:11"))], SOON, True),
    "a second older": ([pod(started("05:00:09"))], LATER, False),
    "same second": ([pod(started("05:00:10"))], SOON, False),
    "same second, longer ago than any task takes": ([pod(started("05:00:10"))], LATER, True),
    "restarted": ([pod(started("05:00:12"), created="05:00:01", ended="05:00:11")], SOON, True),
    "stopping, but runs": ([deleted(pod(started("05:00:05")))], LATER, False),
    "stopping beside its replacement": (
        [deleted(pod(started("05:00:05"))), pod(started("05:00:30"))],
        LATER,
        False,
    ),
    "succeeded": ([pod(started("05:00:05"), phase="Succeeded")], SOON, True),
    "failed": ([pod(started("05:00:05"), phase="Failed")], SOON, True),
    "of another replica": ([pod(started("05:00:05"), **ANOTHER)], SOON, True),
    "crashed since": ([pod(CRASHED, ended="05:00:11")], SOON, True),
    "crashed before, and may run again": ([pod(CRASHED, ended="05:00:08")], SOON, False),
    "ended since": ([pod({"terminated": {"exitCode": 1, "finishedAt": at("05:00:11")}})], SOON, True),
    "new pod without containers": ([pod(phase="Pending", created="05:00:12")], SOON, True),
    "old pod without containers": ([pod(phase="Pending", created="05:00:02")], SOON, False),
    "new pod whose container is created": (
        [pod(k.waiting("ContainerCreating"), created="05:00:12")],
        SOON,
        True,
    ),
    "one of two containers is older": ([pod(started("05:00:12"), started("05:00:02"))], SOON, False),
}


@pytest.mark.parametrize(("pods", "now", "expected"), ROWS.values(), ids=ROWS)
def test_a_claim_is_orphaned_if_no_container_can_have_made_it(
    pods: list[Object], now: str, expected: bool
) -> None:
    found = claims.orphaned([CLAIM], HOSTS, pods, datetime.fromisoformat(at(now)))
    assert [orphan.task for orphan in found] == ([CLAIM] if expected else [])


@pytest.mark.parametrize(
    "claim",
    [
        ClaimedTask("execution-1", "execution", W, CLAIM.claimed_at, at("06:00:00")),
        ClaimedTask("execution-1", "execution", "wkr_" + "7" * 26, CLAIM.claimed_at),
    ],
    ids=["with an end", "of others"],
)
def test_other_claims_are_left_alone(claim: ClaimedTask) -> None:
    assert claims.orphaned([claim], HOSTS, [], datetime.fromisoformat(at(LATER))) == []


def test_branch_of_an_execution() -> None:
    assert branch_prefix(CLAIM) == "work/variant-1-"
