# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig itself: what the playbook does on it undisturbed, and that the oracles see what is wrong."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator

import pytest
from kube import MERGE, PATHS
from oracles import (
    MEMBERS,
    Reference,
    Verdict,
    differences,
    hashes,
    identities_hold,
    judge_run,
    nothing_is_left,
    registry,
    secrets_are_kept,
    state,
    valid_identities,
)
from thin_rig import Experiment, Rig
from traffic import Side, is_write


@pytest.fixture(scope="module")
def installed(rig: Rig) -> Iterator[Experiment]:
    """An experiment that is up."""
    with rig.experiment() as experiment:
        assert experiment.run().status == 0
        yield experiment


def test_kubeconfig_with_keys_leaves_no_file(rig: Rig, experiment: Experiment) -> None:
    # Straight to the API server, with the certificate and the key in the kubeconfig.
    shutil.copy(rig.control_plane.kubeconfig, experiment.directory / "kubeconfig")
    outcome = experiment.run()
    assert outcome.status == 0, outcome.output
    verdict = Verdict()
    nothing_is_left(verdict, experiment)
    assert verdict.violations == []


def test_check_mode_writes_nothing(experiment: Experiment) -> None:
    outcome = experiment.run("--check", "--diff")
    assert outcome.status == 0, outcome.output
    assert outcome.writes == []
    assert outcome.recap["changed"] > 0


@pytest.mark.parametrize(
    ("side", "method", "target", "expected"),
    [
        ("api", "PATCH", "/api/v1/namespaces/a/secrets/b?fieldManager=c&force=true", True),
        ("api", "PATCH", "/api/v1/namespaces/a/configmaps/b?dryRun=All&force=true", False),
        ("api", "GET", "/api/v1/namespaces/a/pods", False),
        ("api", "GET", "/api/v1/namespaces/a/pods/b/portforward?ports=8080", False),
        ("api", "POST", "/api/v1/namespaces/a/pods/b/portforward?ports=8080", False),
        ("api", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", False),
        ("api", "DELETE", "/apis/batch/v1/namespaces/a/jobs/b", True),
        ("store", "POST", "/v0/experiments/e/workers", True),
        ("store", "GET", "/v0/experiments/e/whoami", False),
    ],
)
def test_what_counts_as_a_write(side: Side, method: str, target: str, expected: bool) -> None:
    assert is_write(side, method, target) is expected


def test_oracles_find_nothing_where_nothing_is_wrong(installed: Experiment, reference: Reference) -> None:
    assert judge_run(installed, reference, installed.run()).violations == []


def test_o3_sees_a_changed_field_and_a_further_object(installed: Experiment, reference: Reference) -> None:
    path = PATHS["ConfigMap"].format(installed.namespace)
    installed.kube.ask("PATCH", f"{path}/eden-seed", {"data": {"commit": "other"}}, MERGE)
    installed.kube.ask("POST", path, {"metadata": {"name": "surplus"}})
    found = [line.partition(":")[0] for line in differences(reference.state, state(installed))]
    assert found == ["ConfigMap eden-seed", "ConfigMap surplus"]


def test_o4_sees_a_second_worker_a_further_member_and_a_token_that_is_not_taken(
    installed: Experiment,
) -> None:
    found = registry(installed)
    assert found is not None
    surplus = found.ok("POST", "/workers", {"name": "operator"})["worker_id"]
    (group,) = found.ok("GET", "/groups?name=admins")["groups"]
    found.ok("POST", f"/groups/{group['group_id']}/members", {"member_id": surplus})
    path = f"{PATHS['Secret'].format(installed.namespace)}/eden-web-ui-1-identity"
    wrong = {"data": {"token": base64.b64encode(b"of nobody").decode()}}
    installed.kube.ask("PATCH", path, wrong, MERGE)
    verdict = Verdict()
    identities_hold(verdict, installed, state(installed))
    workers, groups, tokens = verdict.violations
    assert "'operator': 2" in workers
    assert str(sorted([*MEMBERS["admins"], "operator"])) in groups
    assert "['eden-web-ui-1-identity']" in tokens


def test_o5_sees_another_secret(installed: Experiment) -> None:
    before, valid = hashes(installed), valid_identities(installed)
    for name, key in (("eden-credentials", "POSTGRES_PASSWORD"), ("eden-operator-identity", "token")):
        path = f"{PATHS['Secret'].format(installed.namespace)}/{name}"
        installed.kube.ask("PATCH", path, {"data": {key: base64.b64encode(b"another").decode()}}, MERGE)
    verdict = Verdict()
    secrets_are_kept(verdict, installed, before, valid)
    assert sorted(verdict.violations) == [
        "O5 Secret eden-credentials has another POSTGRES_PASSWORD",
        "O5 Secret eden-operator-identity has another token",
    ]


def test_o10_sees_a_file(installed: Experiment) -> None:
    (installed.temporary / "left").touch()
    verdict = Verdict()
    nothing_is_left(verdict, installed)
    assert verdict.violations == ["O10 there are temporary files: ['left']"]
