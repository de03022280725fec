# SPDX-License-Identifier: GPL-3.0-or-later
"""The experiment reaches its end, in the task store and in the git repository."""

from __future__ import annotations

import re
import typing as t

import pytest
import requests
from experiment import GIT_USER, Document, Experiment, types
from testbed import CHECKOUT
from testinfra.host import Host
from truth_table import EVENTS, SEED_COMMIT, SERVERS


@pytest.fixture(scope="module")
def events(experiment: Experiment) -> list[Document]:
    """All events of the experiment, which has come to its end."""
    with experiment.task_store() as store:
        return store.await_end()


def test_it_makes_exactly_the_events_of_the_fixture(events: list[Document]) -> None:
    assert types(events) == EVENTS


def test_no_pod_restarted_on_the_way(events: list[Document], experiment: Experiment) -> None:
    restarts = {
        pod["metadata"]["name"]: status["restartCount"]
        for pod in experiment.pods()
        for status in pod["status"]["containerStatuses"]
    }
    assert set(restarts.values()) == {0}, restarts


def test_no_task_is_left_over(events: list[Document], experiment: Experiment) -> None:
    with experiment.task_store() as store:
        assert {task["task_id"]: task["state"] for task in store.read("/tasks")} == {
            event["data"]["task_id"]: "completed" for event in events if event["type"] == "task.created"
        }


def test_the_collections_own_count_is_the_same(events: list[Document], experiment: Experiment) -> None:
    # The playbook does not lie beside the checkout's collections.
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections")}
    run = experiment.testbed.playbook(CHECKOUT / "playbooks/status.yml", **settings)
    assert run.status == 0, run.output
    shown = dict(re.findall(r'"([a-z]+\.[a-z]+)": (\d+)', run.output))
    assert {name: int(count) for name, count in shown.items()} == dict(types(events))


def test_doctor_finds_nothing_wrong(events: list[Document], experiment: Experiment) -> None:
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections")}
    run = experiment.testbed.playbook(CHECKOUT / "playbooks/doctor.yml", **settings)
    assert run.status == 0, run.output
    assert "Nothing is wrong." in run.output


@pytest.fixture(scope="module")
def refs(
    events: list[Document], experiment: Experiment, host: Host, tmp_path_factory: pytest.TempPathFactory
) -> t.Any:
    """The refs of the experiment's repository, as git lists them: name to commit."""
    answer = tmp_path_factory.mktemp("git") / "answer-with-the-password"
    answer.write_text("#!/bin/sh\nprintf '%s\\n' \"$EDEN_GIT_PASSWORD\"\n")
    answer.chmod(0o700)
    target = f"service/{experiment.name}-forgejo"
    with (
        experiment.testbed.port_forward(experiment.namespace, target, SERVERS["forgejo"]) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Neither arguments nor files show the password.
        patch.setenv("EDEN_GIT_PASSWORD", experiment.secret("credentials")["FORGEJO_REMOTE_PASSWORD"])
        patch.setenv("GIT_ASKPASS", str(answer))
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        remote = f"{url.replace('://', f'://{GIT_USER}@')}/{GIT_USER}/{experiment.experiment_id}.git"
        listed = host.check_output("git ls-remote %s", remote)
    return {name: commit for commit, name in (line.split("\t") for line in listed.splitlines())}


def test_main_is_the_seed_commit(refs: dict[str, str], experiment: Experiment) -> None:
    assert refs["refs/heads/main"] == experiment.seed_commit == SEED_COMMIT


def test_every_integrated_variant_has_its_branch(refs: dict[str, str], events: list[Document]) -> None:
    branches = {name: commit for name, commit in refs.items() if name.startswith("refs/heads/variant/")}
    integrated = [
        event["data"]["variant_commit_sha"] for event in events if event["type"] == "variant.integrated"
    ]
    assert len(integrated) == 3
    assert sorted(branches.values()) == sorted(integrated)


def test_every_execution_has_pushed_its_work(refs: dict[str, str], events: list[Document]) -> None:
    work = {commit for name, commit in refs.items() if name.startswith("refs/heads/work/")}
    tried = {
        event["data"]["commit_sha"]
        for event in events
        if event["type"] == "variant.succeeded" and event["data"]["commit_sha"] != SEED_COMMIT
    }
    assert len(tried) == 3
    assert work == tried


def test_the_web_ui_answers(experiment: Experiment) -> None:
    target = f"service/{experiment.name}-web-ui"
    with experiment.testbed.port_forward(experiment.namespace, target, SERVERS["web-ui"]) as url:
        assert requests.get(f"{url}/healthz", timeout=30).status_code == 200
