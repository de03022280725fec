# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory with five experiments, one of which cannot come up."""

from __future__ import annotations

import re
import secrets
import time
import typing as t
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from oracles import Reference, Verdict, differences, identities_hold, state, tail
from pools import pods
from thin_rig import INSTANCE, Experiment, Outcome, Rig, Run

SOUND, BROKEN = "eden-standin:dev", "registry.example/eden/reference:missing"
SLOW = "eden-standin:slow"
GROUP = "several"
BINDING = f"Job {INSTANCE}-provision-"

Counts = dict[str, int]


@dataclass(frozen=True)
class Several:
    """The experiments of one inventory; the runs are those of the first one."""

    experiments: list[Experiment]
    inventory: Path

    def write(self, images: t.Mapping[str, str]) -> None:
        """Write the inventory with the image of each experiment, by its namespace."""
        hosts = {name: {"eden_image": image} for name, image in images.items()}
        common = {"eden_name": INSTANCE, "eden_namespace": "{{ inventory_hostname }}", "eden_timeout": 300}
        self.inventory.write_text(yaml.safe_dump({GROUP: {"hosts": hosts, "vars": common}}))

    def start(self) -> Run:
        """Start site.yml on all of them."""
        return self.experiments[0].start(*self._arguments)

    def run(self) -> Outcome:
        """Run site.yml on all of them."""
        return self.experiments[0].run(*self._arguments)

    @property
    def _arguments(self) -> tuple[str, ...]:
        return "-i", str(self.inventory), "--limit", GROUP


@pytest.fixture
def several(rig: Rig) -> Iterator[Several]:
    """Five experiments of which there is nothing yet."""
    mark = secrets.token_hex(3)
    with ExitStack() as running:
        names = [f"rig-{mark}-{number}" for number in range(1, 6)]
        experiments = [running.enter_context(rig.experiment(name)) for name in names]
        # The inventory says what the experiments are.
        experiments[0].variables = {}
        yield Several(experiments, experiments[0].directory / "several.yml")


def recaps(outcome: Outcome) -> dict[str, Counts]:
    """The numbers of the play recap of each host."""
    lines = re.findall(r"^(\S+) +: (ok=.*)$", outcome.output.partition("PLAY RECAP")[2], re.MULTILINE)
    return {
        host: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", counts)}
        for host, counts in lines
    }


def writes(outcome: Outcome, namespace: str) -> list[int]:
    """The numbers of the requests that changed something of an experiment, in their order."""
    return [request.number for request in outcome.writes if f"/namespaces/{namespace}/" in request.target]


def problems(experiment: Experiment, reference: Reference) -> list[str]:
    """How an experiment differs from one that was brought up alone."""
    verdict = Verdict()
    found = state(experiment)
    identities_hold(verdict, experiment, found)
    # The Jobs that only have claims bound go away by themselves, those that cannot run after ten minutes.
    objects = {name: thing for name, thing in found.objects.items() if not name.startswith(BINDING)}
    counts = {component: count for component, count in found.pods.items() if component != "provision"}
    found = replace(found, objects=objects, pods=counts)
    return [*differences(reference.state, found), *verdict.violations]


def test_a_broken_image_fails_its_own_experiment_alone_while_the_others_come_up_side_by_side(
    rig: Rig, several: Several, reference: Reference
) -> None:
    names = [experiment.namespace for experiment in several.experiments]
    broken = names[2]
    sound = [name for name in names if name != broken]
    rig.node.missing_images.add(BROKEN)
    several.write({name: BROKEN if name == broken else SOUND for name in names})
    outcome = several.run()

    assert outcome.status == 2, tail(outcome)
    counts = recaps(outcome)
    assert {name: counts[name]["failed"] for name in names} == {name: int(name == broken) for name in names}
    (fatal,) = re.findall(r"^fatal: \[(\S+)\]: (.*)$", outcome.output, re.MULTILINE)
    assert fatal[0] == broken
    assert f"cannot pull image {BROKEN}" in fatal[1]
    assert "not found" in fatal[1]
    for experiment in several.experiments:
        if experiment.namespace != broken:
            assert problems(experiment, reference) == [], experiment.namespace

    # Side by side: none was done before another one began.
    spans = [writes(outcome, name) for name in sound]
    assert max(span[0] for span in spans) < min(span[-1] for span in spans)

    several.write(dict.fromkeys(names, SOUND))
    repaired = several.run()
    assert repaired.status == 0, tail(repaired)
    assert problems(several.experiments[2], reference) == []
    jobs = [job["metadata"]["name"] for job in rig.node.kube.objects("Job", broken)]
    assert len([name for name in jobs if name.startswith(f"{INSTANCE}-seed-")]) == 1, jobs
    for name in sound:
        assert recaps(repaired)[name]["changed"] == 0
        assert writes(repaired, name) == []
    assert writes(repaired, broken) != []


def test_an_experiment_whose_image_is_still_being_pulled_keeps_no_other_waiting(
    rig: Rig, several: Several, reference: Reference
) -> None:
    slow, *others = several.experiments
    rig.node.slow_images.add(SLOW)
    several.write({each.namespace: SLOW if each is slow else SOUND for each in several.experiments})
    run = several.start()
    try:
        for other in others:
            await_web_ui(other, run)
        assert pods(slow, "web-ui") == []
    finally:
        rig.node.slow_images.clear()
        outcome = run.wait()
    assert outcome.status == 0, tail(outcome)
    assert pods(slow, "web-ui") != []
    for other in others:
        assert problems(other, reference) == [], other.namespace


def await_web_ui(experiment: Experiment, run: Run) -> None:
    """Return when the last service of the experiment runs, which is while the run is under way."""
    while not any(pod["status"].get("phase") == "Running" for pod in pods(experiment, "web-ui")):
        assert run.process.poll() is None, f"the run ended before {experiment.namespace} was up"
        time.sleep(0.1)
