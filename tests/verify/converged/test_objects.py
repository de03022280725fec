# SPDX-License-Identifier: GPL-3.0-or-later
"""What site.yml has made: these objects, with these labels, and no others."""

from __future__ import annotations

import typing as t

import pytest
from experiment import Experiment
from testbed import HOST, Testbed
from truth_table import CLIENTS, LASTING, NUMBERED, OPERATOR, SECRET_KEYS, SEED_COMMIT, SERVERS, WORKERS


def _names(*names: str) -> set[str]:
    return {f"{HOST}-{name}" for name in names}


OBJECTS = {
    "configmaps": _names(
        *(
            "experiment",
            "experiment-config",
            "forgejo-user",
            "git-credential-helper",
            "postgres-start",
            "seed",
        )
    ),
    "secrets": _names("credentials", *(f"{name}-identity" for name in WORKERS)),
    "services": _names(*SERVERS),
    "deployments": _names("task-store-server"),
    "statefulsets": _names(
        *(f"{name}-1" if name in NUMBERED else name for name in LASTING if name != "task-store-server")
    ),
    "networkpolicies": _names(*CLIENTS),
    "poddisruptionbudgets": _names(*LASTING),
    "persistentvolumeclaims": {f"data-{HOST}-postgres-0", f"data-{HOST}-forgejo-0"}
    | _names("blob", "artifacts"),
}
# Made by Kubernetes itself.
FOREIGN = {"kube-root-ca.crt"}
LABELS = {
    "app.kubernetes.io/name": "eden",
    "app.kubernetes.io/instance": HOST,
    "app.kubernetes.io/part-of": "eden",
    "app.kubernetes.io/managed-by": "eden.reference",
}


@pytest.fixture(scope="module", params=OBJECTS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of objects, as kubectl calls it."""
    return str(request.param)


def _objects(experiment: Experiment, kind: str) -> list[dict[str, t.Any]]:
    found = experiment.read(kind)["items"]
    return [item for item in found if item["metadata"]["name"] not in FOREIGN]


def test_these_are_there_and_no_others(experiment: Experiment, kind: str) -> None:
    assert {item["metadata"]["name"] for item in _objects(experiment, kind)} == OBJECTS[kind]


def test_each_has_the_labels(experiment: Experiment, kind: str) -> None:
    lacking = {
        item["metadata"]["name"]: item["metadata"].get("labels")
        for item in _objects(experiment, kind)
        if not LABELS.items() <= item["metadata"].get("labels", {}).items()
    }
    assert lacking == {}


def test_the_claims_say_whose_data_they_hold(experiment: Experiment) -> None:
    claims = _objects(experiment, "persistentvolumeclaims")
    labelled = {item["metadata"]["labels"].get("eden.reference/experiment-id") for item in claims}
    assert labelled == {experiment.experiment_id}


def test_the_namespace_enforces_restricted(testbed: Testbed, experiment: Experiment) -> None:
    labels = testbed.read("namespace", experiment.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_credentials_are_complete(experiment: Experiment) -> None:
    credentials = experiment.secret("credentials")
    assert set(credentials) == SECRET_KEYS
    assert len(set(credentials.values())) == len(SECRET_KEYS), "two credentials are the same"


def test_the_seed_commit_is_edens(experiment: Experiment) -> None:
    assert experiment.seed_commit == SEED_COMMIT


def test_the_operators_token_is_in_no_pod(experiment: Experiment) -> None:
    secret = f"{experiment.name}-{OPERATOR}-identity"
    assert [pod["metadata"]["name"] for pod in experiment.pods() if secret in str(pod["spec"])] == []
