# SPDX-License-Identifier: GPL-3.0-or-later
"""What a teardown finds of an experiment, and what it leaves."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.eden.reference.plugins.module_utils._eden import teardown
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs, topology
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, InputError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

CATALOGUE = yaml.safe_load(
    (Path(__file__).resolve().parents[5] / "roles/eden/vars/main/components.yml").read_text()
)["__eden_components"]
OURS = {"app.kubernetes.io/managed-by": "eden.reference"}
OF_THE_EXPERIMENT = {**OURS, "eden.reference/experiment-id": "exp_1"}


def thing(kind: str, name: str, labels: t.Mapping[str, str] | None = None, **metadata: t.Any) -> Object:
    return {
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "lab",
            "labels": dict(OURS if labels is None else labels),
            **metadata,
        },
        "spec": {"volumeName": f"pv-{name}"} if kind == teardown.CLAIM else {},
    }


class FakeCluster:
    """Objects by kind and name; reading or listing the ``forbidden`` kinds is not allowed."""

    def __init__(self, *things: Object, forbidden: str = "") -> None:
        self.things = {(item["kind"], item["metadata"]["name"]): item for item in things}
        self.forbidden = forbidden

    def read(self, kind: str, _namespace: str, name: str) -> Object | None:
        if f"{kind} {name}" == self.forbidden or kind == self.forbidden:
            raise ClusterError("read", kind, 403, "Forbidden")
        found = self.things.get((kind, name))
        # As the API server returns a single object of a typed client: without what the caller knows.
        return found and {key: value for key, value in found.items() if key != "kind"}

    def list(self, kind: str, _namespace: str, labels: str) -> list[Object]:
        assert "app.kubernetes.io/instance=eden" in labels
        if kind == self.forbidden:
            raise ClusterError("list", kind, 403, "Forbidden")
        return [item for (other, _name), item in self.things.items() if other == kind]


def stock(*things: Object, forbidden: str = "", **more: t.Any) -> tuple[list[str], list[str], list[str]]:
    """The names of what is removed, of the data, and of what others own."""
    parameters = {
        "namespace": "lab",
        "topology": topology(CATALOGUE, Inputs("eden")),
        "keep_credentials": False,
        **more,
    }
    cluster: t.Any = FakeCluster(*things, forbidden=forbidden)
    found = teardown.take_stock(cluster, parameters)
    removed, data = ([live["metadata"]["name"] for live in group] for group in (found.removed, found.data))
    return removed, data, list(found.foreign)


CREDENTIALS = thing("Secret", "eden-credentials")
IDENTITIES = [thing("Secret", f"eden-executor-host-{number}-identity") for number in (1, 2, 3, 5)]
DATABASE = thing(teardown.CLAIM, "data-eden-postgres-0", OF_THE_EXPERIMENT)


def test_data_is_found_in_the_order_of_its_deletion() -> None:
    """Without the seed's ConfigMap no run takes a missing claim for a lost one; the id is the last to go."""
    configmaps = [
        thing("ConfigMap", f"eden-{name}") for name in ("experiment", "seed", "forgejo-user", "files-1")
    ]
    host = thing("StatefulSet", "eden-executor-host-4")
    removed, data, foreign = stock(*configmaps, DATABASE, CREDENTIALS, *IDENTITIES, host)
    assert removed == ["eden-executor-host-4", "eden-forgejo-user", "eden-files-1"]
    assert data == [
        "eden-seed",
        "data-eden-postgres-0",
        # Up to the last one before a gap.
        *(f"eden-executor-host-{number}-identity" for number in (1, 2, 3)),
        "eden-credentials",
        "eden-experiment",
    ]
    assert foreign == []


@pytest.mark.parametrize(
    "item",
    [
        thing(teardown.CLAIM, "data-eden-postgres-0", {}),
        thing(teardown.CLAIM, "data-eden-postgres-0", {"app.kubernetes.io/managed-by": "Helm"}),
        thing("Secret", "eden-credentials", {}),
        thing("ConfigMap", "eden-forgejo-user", {}),
        thing("Service", "eden-postgres", {"app.kubernetes.io/managed-by": "Helm"}),
    ],
)
def test_what_belongs_to_others_stays(item: Object) -> None:
    removed, data, foreign = stock(item)
    assert (removed, data) == ([], [])
    assert [name.rpartition("/")[2] for name in foreign] == [item["metadata"]["name"]]


def test_what_is_being_deleted_is_not_deleted_again() -> None:
    assert stock(thing("Service", "eden-postgres", deletionTimestamp="now")) == ([], [], [])


def test_a_secret_of_the_user_stays() -> None:
    assert stock(CREDENTIALS, keep_credentials=True) == ([], [], [])


@pytest.mark.parametrize("kind", ["Ingress", "Secret eden-executor-host-2-identity"])
def test_what_the_user_may_not_read_was_not_made(kind: str) -> None:
    assert stock(IDENTITIES[0], forbidden=kind)[1] == ["eden-executor-host-1-identity"]


@pytest.mark.parametrize(
    ("policy", "forbidden", "words"),
    [("Retain", "", "is Retain"), ("Delete", "", ""), ("Delete", "PersistentVolume", "could not be read")],
)
def test_retained_volumes_are_named(policy: str, forbidden: str, words: str) -> None:
    volume = thing("PersistentVolume", "pv-data-eden-postgres-0")
    volume["spec"] = {"persistentVolumeReclaimPolicy": policy}
    cluster: t.Any = FakeCluster(volume, forbidden=forbidden)
    found = teardown.retained_volumes(cluster, [DATABASE, CREDENTIALS])
    assert [line for line in found if words in line and "data-eden-postgres-0" in line] == found
    assert bool(found) is bool(words)


@pytest.mark.parametrize(("purge", "confirm"), [(True, ""), (True, "edn"), (True, "eden"), (False, "")])
def test_a_purge_needs_the_name(purge: bool, confirm: str) -> None:
    parameters = {"namespace": "lab", "instance": "eden", "purge": purge, "confirm": confirm}
    if purge and confirm != "eden":
        with pytest.raises(InputError, match="Nothing was deleted"):
            teardown.fail_if_not_confirmed(parameters)
    else:
        teardown.fail_if_not_confirmed(parameters)
