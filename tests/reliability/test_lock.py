# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs on one experiment: one of them writes, the other one fails and names it, or waits."""

from __future__ import annotations

import re
import time

from oracles import Reference, check_run, forget_temporary_files, tail
from thin_rig import INSTANCE, Experiment, Run
from traffic import pass_through

LOCK = f"{INSTANCE}-lock"


def holder(experiment: Experiment) -> str:
    """The run that holds the lock, empty if none does."""
    found = experiment.kube.get("Lease", experiment.namespace, LOCK) or {}
    return str((found.get("spec") or {}).get("holderIdentity") or "")


def started_and_locked(experiment: Experiment) -> Run:
    """A run that has taken the lock."""
    experiment.traffic.restart(pass_through)
    run = experiment.start()
    while not holder(experiment):
        assert run.process.poll() is None, "the run ended without the lock"
        time.sleep(0.05)
    return run


def test_of_two_runs_at_the_same_time_one_writes(experiment: Experiment, reference: Reference) -> None:
    experiment.traffic.restart(pass_through)
    runs = [experiment.start(), experiment.start()]
    first, second = sorted((run.wait() for run in runs), key=lambda outcome: outcome.status)
    assert first.status == 0, tail(first)
    assert second.status == 2, tail(second)
    assert re.search("Another run (is at work|has changed)", second.output), tail(second)
    assert holder(experiment) == ""
    assert check_run(experiment, reference, experiment.run()).violations == []


def test_a_run_can_be_waited_for_and_a_killed_one_need_not(
    experiment: Experiment, reference: Reference
) -> None:
    run = started_and_locked(experiment)
    check = experiment.start("--check")
    waiting = experiment.start("-e", "eden_lock_timeout=300")
    pid = holder(experiment).split("/")[2]
    assert pid == str(run.process.pid)
    first, check, second = run.wait(), check.wait(), waiting.wait()
    assert [first.status, check.status, second.status] == [0, 0, 0], tail(second)
    assert f"is held by process {pid} on " in check.output
    assert f"waiting for another run: Lease {experiment.namespace}/{LOCK} is held by " in second.output
    assert second.recap["changed"] == 0

    experiment.kube.ask("DELETE", f"/apis/apps/v1/namespaces/{experiment.namespace}/statefulsets/eden-web-ui")
    killed = started_and_locked(experiment)
    killed.kill()
    killed.wait()
    assert holder(experiment)
    forget_temporary_files(experiment)
    assert check_run(experiment, reference, experiment.run()).violations == []
