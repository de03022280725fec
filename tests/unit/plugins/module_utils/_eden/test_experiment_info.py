# SPDX-License-Identifier: GPL-3.0-or-later
"""What experiment_info makes of Secrets."""

from __future__ import annotations

from unittest import mock

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_info
from ansible_collections.eden.reference.plugins.module_utils._eden.access import Desired, DesiredWorker
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import IdentitySecret
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import INSTANCE_LABEL
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import Bearer, Worker

WORKER = DesiredWorker("executor-host-1", "eden-executor-host-1-identity", {})
OTHER = DesiredWorker("operator", "eden-operator-identity", {})
EXPERIMENT_ID = "exp_" + "0" * 26
DESIRED = Desired("ns", "eden", EXPERIMENT_ID, "store", 80, "", False, "admin", "key", (WORKER, OTHER), (), 1)
ID = "wkr_" + "0" * 26


@pytest.mark.parametrize(
    ("secret", "bearer", "accepted"),
    [
        (IdentitySecret("1", ID, "token"), Bearer(ID, WORKER.name), True),
        (IdentitySecret("1", ID, "token"), Bearer(ID, "adopted by its id"), True),
        (IdentitySecret("1", ID, "token"), Bearer(ID, OTHER.name), False),
        (IdentitySecret("1", ID, "token"), None, False),
        (IdentitySecret("1", ID, "token"), Bearer("wkr_" + "1" * 26, WORKER.name), False),
        (IdentitySecret("1", ID, ""), Bearer(ID, WORKER.name), False),
        (IdentitySecret(), Bearer(ID, WORKER.name), False),
    ],
    ids=["taken", "adopted", "swapped", "refused", "another's", "no-token", "no-secret"],
)
def test_worker_is_accepted_by_its_own_token(
    secret: IdentitySecret, bearer: Bearer | None, accepted: bool
) -> None:
    store = mock.Mock()
    store.whoami.return_value = bearer
    with mock.patch.object(experiment_info, "read_secret", return_value=secret):
        found = experiment_info.identity(mock.Mock(), store, DESIRED, WORKER)
    assert found == {
        "name": "executor-host-1",
        "secret": "eden-executor-host-1-identity",
        "worker_id": secret.worker_id,
        "accepted": accepted,
    }
    assert secret.token not in (value for value in found.values() if value)


def test_duplicates_are_minted_for_this_instance_and_held_by_no_secret() -> None:
    def row(worker_id: str, **labels: str) -> Worker:
        return Worker(worker_id, WORKER.name, labels, "2026-11-28T05:00:00Z")

    ours, other = {INSTANCE_LABEL: DESIRED.label}, {INSTANCE_LABEL: "ns/other"}
    rows = [row(ID, **ours), row("wkr_twice", **ours), row("wkr_other", **other), row("wkr_setup")]
    store = mock.Mock()
    store.find_workers.side_effect = lambda name: rows if name == WORKER.name else []
    held = [{"name": WORKER.name, "worker_id": ID}, {"name": OTHER.name, "worker_id": ""}]
    [found] = experiment_info.duplicates(store, DESIRED, held)
    assert (found["name"], found["worker_id"]) == (WORKER.name, "wkr_twice")
    assert found["message"].startswith(
        "wkr_twice, registered at 2026-11-28T05:00:00Z, is named executor-host-1"
    )
