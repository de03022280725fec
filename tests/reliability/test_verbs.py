# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of a running deployment, as a user runs them."""

from __future__ import annotations

from kills import CUTS, AtWrite
from kube import PATHS, path_of
from oracles import tail
from thin_rig import Experiment, Outcome

SERVICES = {"eden-postgres", "eden-forgejo", "eden-task-store-server", "eden-orchestrator", "eden-web-ui"}
HOSTS = {f"eden-{kind}-host-1" for kind in ("ideator", "executor", "evaluator")}


def verb(experiment: Experiment, name: str, *arguments: str, status: int = 0) -> Outcome:
    """The outcome of a playbook."""
    outcome = experiment.run(*arguments, playbook=f"playbooks/{name}.yml")
    assert outcome.status == status, tail(outcome)
    return outcome


def twice(experiment: Experiment, name: str, *arguments: str) -> Outcome:
    """The outcome of a playbook that check mode predicts, and that has nothing to do the second time."""
    predicted = verb(experiment, name, "--check", "--diff", *arguments)
    assert predicted.writes == []
    outcome = verb(experiment, name, *arguments)
    assert predicted.recap["changed"] == outcome.recap["changed"] == 1, predicted.output
    again = verb(experiment, name, *arguments)
    assert (again.recap["changed"], again.writes) == (0, [])
    return outcome


def replicas(experiment: Experiment) -> dict[str, int]:
    """The replicas of each workload."""
    return {
        row["metadata"]["name"]: row["spec"]["replicas"]
        for kind in ("StatefulSet", "Deployment")
        for row in experiment.kube.objects(kind, experiment.namespace)
    }


def scaled(outcome: Outcome) -> list[str]:
    """The workloads that a run has changed, in order."""
    kinds = ("statefulsets", "deployments")
    return [
        request.target.split("?")[0].split("/")[-1]
        for request in outcome.writes
        if request.target.split("?")[0].split("/")[-2] in kinds
    ]


def test_stop_and_start(experiment: Experiment) -> None:
    verb(experiment, "site")
    stopped = scaled(twice(experiment, "stop"))
    assert set(stopped[:4]) == {*HOSTS, "eden-web-ui"}
    assert stopped[4:] == ["eden-orchestrator", "eden-task-store-server"]
    assert {name for name, number in replicas(experiment).items() if number} == {
        "eden-postgres",
        "eden-forgejo",
    }
    everything = scaled(twice(experiment, "stop", "-e", "eden_stop_infra=true"))
    assert set(everything) == {"eden-postgres", "eden-forgejo"}
    started = scaled(twice(experiment, "start"))
    assert set(started[:2]) == {"eden-postgres", "eden-forgejo"}
    assert started[2:4] == ["eden-task-store-server", "eden-orchestrator"]
    assert verb(experiment, "site").recap["changed"] == 0
    verb(experiment, "stop", "-e", "eden_stop_infra=true")
    verb(experiment, "site")
    assert set(replicas(experiment).values()) == {1}
    assert verb(experiment, "site").recap["changed"] == 0


FOREIGN = {"metadata": {"name": "eden-git-credential-helper"}, "data": {"mine": "yes"}}
DATA = {
    "ConfigMap": {"eden-experiment", "eden-experiment-config", "eden-seed"},
    "PersistentVolumeClaim": {"data-eden-postgres-0", "data-eden-forgejo-0", "eden-blob", "eden-artifacts"},
    "Lease": {"eden-lock"},
}
PURGE = ("-e", "eden_purge=true", "-e", "eden_confirm=eden")


def left(experiment: Experiment) -> dict[str, set[str]]:
    """The names of the objects by kind, but for those that every namespace has, and Secrets."""
    found = {
        kind: {row["metadata"]["name"] for row in experiment.kube.objects(kind, experiment.namespace)}
        for kind in PATHS
        if kind not in ("ServiceAccount", "Secret", "Pod")
    }
    found["ConfigMap"] -= {"kube-root-ca.crt"}
    return {kind: names for kind, names in found.items() if names}


def test_teardown(experiment: Experiment) -> None:
    verb(experiment, "site")
    secrets = experiment.kube.objects("Secret", experiment.namespace)
    twice(experiment, "teardown")
    assert left(experiment) == DATA
    assert experiment.kube.objects("Secret", experiment.namespace) == secrets
    verb(experiment, "site")
    assert experiment.kube.objects("Secret", experiment.namespace) == secrets
    for unconfirmed in (PURGE[:2], (*PURGE[:2], "-e", "eden_confirm=edn")):
        refused = verb(experiment, "teardown", *unconfirmed, status=2)
        assert refused.writes == []
        assert "Nothing was deleted" in refused.output
    path = path_of("ConfigMap", experiment.namespace, FOREIGN["metadata"]["name"])
    experiment.kube.ask("DELETE", path)
    experiment.kube.ask("POST", PATHS["ConfigMap"].format(experiment.namespace), FOREIGN)
    twice(experiment, "teardown", *PURGE)
    assert left(experiment) == {"ConfigMap": {FOREIGN["metadata"]["name"]}}
    assert experiment.kube.objects("Secret", experiment.namespace) == []


def test_a_teardown_that_is_killed(experiment: Experiment) -> None:
    """At every fifth write, each time at the one after it: what is left is less and less."""
    verb(experiment, "site")
    killed = 0
    while True:
        kill = AtWrite(5, CUTS[killed % len(CUTS)], PURGE)
        outcome = kill.apply(experiment, playbook="playbooks/teardown.yml")
        if outcome.status == 0:
            break
        killed += 1
    assert killed > 3
    assert left(experiment) == {}
    assert experiment.kube.objects("Secret", experiment.namespace) == []
