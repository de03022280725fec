# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment with commands of its own, in the hosts' containers and beside them."""

from __future__ import annotations

import os
import typing as t

import audit
import pytest
from bring_up import STANDIN
from experiment import Document, Experiment, types
from testbed import CHECKOUT, Testbed, further

NAME = "commands"
EXAMPLE = CHECKOUT / "examples/beside"
# Of the example's config; an undisturbed experiment of n ideas has 6 + 19 n events.
IDEAS = 8
EVENTS = 6 + 19 * IDEAS
# What a process can read of its container; `proc` has the environments of all its processes.
SEARCH = "grep -rsFaf - /etc /run /var /tmp /proc/[0-9]*/environ /proc/[0-9]*/cmdline | head -c 1 | wc -c"


def arguments() -> tuple[str, str]:
    """Those of a run: ideas come from the host's container, the rest from another image."""
    # Any image with a shell and git will do, and this one is on the node.
    beside = {"mode": "subprocess", "image": os.environ.get("EDEN_IMAGE") or STANDIN}
    workers = {"ideator_host": {"mode": "subprocess"}, "executor_host": beside, "evaluator_host": beside}
    return further(
        NAME,
        eden_experiment_dir=str(EXAMPLE / "experiment"),
        eden_seed_dir=str(EXAMPLE / "start"),
        eden_workers=workers,
    )


@pytest.fixture(scope="module")
def own(testbed: Testbed) -> t.Iterator[Experiment]:
    """The experiment of examples/beside."""
    run = testbed.site(*arguments())
    assert run.status == 0, run.output
    yield Experiment(testbed, NAME)
    testbed.kubectl("delete", "namespace", NAME)


@pytest.fixture(scope="module")
def events(own: Experiment) -> list[Document]:
    """All events of the experiment, which has come to its end."""
    with own.task_store() as store:
        return store.await_end(EVENTS)


def test_every_idea_becomes_an_integrated_variant(events: list[Document]) -> None:
    assert len(events) == EVENTS
    assert types(events)["variant.integrated"] == IDEAS


def test_no_container_was_restarted(events: list[Document], own: Experiment) -> None:
    restarts = {
        (pod["metadata"]["name"], status["name"]): status["restartCount"]
        for pod in own.pods()
        for status in pod["status"]["containerStatuses"]
    }
    assert ("commands-executor-host-1-0", "command") in restarts
    assert set(restarts.values()) == {0}, restarts


@pytest.mark.parametrize("component", ["executor-host", "evaluator-host"])
def test_the_container_beside_the_host_has_no_secret(own: Experiment, component: str) -> None:
    place = ("--namespace", own.namespace, own.pod(component), "--stdin", "--container")
    needles = "\n".join(own.secrets().values())

    def hits(container: str) -> bytes:
        return own.testbed.kubectl("exec", *place, container, "--", "sh", "-c", SEARCH, given=needles).strip()

    assert hits("command") == b"0"
    # The search finds what is there.
    assert hits(component) == b"1"


def test_a_second_run_changes_and_writes_nothing(own: Experiment, events: list[Document]) -> None:
    with audit.watched(own.testbed) as window:
        run = own.testbed.site(*arguments())
    assert run.status == 0, run.output
    assert (run.count("changed"), run.count("failed")) == (0, 0), run.output
    assert window.writes == []
