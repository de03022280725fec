# SPDX-License-Identifier: GPL-3.0-or-later
"""What experiment_info makes of events and Secrets."""

from __future__ import annotations

import typing as t
from unittest import mock

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_info
from ansible_collections.eden.reference.plugins.module_utils._eden.identities import (
    Held,
    Wanted,
    WantedWorker,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import Bearer

WORKER = WantedWorker("executor-host-1", "eden-executor-host-1-identity", {})
OTHER = WantedWorker("operator", "eden-operator-identity", {})
EXPERIMENT_ID = "exp_" + "0" * 26
WANTED = Wanted("ns", "eden", EXPERIMENT_ID, "store", 80, "", False, "admin", "key", (WORKER, OTHER), (), 1)
ID = "wkr_" + "0" * 26


def event(event_type: str, **data: t.Any) -> dict[str, t.Any]:
    return {"type": event_type, "data": data}


def test_events_are_counted_by_type_and_ideations_apart() -> None:
    events = [
        event("task.created", task_id="ideation-1", kind="ideation"),
        event("task.completed", task_id="ideation-1"),
        event("task.completed", task_id="execution-1"),
        event("variant.integrated", variant_id="v"),
    ]
    assert experiment_info.progress(iter(events)) == {
        "events": {"task.completed": 2, "task.created": 1, "variant.integrated": 1},
        "ideations": 1,
    }


def test_no_events() -> None:
    assert experiment_info.progress([]) == {"events": {}, "ideations": 0}


@pytest.mark.parametrize(
    ("held", "bearer", "accepted"),
    [
        (Held("1", ID, "token"), Bearer(ID, WORKER.name), True),
        (Held("1", ID, "token"), Bearer(ID, "adopted by its id"), True),
        (Held("1", ID, "token"), Bearer(ID, OTHER.name), False),
        (Held("1", ID, "token"), None, False),
        (Held("1", ID, "token"), Bearer("wkr_" + "1" * 26, WORKER.name), False),
        (Held("1", ID, ""), Bearer(ID, WORKER.name), False),
        (Held(), Bearer(ID, WORKER.name), False),
    ],
    ids=["taken", "adopted", "swapped", "refused", "another's", "no-token", "no-secret"],
)
def test_worker_is_accepted_by_its_own_token_only(held: Held, bearer: Bearer | None, accepted: bool) -> None:
    store = mock.Mock()
    store.whoami.return_value = bearer
    with mock.patch.object(experiment_info.identities, "read_secret", return_value=held):
        found = experiment_info.identity(mock.Mock(), store, WANTED, WORKER)
    assert found == {
        "name": "executor-host-1",
        "secret": "eden-executor-host-1-identity",
        "worker_id": held.worker_id,
        "accepted": accepted,
    }
    assert held.token not in (value for value in found.values() if value)
