# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module identities refuses before it asks, and what it need not ask."""

from __future__ import annotations

import typing as t
from unittest import mock

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import identities
from ansible_collections.eden.reference.plugins.module_utils._eden.access import desired_of
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import (
    IdentitySecret,
    used_by_ready_pods,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import Bearer
from ansible_collections.eden.reference.plugins.module_utils._errors import InputError
from ansible_collections.eden.reference.plugins.module_utils._module import Task

Object = dict[str, t.Any]

PARAMETERS: Object = {
    "namespace": "ns",
    "instance": "one",
    "experiment_id": "exp_01jabcdefghjkmnpqrstvwxyz0",
    "service": {"name": "store", "port": 8080},
    "admin_secret": {"name": "credentials", "key": "EDEN_ADMIN_TOKEN"},
    "workers": [{"name": "operator", "secret": "id-operator"}],
    "groups": [{"name": "admins", "members": ["operator"]}],
    "timeout": 60,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment_id": "exp-1"}, ["experiment_id 'exp-1' is not an experiment id"]),
        ({"instance": ""}, ["instance is empty"]),
        ({"namespace": ""}, ["namespace is empty"]),
        ({"experiment_id": "", "instance": ""}, ["experiment_id ''", "instance is empty"]),
        ({"task_store_url": "store:8080"}, ["task_store_url 'store:8080' is not scheme, host and port"]),
        ({"task_store_url": "http://store/v0"}, ["'http://store/v0' is not scheme, host and port"]),
        ({"workers": [{"name": "admin", "secret": "a"}]}, ["'admin', which the task store reserves"]),
        ({"workers": [{"name": " a", "secret": "a"}]}, ["begins or ends with whitespace"]),
        ({"workers": [{"name": "a", "secret": s} for s in "ab"]}, ["workers has the name 'a' twice"]),
        ({"workers": [{"name": n, "secret": "a"} for n in "ab"]}, ["workers has the Secret 'a' twice"]),
        ({"groups": [{"name": "g"}, {"name": "g"}]}, ["groups has the name 'g' twice"]),
        (
            {"groups": [{"name": "g", "members": ["nobody"]}]},
            ["'nobody' in 'g', which workers does not name"],
        ),
    ],
)
def test_wrong_options_are_all_named(change: Object, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        identities.run(Task(PARAMETERS | change))
    assert all(part in caught.value.message for part in words)


SECRET = IdentitySecret("1", "wkr_" + "0" * 26, "token")


def using(
    secret: str, *, checksum: str = SECRET.checksum, ready: bool = True, ending: bool = False
) -> Object:
    """A pod with a worker's Secret."""
    return {
        "metadata": {
            "name": "host-0",
            "annotations": {"eden.reference/identity": checksum},
            **({"deletionTimestamp": "2026-11-28T05:00:00Z"} if ending else {}),
        },
        "spec": {
            "volumes": [{"name": "credentials"}, {"name": "identity", "secret": {"secretName": secret}}]
        },
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


@pytest.mark.parametrize(
    ("pod", "asked"),
    [
        (using("id-operator"), False),
        (using("id-operator", ready=False), True),
        (using("id-operator", ending=True), True),
        (using("id-operator", checksum="of another token"), True),
        (using("id-operator", checksum=""), True),
        # The Secrets of two workers were swapped.
        (using("id-host"), True),
        ({"metadata": {"name": "no-worker"}, "spec": {}}, True),
    ],
)
def test_a_ready_pod_with_the_same_identity_saves_a_request(pod: Object, asked: bool) -> None:
    cluster, store = mock.Mock(), mock.Mock()
    cluster.list.return_value = [pod]
    store.whoami.return_value = Bearer(SECRET.worker_id, "operator")
    desired = desired_of({**PARAMETERS, "groups": []})
    in_use = used_by_ready_pods(cluster, "ns", "one")
    observed = identities.observe(store, desired, {"operator": SECRET}, in_use)
    assert observed.workers[0].bearer == SECRET.worker_id
    assert bool(store.whoami.mock_calls) == asked
