# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode at each stage of an installation: it writes nothing, and foretells the run to the object."""

from __future__ import annotations

import secrets
import typing as t

from kube import MERGE
from oracles import CREDENTIALS, Reference, Verdict, state, tail
from outcomes import TASK_STORE, Changes, Report, predict, predict_without_diff, run_as_predicted, stays_idle
from pools import Pool, await_no_pods, create_namespace, encoded, path_of, remove, settled
from thin_rig import INSTANCE, Experiment, Rig
from trials import Trial

GROUP = "check mode foretells the run"
SEED = f"{INSTANCE}-seed"
# Before the task store restarts.
STOPPED = ("ideator-host-1", "executor-host-1", "evaluator-host-1", "orchestrator")
PHASES = ("infra", "seed", "task_store", "identities", "app_tier")


def trials(pool: Pool) -> list[Trial]:
    """One for each stage, and one for each thing that check mode cannot ask a run of."""
    found = [_from_nothing("absent namespace", _nothing), _from_nothing("empty namespace", create_namespace)]
    for number, phase in enumerate(PHASES, 1):
        found.append(_from_nothing(f"after {phase}", _tagged(PHASES[:number])))
    for name, disturb in (
        ("full", _as_it_is),
        ("no task store", _no_task_store),
        ("another admin token than the task store has", _another_admin_token),
        ("seed forgotten", _seed_forgotten),
    ):
        found.append(Trial(GROUP, name, lambda _rig, _reference, disturb=disturb: _installed(pool, disturb)))
    return found


def _from_nothing(name: str, prepare: t.Callable[[Experiment], None]) -> Trial:
    def perform(rig: Rig, reference: Reference) -> Verdict:
        verdict = Verdict()
        with rig.experiment() as experiment:
            prepare(experiment)
            predicted = _predict_twice(verdict, experiment)
            # The last phase, which is verify, changes nothing.
            verdict.require(
                bool(predicted.changes) is (name != f"after {PHASES[-1]}"),
                "check mode",
                f"check mode tells of {predicted.changes}",
            )
            run_as_predicted(verdict, experiment, predicted)
            if not verdict.violations:
                verdict.compare(reference.state, state(experiment))
        return verdict

    return Trial(GROUP, name, perform)


def _predict_twice(verdict: Verdict, experiment: Experiment) -> Report:
    """What check mode tells, with a diff or without."""
    plain, predicted = predict_without_diff(verdict, experiment), predict(verdict, experiment)
    same = plain.changes == predicted.changes
    verdict.require(same, "check mode", f"{plain.changes} became {predicted.changes} by --diff")
    return predicted


def _nothing(_experiment: Experiment) -> None:
    pass


def _tagged(phases: t.Sequence[str]) -> t.Callable[[Experiment], None]:
    def prepare(experiment: Experiment) -> None:
        outcome = experiment.run("--tags", ",".join(phases))
        assert outcome.status == 0, tail(outcome)

    return prepare


def _installed(pool: Pool, disturb: t.Callable[[Experiment], Changes]) -> Verdict:
    verdict = Verdict()
    with pool.borrowed(verdict) as experiment:
        before = settled(experiment)
        expected = disturb(experiment)
        predicted = _predict_twice(verdict, experiment)
        verdict.require(predicted.changes == expected, "check mode", f"predicted are {predicted.changes}")
        run_as_predicted(verdict, experiment, predicted)
        stays_idle(verdict, experiment)
        verdict.compare(before, settled(experiment))
    return verdict


def _as_it_is(_experiment: Experiment) -> Changes:
    return {}


def _no_task_store(experiment: Experiment) -> Changes:
    experiment.kube.ask("DELETE", path_of(experiment, "Deployment", TASK_STORE))
    await_no_pods(experiment, "task-store-server")
    return {f"Deployment {TASK_STORE}": "created"}


def _another_admin_token(experiment: Experiment) -> Changes:
    token = {"data": encoded({"EDEN_ADMIN_TOKEN": secrets.token_hex(32)})}
    experiment.kube.ask("PATCH", path_of(experiment, "Secret", CREDENTIALS), token, MERGE)
    stopped = dict.fromkeys((f"StatefulSet {INSTANCE}-{name}" for name in STOPPED), "updated")
    return {f"Deployment {TASK_STORE}": "updated", **stopped}


def _seed_forgotten(experiment: Experiment) -> Changes:
    for job in experiment.kube.objects("Job", experiment.namespace):
        remove(experiment, "Job", job["metadata"]["name"])
    await_no_pods(experiment, "seed")
    experiment.kube.ask("DELETE", path_of(experiment, "ConfigMap", SEED))
    return {f"ConfigMap {SEED}": "created"}
