# SPDX-License-Identifier: GPL-3.0-or-later
"""Every worker is known to the task store by the token in its Secret, and is in its groups and no other."""

from __future__ import annotations

import pytest
from experiment import Experiment, TaskStore
from truth_table import COMPONENTS_OF_WORKERS, GROUPS, SERVERS, WORKERS

from ansible_collections.eden.reference.plugins.module_utils._eden import ids, task_store
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster
from ansible_collections.eden.reference.plugins.module_utils._kube.port_forward import forwarded


@pytest.fixture(scope="module", params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    """The name of a worker."""
    return str(request.param)


def test_whoami_through_the_collections_port_forward(
    cluster: Cluster, experiment: Experiment, worker: str
) -> None:
    identity = experiment.identity(worker)
    service = f"{experiment.name}-task-store-server"
    with forwarded(cluster, experiment.namespace, service, SERVERS["task-store-server"]) as session:
        store = task_store.TaskStore(
            session, f"http://{service}", experiment.experiment_id, lambda: identity.token
        )
        bearer = store.whoami(identity.worker_id, identity.token)
    assert bearer == task_store.Bearer(identity.worker_id, worker)


def test_whoami_through_kubectl(task_store: TaskStore, experiment: Experiment, worker: str) -> None:
    identity = experiment.identity(worker)
    answer = task_store.ask("/whoami", identity.worker_id, identity.token)
    assert (answer.status_code, answer.json()) == (200, {"worker_id": identity.worker_id, "name": worker})


def test_another_token_is_refused(task_store: TaskStore, experiment: Experiment, worker: str) -> None:
    identity = experiment.identity(worker)
    wrong = identity.token[:-1] + ("0" if identity.token[-1] != "0" else "1")
    assert task_store.ask("/whoami", identity.worker_id, wrong).status_code == 401


def test_no_worker_has_the_token_of_another(experiment: Experiment) -> None:
    identities = [experiment.identity(worker) for worker in WORKERS]
    assert len({identity.worker_id for identity in identities}) == len(WORKERS)
    assert len({identity.token for identity in identities}) == len(WORKERS)


def test_these_workers_are_registered_and_no_others(task_store: TaskStore, experiment: Experiment) -> None:
    registered = {row["worker_id"]: row["name"] for row in task_store.read("/workers")["workers"]}
    assert registered == {experiment.identity(worker).worker_id: worker for worker in WORKERS}


def test_the_ids_are_well_formed(experiment: Experiment, worker: str) -> None:
    assert ids.EXPERIMENT_ID.match(experiment.experiment_id)
    assert ids.WORKER_ID.match(experiment.identity(worker).worker_id)


def test_the_groups_have_these_members_and_no_others(task_store: TaskStore, experiment: Experiment) -> None:
    names = {experiment.identity(worker).worker_id: worker for worker in WORKERS}
    groups = task_store.read("/groups")["groups"]
    assert sorted(group["name"] for group in groups) == sorted(GROUPS)
    assert {
        group["name"]: {names.get(member, member) for member in group["members"]} for group in groups
    } == GROUPS


@pytest.mark.parametrize("worker_of_pod", COMPONENTS_OF_WORKERS)
def test_a_pod_works_under_its_own_id(experiment: Experiment, worker_of_pod: str) -> None:
    identity = experiment.identity(worker_of_pod)
    pod = experiment.pod(COMPONENTS_OF_WORKERS[worker_of_pod])
    arguments = experiment.cat(pod, "/proc/1/cmdline").split(b"\0")
    assert f"--worker-id={identity.worker_id}".encode() in arguments
    directory = "/var/lib/eden/credentials"
    if worker_of_pod == "web-ui-1":
        directory = f"{directory}/{experiment.experiment_id}"
    assert experiment.cat(pod, f"{directory}/{identity.worker_id}.token").decode().strip() == identity.token
