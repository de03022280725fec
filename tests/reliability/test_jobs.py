# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that fail: once, which Kubernetes repeats, or for good, which ends the run with the Job's words."""

from __future__ import annotations

from kube import path_of
from node import FAILURE
from oracles import Reference, check_run, tail
from thin_rig import Experiment


def test_a_seed_that_fails_once_is_repeated(experiment: Experiment, reference: Reference) -> None:
    experiment.node.failing_jobs[(experiment.namespace, "seed")] = 1
    outcome = experiment.run()
    failed = [
        pod
        for pod in experiment.kube.objects("Pod", experiment.namespace)
        if (pod.get("status") or {}).get("phase") == "Failed"
    ]
    assert outcome.status == 0, tail(outcome)
    assert len(failed) == 1
    experiment.kube.ask("DELETE", path_of("Pod", experiment.namespace, failed[0]["metadata"]["name"]))
    assert check_run(experiment, reference, outcome).violations == []


def test_a_seed_that_fails_for_good_is_explained_and_replaced(
    experiment: Experiment, reference: Reference
) -> None:
    experiment.variables["eden_timeout"] = 120
    experiment.node.failing_jobs[(experiment.namespace, "seed")] = 100
    outcome = experiment.run()
    assert outcome.status == 2, tail(outcome)
    assert "eden-seed-" in outcome.output
    assert FAILURE.strip() in outcome.output
    assert "Traceback" not in outcome.output
    experiment.node.failing_jobs.clear()
    assert check_run(experiment, reference, experiment.run()).violations == []
