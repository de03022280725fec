# SPDX-License-Identifier: GPL-3.0-or-later
"""What the trials on a living experiment find: each fault that they are there for is made up here."""

from __future__ import annotations

import random
import typing as t
from types import SimpleNamespace

import live_change
import pytest
from live_change import MISSING_IMAGE, MODES, Events, Progress, Trial, arguments, plan, wanted_events
from thin_rig import Outcome

RECAP = "PLAY RECAP\neden : ok=1 changed=0 failed=0"
SOUND = Outcome(0, RECAP)
AUTO = dict.fromkeys(
    ("ideation_creation", "execution_dispatch", "evaluation_dispatch", "integration"), "auto"
)
# What one idea leaves, and the baseline.
TASK = ("task.created", "task.claimed", "task.submitted", "task.completed")
IDEA = ("idea.drafted", "idea.ready", "idea.dispatched", "idea.completed")
VARIANT = ("variant.started", "variant.succeeded")
OF_AN_IDEA = (*TASK * 3, *IDEA, *VARIANT, "variant.integrated")
OF_THE_BASELINE = (*TASK, *VARIANT)


def log(*kinds: str) -> Events:
    """Events of these types."""
    return [{"event_id": number, "type": kind} for number, kind in enumerate(kinds)]


class World:
    """An experiment whose task store has this log; a read of it may find no answer."""

    def __init__(self, events: Events, *outcomes: Outcome) -> None:
        self.events = events
        self.modes = {"termination": "manual", **AUTO}
        self.unanswered = 0
        self.stopped = 0
        self.outcomes = list(outcomes) or [SOUND]
        self.pods: list[dict[str, t.Any]] = []
        self.variables: dict[str, t.Any] = {"eden_image": "eden-standin:dev"}
        self.namespace = "kind-x"
        self.node = SimpleNamespace(task_store=lambda _namespace: SimpleNamespace(stop=self.stop))
        self.kube = SimpleNamespace(objects=lambda kind, _namespace: self.pods if kind == "Pod" else [])

    def stop(self) -> None:
        self.stopped += 1

    def run(self) -> Outcome:
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    def start(self) -> t.Any:
        return SimpleNamespace(wait=self.run)

    def ok(self, _method: str, path: str) -> t.Any:
        if path == "/dispatch_mode":
            return self.modes
        if self.unanswered:
            self.unanswered -= 1
            raise ConnectionResetError
        return {"events": self.events[int(path.rpartition("=")[2]) :]}


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Trial:
    """A trial of an experiment that has come to its end undisturbed."""
    monkeypatch.setattr(live_change, "POLL_SECONDS", 0)
    monkeypatch.setattr(live_change, "registry", lambda experiment: experiment)
    for name in ("claims_hold", "identities_hold", "state"):
        monkeypatch.setattr(live_change, name, lambda *_arguments: None)
    world: t.Any = World(log(*OF_THE_BASELINE, *OF_AN_IDEA * 6))
    return Trial(world, arguments(["change", "--stall", "0"]), random.Random(1))


def found(trial: Trial) -> list[str]:
    """The oracles that found something."""
    return [sentence.partition(":")[0] for sentence in trial.verdict.violations]


def world(trial: Trial) -> World:
    return t.cast("World", trial.experiment)


def test_the_arithmetic() -> None:
    assert (wanted_events(3), wanted_events(6)) == (63, 120)
    assert len(OF_THE_BASELINE + OF_AN_IDEA * 6) == 120


def test_a_task_store_that_does_not_answer_is_asked_again(trial: Trial) -> None:
    world(trial).unanswered = 2
    progress = Progress(trial.experiment)
    assert [progress.read(), progress.read()] == [None, None]
    assert world(trial).stopped == 2
    assert len(progress.read() or []) == 120
    assert progress.read() == []


def reclaimed(world: World) -> None:
    world.events[10:10] = log("task.reclaimed", "task.claimed")


def twice_reclaimed(world: World) -> None:
    reclaimed(world)
    reclaimed(world)


def errored_alone(world: World) -> None:
    world.events[10:10] = log("variant.started", "variant.errored")


def errored(world: World) -> None:
    reclaimed(world)
    errored_alone(world)


def lost_claim(world: World) -> None:
    del world.events[-4:]


def failed_idea(world: World) -> None:
    world.events[-19:] = log(*TASK, *TASK[:3], "task.failed", *IDEA, "variant.started", "variant.errored")


def surplus_event(world: World) -> None:
    world.events += log("experiment.dispatch_mode_changed")


def other_log(world: World) -> None:
    numbers = iter(range(1000))

    def ok(_method: str, path: str) -> t.Any:
        if path == "/dispatch_mode":
            return world.modes
        after = int(path.rpartition("=")[2])
        return {"events": [{**event, "read": next(numbers)} for event in world.events[after:]]}

    world.ok = ok  # type: ignore[method-assign]


def left_pause(world: World) -> None:
    world.modes["integration"] = "manual"


def failed_run(world: World) -> None:
    world.outcomes = [Outcome(2, "")]


def changed_again(world: World) -> None:
    world.outcomes = [Outcome(0, RECAP.replace("changed=0", "changed=1"))]


@pytest.mark.parametrize(
    ("damage", "most_reclaims", "expected"),
    [
        (lambda _world: None, 0, []),
        (reclaimed, 0, ["reclaims"]),
        (reclaimed, 1, []),
        (errored, 0, ["reclaims"]),
        (errored, 1, []),
        (twice_reclaimed, 1, ["reclaims"]),
        (errored_alone, 1, ["reclaims"]),
        (lost_claim, 1, ["end", "end"]),
        (failed_idea, 1, ["end", "reclaims"]),
        (surplus_event, 1, ["events"]),
        (other_log, 0, ["events"]),
        (left_pause, 0, ["dispatch mode"]),
        (failed_run, 0, ["converges", "stays idle"]),
        (changed_again, 0, ["stays idle"]),
    ],
)
def test_the_end_of_a_trial(
    trial: Trial, damage: t.Callable[[World], None], most_reclaims: int, expected: list[str]
) -> None:
    damage(world(trial))
    trial.check(most_reclaims)
    assert found(trial) == expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([SOUND, Outcome(2, "Lease a is held by process 1")], []),
        ([Outcome(2, "Lease a is held by process 1"), SOUND], []),
        ([SOUND, SOUND], []),
        ([SOUND, Outcome(2, "500")], ["one run"]),
        ([Outcome(2, "x is held by y"), Outcome(2, "y is held by x")], ["one run"]),
    ],
)
def test_two_runs(trial: Trial, outcomes: list[Outcome], expected: list[str]) -> None:
    world(trial).outcomes = [*outcomes, SOUND]
    MODES["two-runs"](trial)
    assert found(trial) == expected


@pytest.mark.parametrize(
    ("run", "restarts", "expected"),
    [
        (Outcome(2, f"cannot pull {MISSING_IMAGE}"), 0, []),
        (Outcome(2, f"cannot pull {MISSING_IMAGE}"), 1, ["no restart"]),
        (Outcome(2, "no"), 0, ["refused"]),
        (Outcome(0, MISSING_IMAGE), 0, ["refused"]),
    ],
)
def test_a_mistyped_image(trial: Trial, run: Outcome, restarts: int, expected: list[str]) -> None:
    row = {"restartCount": 0, "state": {"running": {}}}
    metadata = {"name": "p", "uid": "u", "labels": {"app.kubernetes.io/component": "postgres"}}
    world(trial).pods = [{"metadata": metadata, "status": {"containerStatuses": [row]}}]
    outcomes = iter([SOUND, run])

    def next_run() -> Outcome:
        row["restartCount"] = restarts if (outcome := next(outcomes, SOUND)) is run else row["restartCount"]
        return outcome

    world(trial).run = next_run  # type: ignore[method-assign]
    MODES["bad-image"](trial)
    assert found(trial) == expected
    assert world(trial).variables["eden_image"] == "eden-standin:dev"


def test_a_trial_for_each_component() -> None:
    options = arguments(["change", "kill-pod", "--trials", "2", "--component", "postgres"])
    assert plan(options) == [
        *(("change", number, "") for number in (1, 2)),
        *(("kill-pod", number, "postgres") for number in (1, 2)),
    ]
    assert len(plan(arguments(["delete-pod"]))) == 8
