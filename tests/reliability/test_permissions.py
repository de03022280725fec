# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook as a user with the shipped Role: it is enough, all of it is used, and less is refused."""

from __future__ import annotations

import datetime
import re
import typing as t
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import trials
from deployer import Deployer, Grant, Rules, grants, shipped, used
from kube import MERGE, PATHS
from oracles import Reference, Verdict, check_run, nothing_is_left, tail
from outcomes import TASK_STORE
from pools import remove
from thin_rig import Experiment, Outcome, Rig
from traffic import PASS, Action, Request, Rule
from trials import Survive

# All of them: tests/reliability/run --all
TAKEN_AWAY = 3
# In the middle of the infra phase, and when the task store is up and the identities are made.
LATER = (12, 45)

EVERYTHING = {"eden_ingress": {"host": "eden.example.org"}, "eden_replicas": {"ideator_host": 2}}
SECOND_IDEATOR = "eden-ideator-host-2-identity"
NOTHING_OPTIONAL = {"eden_network_policies": False, "eden_disruption_budgets": False, "eden_ingress": {}}
# Teardown reads the volumes, of which the rig has none; hosts that run commands need to find a node.
NOT_ASKED = ["get persistentvolumes", "list nodes"]


@pytest.fixture
def entered() -> Iterator[ExitStack]:
    """Ends what a test enters."""
    with ExitStack() as stack:
        yield stack


def successful(experiment: Experiment, *arguments: str, playbook: str = "site.yml") -> Outcome:
    """The outcome of a run that is to succeed."""
    outcome = experiment.run(*arguments, playbook=playbook)
    assert outcome.status == 0, tail(outcome)
    return outcome


def bring_up(experiment: Experiment) -> None:
    """All that a user does with an experiment: check, first run, second run, check, status."""
    assert successful(experiment, "--check", "--diff").writes == []
    assert successful(experiment).recap["changed"] > 0
    again = successful(experiment)
    assert (again.recap["changed"], again.writes) == (0, [])
    check = successful(experiment, "--check")
    assert (check.recap["changed"], check.writes) == (0, [])
    shown = successful(experiment, playbook="playbooks/status.yml")
    assert "web-ui-1" in shown.output
    assert shown.writes == []


def for_two_ideators(rules: Rules) -> Rules:
    """The rules with the name of one more identity, as the file says."""
    for rule in rules:
        if "eden-ideator-host-1-identity" in rule.get("resourceNames", ()):
            rule["resourceNames"].append(SECOND_IDEATOR)
    return rules


def unused(granted: t.Iterable[Grant], deployer: Deployer) -> list[str]:
    """What the user was granted and did not use."""
    found = used(deployer.requests())
    return [str(grant) for grant in granted if grant not in found]


def test_the_role_is_enough_and_all_of_it_is_used(rig: Rig, entered: ExitStack) -> None:
    deployer = entered.enter_context(Deployer(rig))
    rules = for_two_ideators(shipped("Role"))
    deployer.may(rules)
    experiment = entered.enter_context(deployer.experiment(eden_manage_namespace=False, **EVERYTHING))
    bring_up(experiment)
    damage(experiment)
    experiment.variables |= {**NOTHING_OPTIONAL, "eden_replicas": {}}
    repaired = successful(experiment)
    deleted = {request.target.split("/")[-2] for request in repaired.writes if request.method == "DELETE"}
    assert deleted == {"ingresses", "jobs", "networkpolicies", "poddisruptionbudgets", "statefulsets"}
    # A run watches a kind only while an object of it is not ready, for which the rig's node may be too quick.
    for _attempt in range(5):
        if "watch deployments" not in unused(grants(rules), deployer):
            break
        remove(experiment, "Deployment", TASK_STORE)
        successful(experiment)
    assert successful(experiment).recap["changed"] == 0
    # Also of the replica that is gone.
    confirmed = ("-e", "eden_purge=true", "-e", "eden_confirm=eden")
    successful(experiment, *confirmed, playbook="playbooks/teardown.yml")
    assert unused(grants(rules), deployer) == []


def damage(experiment: Experiment) -> None:
    """A lost key, a changed Service, and a seed Job that has failed while nothing tells the seed commit."""
    kube, namespace = experiment.kube, experiment.namespace
    secret = f"{PATHS['Secret'].format(namespace)}/eden-credentials"
    kube.ask("PATCH", secret, {"data": {"EDEN_SESSION_SECRET": None}}, MERGE)
    remove(experiment, "ConfigMap", "eden-seed")
    remove(experiment, "Deployment", TASK_STORE)
    jobs = PATHS["Job"].format(namespace)
    (job,) = [
        row for row in kube.objects("Job", namespace) if row["metadata"]["name"].startswith("eden-seed-")
    ]
    path = f"{jobs}/{job['metadata']['name']}"
    remove(experiment, "Job", job["metadata"]["name"])
    spec = {key: job["spec"][key] for key in ("backoffLimit", "template")}
    for label in list(spec["template"]["metadata"]["labels"]):
        if "controller-uid" in label or "job-name" in label:
            del spec["template"]["metadata"]["labels"][label]
    metadata = {key: job["metadata"][key] for key in ("name", "labels")}
    # One that is suspended has no pod that might succeed.
    kube.ask("POST", jobs, {"metadata": metadata, "spec": {**spec, "suspend": True}})
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": now}
        for kind in ("FailureTarget", "Failed")
    ]
    kube.ask("PATCH", f"{path}/status", {"status": {"startTime": now, "conditions": conditions}}, MERGE)


def test_a_namespace_that_is_managed(rig: Rig, entered: ExitStack) -> None:
    deployer = entered.enter_context(Deployer(rig))
    deployer.may(shipped("Role"))
    of_the_cluster = [
        rule for rule in shipped("ClusterRole", deployer.namespace) if rule["verbs"] != ["create"]
    ]
    deployer.may_everywhere(of_the_cluster)
    experiment = entered.enter_context(deployer.experiment(eden_manage_namespace=True))
    bring_up(experiment)
    assert unused(grants(of_the_cluster), deployer) == NOT_ASKED
    # With inputs that avoid the rules that say so in the file.
    server = experiment.node.task_store(experiment.namespace).server
    assert server is not None
    address, port = server
    experiment.variables |= {"eden_task_store_url": f"http://{address}:{port}", **NOTHING_OPTIONAL}
    optional = {"ingresses", "networkpolicies", "poddisruptionbudgets", "pods/portforward"}
    deployer.may([rule for rule in shipped("Role") if not optional & set(rule["resources"])])
    successful(experiment)
    assert successful(experiment).recap["changed"] == 0


def test_a_namespace_that_does_not_exist(rig: Rig, entered: ExitStack) -> None:
    deployer = entered.enter_context(Deployer(rig, namespace_exists=False))
    of_the_cluster = shipped("ClusterRole", deployer.namespace)
    deployer.may_everywhere([*of_the_cluster, *shipped("Role")])
    experiment = entered.enter_context(deployer.experiment())
    bring_up(experiment)
    assert unused(grants(of_the_cluster), deployer) == NOT_ASKED


def test_a_right_that_is_taken_away(survive: Survive) -> None:
    survive((trials.permissions_taken_away(), TAKEN_AWAY))


def at_write(number: int, happen: Callable[[], None]) -> Rule:
    """Something happens before the write of that number."""

    def action(request: Request) -> Action:
        if request.write == number:
            happen()
        return PASS

    return action


@pytest.fixture
def limited(rig: Rig, entered: ExitStack) -> tuple[Deployer, Experiment]:
    """A user with the permissions of the Role that is shipped, and an experiment of the user's."""
    deployer = entered.enter_context(Deployer(rig))
    deployer.may(shipped("Role"))
    return deployer, entered.enter_context(deployer.experiment(eden_manage_namespace=False))


def require_clean_end(experiment: Experiment, outcome: Outcome, message: str) -> None:
    """The run failed with that message, and left nothing behind."""
    assert outcome.status == 2, tail(outcome)
    assert "Traceback" not in outcome.output
    assert re.search(message, outcome.output), tail(outcome)
    verdict = Verdict()
    nothing_is_left(verdict, experiment)
    assert verdict.violations == []


@pytest.mark.parametrize("write", LATER)
def test_permissions_that_are_taken_away_in_the_middle(
    reference: Reference, limited: tuple[Deployer, Experiment], write: int
) -> None:
    deployer, experiment = limited
    outcome = experiment.run(rule=at_write(write, lambda: deployer.may([])))
    require_clean_end(
        experiment,
        outcome,
        r"Could not \w+ (\w+ )*\S+: the Kubernetes API answered 403 Forbidden: .*"
        rf"User \S+{deployer.name}\S+ cannot \w+ resource .*"
        r"Have this permission granted to \S+, or connect as a user who has it\.",
    )
    deployer.may(shipped("Role"))
    assert check_run(experiment, reference, experiment.run()).violations == []


@pytest.mark.parametrize("write", LATER)
def test_credentials_that_expire_in_the_middle(
    rig: Rig, reference: Reference, limited: tuple[Deployer, Experiment], write: int
) -> None:
    deployer, experiment = limited
    valid = experiment.proxy.context
    expired = rig.control_plane.context_for(deployer.name, age=datetime.timedelta(days=2))

    def expire() -> None:
        experiment.proxy.context = expired

    outcome = experiment.run(rule=at_write(write, expire))
    require_clean_end(
        experiment,
        outcome,
        r"Could not \w+ (\w+ )*\S+: the Kubernetes API answered 401 Unauthorized\. "
        r"Renew the credentials of the kubeconfig \S+\.",
    )
    experiment.proxy.context = valid
    assert check_run(experiment, reference, experiment.run()).violations == []
