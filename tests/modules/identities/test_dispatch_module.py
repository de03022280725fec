# SPDX-License-Identifier: GPL-3.0-or-later
"""The module dispatch against a real API server and a task store that listens."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from fault_proxy import FaultProxy
from identities_world import World
from kubernetes.client.exceptions import ApiException
from standin_processes import EXPERIMENT

from ansible_collections.eden.reference.plugins.module_utils._eden import dispatch
from ansible_collections.eden.reference.plugins.module_utils._errors import MissingError
from ansible_collections.eden.reference.plugins.module_utils._module import Task

MANUAL = dict.fromkeys(dispatch.PAUSED_KEYS, "manual")
CONFIGMAP = "one-experiment"


class Scene:
    """An experiment with an operator."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.run()
        metadata = {"name": CONFIGMAP}
        body: t.Any = {"metadata": metadata, "immutable": True, "data": {"experiment_id": EXPERIMENT}}
        world.core.create_namespaced_config_map(world.namespace, body)

    def run(self, state: str, check_mode: bool = False) -> dict[str, t.Any]:
        own = {"state": state, "operator": "id-operator", "configmap": CONFIGMAP, "reason": "done"}
        given = {key: value for key, value in self.world.parameters.items() if key != "groups"}
        parameters = copy.deepcopy(given) | own
        return dispatch.run(Task(parameters, check_mode, diff=True))

    def modes(self) -> dict[str, str]:
        return dict(self.world.registry.ok("GET", "/dispatch_mode"))

    def set(self, **modes: str) -> None:
        """Change modes as an admin of the experiment does."""
        values = self.world.values("id-operator")
        caller = self.world.registry.as_caller(f"{values['worker_id']}:{values['token']}")
        caller.ok("PATCH", "/dispatch_mode", modes)

    def note(self) -> str | None:
        live = self.world.core.read_namespaced_config_map(CONFIGMAP, self.world.namespace)
        return (live.metadata.annotations or {}).get(dispatch.ANNOTATION)


@pytest.fixture
def scene(world: World, proxy: FaultProxy) -> Scene:
    built = Scene(world)
    proxy.log.clear()
    return built


def quiet(scene: Scene, state: str) -> None:
    """Another run changes nothing, and writes nothing."""
    before = scene.world.writes()
    assert scene.run(state)["changed"] is False
    assert scene.world.writes() == before


def test_a_pause_is_taken_back_exactly(scene: Scene) -> None:
    scene.set(evaluation_dispatch="manual", integration="manual")
    before = scene.modes()
    predicted = scene.run("paused", check_mode=True)
    assert scene.modes() == before
    assert scene.note() is None
    result = scene.run("paused")
    assert result == predicted
    assert result["diff"][0]["before"] == before
    assert scene.modes() == {**before, **MANUAL} == result["dispatch_mode"]
    quiet(scene, "paused")
    assert scene.run("resumed", check_mode=True)["dispatch_mode"] == before
    assert scene.run("resumed")["changed"] is True
    assert scene.modes() == before
    assert scene.note() is None
    quiet(scene, "resumed")


def test_what_a_user_has_paused_stays_so(scene: Scene) -> None:
    scene.set(**MANUAL)
    quiet(scene, "paused")
    quiet(scene, "resumed")
    assert scene.modes().items() >= MANUAL.items()


@pytest.mark.parametrize("state", ["paused", "resumed"])
def test_a_killed_run_is_completed(scene: Scene, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Between the note and the task store; a lost answer is asked for again by itself."""
    before = scene.modes()
    if state == "resumed":
        scene.run("paused")

    def killed(*_arguments: t.Any) -> None:
        raise KeyboardInterrupt

    step = {"paused": "_switch", "resumed": "_note"}[state]
    with monkeypatch.context() as patched:
        patched.setattr(dispatch.Dispatch, step, killed)
        with pytest.raises(KeyboardInterrupt):
            scene.run(state)
    assert json.loads(str(scene.note())) == {key: before[key] for key in MANUAL}
    assert scene.run(state)["changed"] is True
    if state == "paused":
        scene.run("resumed")
    assert scene.modes() == before
    assert scene.note() is None


def test_termination(scene: Scene) -> None:
    assert scene.run("terminated", check_mode=True)["changed"] is True
    assert scene.world.registry.ok("GET", "/state")["state"] == "running"
    assert scene.run("terminated")["changed"] is True
    assert scene.world.registry.ok("GET", "/state")["state"] == "terminated"
    quiet(scene, "terminated")


def test_there_is_no_operator(scene: Scene) -> None:
    scene.world.core.delete_namespaced_secret("id-operator", scene.world.namespace)
    with pytest.raises(MissingError, match="--tags identities"):
        scene.run("terminated")


def test_there_is_no_experiment(scene: Scene) -> None:
    scene.world.core.delete_namespaced_config_map(CONFIGMAP, scene.world.namespace)
    with pytest.raises(ApiException):
        scene.note()
    with pytest.raises(MissingError, match=r"run site\.yml first"):
        scene.run("paused")
