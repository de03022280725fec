# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module identities that are refused before anything is asked."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import identities
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
