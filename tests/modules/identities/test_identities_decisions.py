# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the decision table against a real API server and a task store that listens."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from identities_world import LABEL, NAMES, World
from standin_processes import ADMIN_TOKEN, OTHER_EXPERIMENT, Processes

from ansible_collections.eden.reference.plugins.module_utils._eden import identities
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import (
    CredentialsError,
    IdentityError,
    TaskStoreError,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    LockedError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster
from ansible_collections.eden.reference.plugins.module_utils._kube.lease import Lock, holder_of
from ansible_collections.eden.reference.plugins.module_utils._module import Task

NOBODY = "wkr_" + "7" * 26


def nothing(_world: World) -> None:
    """A new experiment."""


def complete(world: World) -> None:
    world.run()


def refused(world: World) -> None:
    world.run()
    world.registry.ok("POST", f"/workers/{world.held('operator')}/reissue-credential")


def refused_and_namesake(world: World) -> None:
    refused(world)
    world.mint("operator", world.label)


def refused_of_another_name(world: World) -> None:
    world.run()
    world.put("id-operator", {"worker_id": world.mint("somebody"), "token": "f0" * 32})


def refused_of_another_instance(world: World) -> None:
    world.put("id-operator", {"worker_id": world.mint("operator", {LABEL: "other/one"}), "token": "f0" * 32})


def refused_and_unknown(world: World) -> None:
    world.put("id-operator", {"worker_id": NOBODY, "token": "f0" * 32})


def refused_and_unlabelled(world: World) -> None:
    world.put("id-operator", {"worker_id": world.mint("operator"), "token": "f0" * 32})


def token_of_another(world: World) -> None:
    world.run()
    world.put(
        "id-operator", world.values("id-operator") | {"token": world.values("id-orchestrator")["token"]}
    )


def swapped(world: World) -> None:
    world.run()
    one, other = world.values("id-operator"), world.values("id-orchestrator")
    world.put("id-operator", other)
    world.put("id-orchestrator", one)


def copied_from_another(world: World) -> None:
    world.run()
    world.put("id-operator", world.values("id-orchestrator"))


def id_only(world: World) -> None:
    world.mint("operator", world.label)
    world.put("id-operator", {"worker_id": world.mint("operator", world.label)})


def id_only_and_unknown(world: World) -> None:
    world.put("id-operator", {"worker_id": NOBODY, "token": ""})


def token_only(world: World) -> None:
    world.run()
    world.put("id-operator", {"token": world.values("id-operator")["token"]})


def unreadable(world: World) -> None:
    world.run()
    world.put("id-operator", {"worker_id": "wkr_no", "token": "with blank"})


def empty(world: World) -> None:
    world.put("id-operator", {})


def deleted(world: World) -> None:
    world.run()
    world.core.delete_namespaced_secret("id-operator", world.namespace)


def unlabelled(world: World) -> None:
    world.mint("operator")


def of_another_instance(world: World) -> None:
    world.mint("operator", {LABEL: "other/one"})


def ours_and_unlabelled(world: World) -> None:
    world.mint("operator")
    world.mint("operator", world.label)
    world.mint("operator")


def group_without_members(world: World) -> None:
    world.run()
    for row in world.registry.ok("GET", "/groups?name=admins")["groups"]:
        world.registry.ok("DELETE", f"/groups/{row['group_id']}/members/{world.held('operator')}")


def groups_deleted(world: World) -> None:
    world.run()
    for row in world.registry.ok("GET", "/groups")["groups"]:
        world.registry.ok("DELETE", f"/groups/{row['group_id']}")


def groups_with_members_of_others(world: World) -> None:
    world.registry.ok("POST", "/groups", {"name": "admins", "members": [NOBODY]})


# What the operator's identity and the group admins come to, and how many workers of that name there are then.
ROWS: list[t.Any] = [
    (nothing, "minted", "created", 1),
    (complete, "unchanged", "unchanged", 1),
    (refused, "reissued", "unchanged", 1),
    (refused_and_namesake, "reissued", "unchanged", 2),
    (refused_of_another_name, "reissued", "unchanged", 1),
    (refused_of_another_instance, "minted", "created", 2),
    (refused_and_unknown, "minted", "created", 1),
    (refused_and_unlabelled, "reissued", "created", 1),
    (token_of_another, "reissued", "unchanged", 1),
    (swapped, "reissued", "unchanged", 1),
    (copied_from_another, "reissued", "unchanged", 1),
    (id_only, "reissued", "created", 2),
    (id_only_and_unknown, "minted", "created", 1),
    (token_only, "reissued", "unchanged", 1),
    (unreadable, "reissued", "unchanged", 1),
    (empty, "minted", "created", 1),
    (deleted, "reissued", "unchanged", 1),
    (unlabelled, "reissued", "created", 1),
    (of_another_instance, "minted", "created", 2),
    (ours_and_unlabelled, "reissued", "created", 3),
    (group_without_members, "unchanged", "extended", 1),
    (groups_deleted, "unchanged", "created", 1),
    (groups_with_members_of_others, "minted", "extended", 1),
]


@pytest.mark.parametrize(
    ("prepare", "operator", "admins", "rows"), ROWS, ids=[row[0].__name__.replace("_", " ") for row in ROWS]
)
def test_row(
    world: World, proxy: FaultProxy, prepare: t.Callable[[World], None], operator: str, admins: str, rows: int
) -> None:
    prepare(world)
    world.remember()
    before, writes = world.state(), world.writes()
    proxy.log.clear()
    predicted = world.run(check_mode=True)
    assert all(line.startswith("GET ") for line in proxy.log)
    assert world.writes() == writes
    assert world.state() == before

    done = world.run()
    assert done["identities"]["operator"]["action"] == operator
    assert done["groups"]["admins"]["action"] == admins
    assert len(world.workers("operator")) == rows
    assert done["changed"] is predicted["changed"] is (world.state() != before)
    for key in ("identities", "groups"):
        assert {name: row["action"] for name, row in done[key].items()} == {
            name: row["action"] for name, row in predicted[key].items()
        }
    for name in NAMES:
        identity, foreseen = done["identities"][name], predicted["identities"][name]
        assert identity["worker_id"] == world.held(name)
        assert foreseen["worker_id"] in (None, identity["worker_id"])
        assert foreseen["checksum"] in (None, identity["checksum"])
        told = {"worker_id": identity["worker_id"], "secret": f"id-{name}", "token": identity["action"]}
        assert done["diff"]["after"]["workers"][name] == told
    assert (done["diff"]["before"] != done["diff"]["after"]) is done["changed"]
    world.check()

    writes = world.writes()
    proxy.log.clear()
    assert not world.run()["changed"]
    assert all(line.startswith("GET ") for line in proxy.log)
    assert world.writes() == writes


def test_members_of_others_stay(world: World) -> None:
    groups_with_members_of_others(world)
    world.run()
    assert set(world.members("admins")) == {NOBODY, world.held("operator")}


def test_identities_info_says_the_same_and_writes_nothing(world: World) -> None:
    for complete in (False, True):
        state, writes = world.state(), world.writes()
        read = identities.run_info(Task(world.parameters, progress=world.told.append))
        world.told.append(json.dumps(read))
        assert (world.state(), world.writes()) == (state, writes)
        assert read["complete"] is complete
        missing = [f"Secret {world.namespace}/id-operator", "group admins"]
        assert [name for name in missing if name in read["incomplete"]] == ([] if complete else missing)
        predicted = world.run(check_mode=True)
        assert (read["identities"], read["groups"]) == (predicted["identities"], predicted["groups"])
        world.run()
    world.check()


def test_rows_and_secrets_carry_their_owner(world: World) -> None:
    world.run()
    for row in world.registry.ok("GET", "/workers")["workers"]:
        assert row["labels"] == world.label
    secret = world.secrets()["id-operator"]
    assert secret["type"] == "Opaque"
    assert set(secret["data"]) == {"worker_id", "token"}
    metadata = secret["metadata"]
    assert metadata["labels"] == {"component": "operator"}
    assert metadata["annotations"] == {"eden.reference/worker-name": "operator"}
    assert {entry["manager"] for entry in metadata["managedFields"]} == {"eden.reference"}


def test_what_others_keep_in_the_secret_stays(world: World) -> None:
    world.put("id-operator", {"note": "theirs"}, labels={"theirs": "label"})
    world.run()
    assert world.values("id-operator")["note"] == "theirs"
    assert world.secrets()["id-operator"]["metadata"]["labels"]["theirs"] == "label"


@pytest.mark.parametrize("labelled", [True, False], ids=["ours", "without label"])
def test_the_user_decides_between_two(world: World, labelled: bool) -> None:
    label = world.label if labelled else None
    first, second = world.mint("orchestrator", label), world.mint("orchestrator", label)
    before = world.state()
    for check_mode in (True, False):
        with pytest.raises(IdentityError) as caught:
            world.run(check_mode)
        assert [row["worker_id"] for row in caught.value.data["candidates"]] == sorted([first, second])
        assert world.state() == before
    # What the message asks for.
    world.put("id-orchestrator", {"worker_id": second})
    assert world.run()["identities"]["orchestrator"]["worker_id"] == second
    world.check()


def test_two_groups_of_one_name(world: World) -> None:
    for _turn in range(2):
        world.registry.ok("POST", "/groups", {"name": "all"})
    before = world.state()
    with pytest.raises(IdentityError, match="Cannot tell which group is all"):
        world.run()
    assert world.state() == before


def test_nothing_is_there_yet(world: World) -> None:
    world.parameters["task_store_url"] = ""
    predicted = world.run(check_mode=True)
    assert predicted["changed"]
    assert {row["action"] for row in predicted["identities"].values()} == {"minted"}
    assert {row["worker_id"] for row in predicted["identities"].values()} == {None}
    service = f"Service {world.namespace}/task-store"
    with pytest.raises(MissingError, match=f"run `--tags task_store` first .* behind {service}"):
        world.run()
    world.parameters["namespace"] = "no-such-namespace"
    assert world.run(check_mode=True)["changed"]
    with pytest.raises(
        MissingError, match=r"run `--tags infra` first .* Secret no-such-namespace/credentials"
    ):
        world.run()


@pytest.mark.parametrize("check_mode", [True, False])
def test_the_admins_token_is_another(world: World, check_mode: bool) -> None:
    world.put("credentials", {"EDEN_ADMIN_TOKEN": "outdated"})
    with pytest.raises(TaskStoreError) as caught:
        world.run(check_mode)
    assert caught.value.status == 401
    secret = f"Secret {world.namespace}/credentials"
    assert f"The admin's token was read from key EDEN_ADMIN_TOKEN of {secret}" in caught.value.message
    world.put("credentials", {"EDEN_ADMIN_TOKEN": ADMIN_TOKEN + "\n"})
    with pytest.raises(CredentialsError, match=f"of {secret} does not hold a token"):
        world.run(check_mode)
    assert not any(ADMIN_TOKEN in text for text in world.told)


def test_the_admins_secret_has_another_key(world: World) -> None:
    world.put("credentials", {"OTHER": "x"})
    assert world.run(check_mode=True)["changed"]
    with pytest.raises(CredentialsError, match=r"credentials lacks the key EDEN_ADMIN_TOKEN"):
        world.run()


def test_the_task_store_of_another_experiment(world: World) -> None:
    world.run()
    before = world.state()
    world.parameters["experiment_id"] = OTHER_EXPERIMENT
    for check_mode in (True, False):
        with pytest.raises(TaskStoreError, match=f"does not serve experiment {OTHER_EXPERIMENT}"):
            world.run(check_mode)
    assert world.state() == before


def with_another_token(world: World) -> None:
    world.put("credentials", {"EDEN_ADMIN_TOKEN": "another"})


def of_another_experiment(world: World) -> None:
    world.parameters["experiment_id"] = OTHER_EXPERIMENT


@pytest.mark.parametrize("differ", [with_another_token, of_another_experiment])
def test_check_mode_takes_a_task_store_that_is_to_change_for_one_that_is_not_there_yet(
    world: World, differ: t.Callable[[World], None]
) -> None:
    world.parameters["task_store_changes"] = True
    world.mint("operator", world.label)
    # One that answers is asked.
    assert world.run(check_mode=True)["identities"]["operator"]["action"] == "reissued"
    world.run()
    differ(world)
    assert not world.run(check_mode=True)["changed"]
    with pytest.raises(TaskStoreError):
        world.run()


def test_check_mode_takes_a_url_that_does_not_answer_for_a_task_store_that_is_not_there_yet(
    world: World,
) -> None:
    world.parameters["task_store_url"] = "http://127.0.0.1:1"
    assert {row["action"] for row in world.run(check_mode=True)["identities"].values()} == {"minted"}


def test_a_task_store_that_lets_everybody_in(world: World, tmp_path: Path) -> None:
    world.run()
    secrets = world.secrets()
    processes = Processes()
    try:
        store = processes.task_store(":memory:", tmp_path / "config.yaml", token=False)
        world.parameters["task_store_url"] = store.api.url
        with pytest.raises(IdentityError, match="runs without authentication"):
            world.run()
        assert store.api.ok("GET", "/workers") == {"workers": []}
    finally:
        processes.close()
        for service in processes.started:
            if service.process.stdout:
                service.process.stdout.close()
    assert world.secrets() == secrets


def test_the_api_server_would_refuse_the_secret(world: World) -> None:
    world.parameters["workers"][1]["labels"] = {"component": "no label value!"}
    with pytest.raises(
        ClusterError, match=r"Could not create Secret .*/id-orchestrator: .* answered 422 Invalid"
    ):
        world.run()
    assert world.workers("orchestrator") == []


def test_the_secret_may_not_be_changed(world: World) -> None:
    secret: t.Any = {"metadata": {"name": "id-operator"}, "immutable": True, "stringData": {"worker_id": ""}}
    world.core.create_namespaced_secret(world.namespace, secret)
    with pytest.raises(ClusterError, match="field is immutable"):
        world.run()
    assert world.workers("operator") == []


def test_the_registry_is_not_changed_while_another_run_holds_the_lock(world: World) -> None:
    options = {key: world.parameters[key] for key in ("kubeconfig", "namespace")}
    Lock(Cluster.connect(options), world.namespace, "x-lock", holder_of(0)).hold()
    world.parameters["lock"] = {"name": "x-lock", "holder": "this run"}
    before = world.state()
    with pytest.raises(LockedError, match="Another run is at work"):
        world.run()
    assert world.state() == before
    assert world.run(check_mode=True)["changed"]
