# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and answers that get lost, and runs that are killed, between the module and the task store."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import typing as t

import pytest
from fault_proxy import Fault, FaultProxy
from identities_world import NAMES, World

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import IdentityError, TaskStoreError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster

# Every kind of request of a first run that changes something.
MUTATING = ["POST /workers", "POST /groups", "POST /groups/[^/]*/members"]
READING = ["GET /state", "GET /workers.*", "GET /groups.*"]
REPLIES: list[t.Any] = ["reset", "half", 502]


def only_one_of_each(world: World) -> None:
    for name in NAMES:
        assert len(world.workers(name)) == 1, name
    for group in world.parameters["groups"]:
        assert len(world.registry.ok("GET", f"/groups?name={group['name']}")["groups"]) == 1


LOSSES = [
    *((pattern, True, reply) for pattern in (*MUTATING, *READING) for reply in REPLIES),
    *((pattern, False, reply) for pattern in MUTATING for reply in ("reset", 502)),
]


@pytest.mark.parametrize(("pattern", "executed", "reply"), LOSSES)
def test_one_answer_is_lost(
    world: World, proxy: FaultProxy, pattern: str, executed: bool, reply: t.Any
) -> None:
    proxy.lose(pattern, executed, reply)
    assert world.run()["changed"]
    assert not proxy.faults
    only_one_of_each(world)
    world.check()


@pytest.mark.parametrize("executed", [True, False], ids=["executed", "not executed"])
def test_the_answer_to_a_reissue_is_lost(world: World, proxy: FaultProxy, executed: bool) -> None:
    world.run()
    world.registry.ok("POST", f"/workers/{world.held('operator')}/reissue-credential")
    proxy.lose("POST /workers/.*/reissue-credential", executed)
    assert world.run()["identities"]["operator"]["action"] == "reissued"
    assert not proxy.faults
    only_one_of_each(world)
    world.check()


def test_a_mint_is_looked_up_and_not_sent_again(world: World, proxy: FaultProxy) -> None:
    proxy.lose("POST /workers", executed=True)
    world.run()
    assert proxy.log.count("POST /workers") == len(NAMES)
    lost = proxy.log.index("POST /workers")
    assert proxy.log[lost + 1] == "GET /workers?name=operator"
    assert proxy.log[lost + 2] == f"POST /workers/{world.held('operator')}/reissue-credential"


@pytest.mark.parametrize("reply", REPLIES)
def test_whoami_without_an_answer_is_no_proof(world: World, proxy: FaultProxy, reply: t.Any) -> None:
    world.run()
    world.parameters["timeout"] = 0
    proxy.lose("GET /whoami", True, reply)
    proxy.log.clear()
    with pytest.raises(TaskStoreError):
        world.run()
    assert proxy.log == ["GET /state", "GET /whoami"]


def test_a_run_makes_one_connection_and_few_requests(world: World, proxy: FaultProxy) -> None:
    world.run()
    proxy.log.clear()
    world.run()
    whoami, groups = (
        ["GET /whoami"] * len(NAMES),
        [f"GET /groups?name={row['name']}" for row in world.parameters["groups"]],
    )
    assert proxy.log == ["GET /state", *whoami, *groups]


PROGRAM = """\
import json, sys
from ansible_collections.eden.reference.plugins.module_utils._eden.identities import run
from ansible_collections.eden.reference.plugins.module_utils._module import Task
print("ready", flush=True)
parameters = json.loads(sys.stdin.readline())
print(json.dumps(run(Task(parameters))))
"""


class Victim:
    """A run of the module in a process of its own, which a fault may kill."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def run(self, world: World) -> int:
        """The exit status of a run with the world's parameters."""
        out, error = self.process.communicate("\n".join([json.dumps(world.parameters), ""]), timeout=120)
        world.told += [out, error]
        return self.process.returncode


def requests_of_a_first_run() -> list[str]:
    """Every request that changes something, in its order: a run can be killed before and after each."""
    groups = ["POST /groups"] * 3
    return [*groups, *["POST /workers"] * len(NAMES), *["POST /groups/[^/]*/members"] * 5]


CUTS = [
    pytest.param(number, executed, id=f"{'after' if executed else 'before'} {number + 1}")
    for number in range(len(requests_of_a_first_run()))
    for executed in (False, True)
]


@pytest.mark.parametrize(("number", "executed"), CUTS)
def test_killed_at_every_request(world: World, proxy: FaultProxy, number: int, executed: bool) -> None:
    requests = requests_of_a_first_run()
    pattern = requests[number]
    victim = Victim()

    def arm(remaining: int) -> Fault:
        """The fault that kills at the request with that number of its kind, letting the earlier ones pass."""
        if remaining == 0:
            return Fault(pattern, executed, then=victim.kill)
        return Fault(pattern, True, "pass", then=lambda: proxy.faults.append(arm(remaining - 1)))

    proxy.faults.append(arm(requests[:number].count(pattern)))
    assert victim.run(world) == -signal.SIGKILL
    assert not proxy.faults

    assert world.run()["changed"] is (number < len(requests) - 1 or not executed)
    only_one_of_each(world)
    world.check()
    assert not world.run()["changed"]


def test_a_run_that_nobody_kills(world: World, proxy: FaultProxy) -> None:
    assert Victim().run(world) == 0
    made = [line for line in proxy.log if line.startswith("POST")]
    patterns = requests_of_a_first_run()
    assert len(made) == len(patterns)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, made, strict=True))
    world.check()


def test_two_runs_at_once_do_not_overwrite_each_other(world: World, proxy: FaultProxy) -> None:
    world.run()
    operator = world.held("operator")
    world.registry.ok("POST", f"/workers/{operator}/reissue-credential")
    before_reissue = Fault("POST /workers/.*/reissue-credential", True, "pass", then=lambda: other(world))

    def other(world: World) -> None:
        world.put("id-operator", {"worker_id": operator, "token": "e1" * 32})

    proxy.faults.append(before_reissue)
    with pytest.raises(IdentityError, match="was changed by another client"):
        world.run()
    assert world.values("id-operator")["token"] == "e1" * 32
    assert world.run()["identities"]["operator"]["action"] == "reissued"
    world.check()


@pytest.mark.parametrize(("moment", "minted"), [("POST /groups", 0), ("POST /workers", 1)])
def test_another_run_writes_the_secret_meanwhile(
    world: World, proxy: FaultProxy, moment: str, minted: int
) -> None:
    theirs = {"worker_id": "wkr_" + "7" * 26, "token": "e1" * 32}
    proxy.faults.append(Fault(moment, True, "pass", then=lambda: world.put("id-operator", theirs)))
    with pytest.raises(IdentityError, match=r"Secret .*/id-operator was changed by another client"):
        world.run()
    assert world.values("id-operator") == theirs
    assert len(world.workers("operator")) == minted


def test_another_client_creates_the_group_meanwhile(world: World, proxy: FaultProxy) -> None:
    def create() -> None:
        world.registry.ok("POST", "/groups", {"name": "admins", "members": ["wkr_" + "9" * 26]})

    proxy.faults.append(Fault("GET /groups.*name=admins", True, "pass", then=create))
    world.run()
    assert "wkr_" + "9" * 26 in world.members("admins")
    only_one_of_each(world)
    world.check()


def test_neither_the_mint_nor_its_lookup_is_answered(world: World, proxy: FaultProxy) -> None:
    world.parameters["timeout"] = 0
    proxy.faults.append(
        Fault("POST /workers", True, then=lambda: proxy.lose("GET /workers.*", executed=True))
    )
    with pytest.raises(TaskStoreError):
        world.run()
    assert not proxy.faults
    assert len(world.workers("operator")) == 1
    world.parameters["timeout"] = 60
    assert world.run()["identities"]["operator"]["action"] == "reissued"
    only_one_of_each(world)
    world.check()


@pytest.mark.parametrize(("refused", "action"), [(True, "reissued"), (False, "minted")])
def test_the_api_servers_answer_to_a_write_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, refused: bool, action: str
) -> None:
    if refused:
        world.run()
        world.registry.ok("POST", f"/workers/{world.held('operator')}/reissue-credential")

    def twice(write: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def both(*arguments: t.Any, **options: t.Any) -> t.Any:
            write(*arguments, **options)
            return write(*arguments, **options)

        return both

    for verb in ("create", "apply"):
        monkeypatch.setattr(Cluster, verb, twice(getattr(Cluster, verb)))
    assert world.run()["identities"]["operator"]["action"] == action
    world.check()
