# SPDX-License-Identifier: GPL-3.0-or-later
"""Each oracle sees the state that it is there for: what would have to break for it to fail is broken here."""

from __future__ import annotations

import base64
import copy
import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from types import SimpleNamespace

import oracles
import pytest
from kills import cut_at
from kube import MERGE, path_of
from oracles import Reference, State, Verdict
from outcomes import Report, require_refusal, run_as_predicted
from thin_rig import MARK, Experiment, Outcome, Rig
from traffic import PASS, Request, Side, is_write
from trials import sure

ADMIN_WRITE = Request(1, 1, "api", "PATCH", "/api/v1/namespaces/a/secrets/b")
RECAP = "PLAY RECAP\neden : ok=1 changed={} failed=0"


@pytest.fixture(scope="module")
def installed(rig: Rig) -> Iterator[Experiment]:
    """An experiment that is up; each test leaves it as it found it, or does not mind."""
    with rig.experiment() as experiment:
        assert experiment.run().status == 0
        yield experiment


def patched(experiment: Experiment, kind: str, name: str, patch: dict[str, t.Any]) -> None:
    """Merge a patch into an object."""
    experiment.kube.ask("PATCH", path_of(kind, experiment.namespace, name), patch, MERGE)


def encoded(text: str) -> str:
    """The text as a value of a Secret."""
    return base64.b64encode(text.encode()).decode()


def test_oracles_find_nothing_in_a_sound_experiment(installed: Experiment, reference: Reference) -> None:
    outcome = installed.run()
    assert oracles.check_run(installed, reference, outcome).violations == []


def test_what_a_slow_run_sends_more_of_is_not_sure() -> None:
    lease, watch = (
        "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
        "/api/v1/namespaces/a/pods?watch=true",
    )
    targets = [lease, "/one", lease, watch, "/two", lease, lease]
    assert sure(Request(number, 1, "api", "PUT", target) for number, target in enumerate(targets)) == 4


@pytest.mark.parametrize(("number", "target", "killed_at"), [(2, "", 2), (1, "/b", 3), (2, "/b", 4)])
def test_a_kill_counts_the_writes_to_its_target(number: int, target: str, killed_at: int) -> None:
    rule = cut_at(number, "answered", lambda: None, target)
    sent = [Request(n, n, "api", "PUT", path) for n, path in enumerate(["/a", "/a", "/b", "/b"], 1)]
    sent.insert(0, Request(9, 0, "api", "GET", "/b"))
    assert [request.write for request in sent if rule(request) is not PASS] == [killed_at]


@pytest.mark.parametrize(
    ("side", "method", "target", "expected"),
    [
        ("api", "PATCH", "/api/v1/namespaces/a/secrets/b?fieldManager=c&force=true", True),
        ("api", "PATCH", "/api/v1/namespaces/a/configmaps/b?dryRun=All&force=true", False),
        ("api", "GET", "/api/v1/namespaces/a/pods", False),
        ("api", "GET", "/api/v1/namespaces/a/pods/b/portforward?ports=8080", False),
        ("api", "POST", "/api/v1/namespaces/a/pods/b/portforward?ports=8080", False),
        ("api", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", False),
        ("api", "DELETE", "/apis/batch/v1/namespaces/a/jobs/b", True),
        ("store", "POST", "/v0/experiments/e/workers", True),
        ("store", "GET", "/v0/experiments/e/whoami", False),
    ],
)
def test_what_counts_as_a_write(side: Side, method: str, target: str, expected: bool) -> None:
    assert is_write(side, method, target) is expected


RUNS = {
    "failed": ([Outcome(2, "")], ["converges"]),
    "changed again": ([Outcome(0, RECAP.format(1)), Outcome(0, RECAP.format(1))], ["stays idle"]),
    "wrote again": (
        [
            Outcome(0, RECAP.format(0), requests=[ADMIN_WRITE]),
            Outcome(0, RECAP.format(0), requests=[ADMIN_WRITE]),
        ],
        ["stays idle"],
    ),
    "failed again": ([Outcome(0, RECAP.format(1)), Outcome(2, RECAP.format(0))], ["stays idle"]),
    "did what it should": ([Outcome(0, RECAP.format(1)), Outcome(0, RECAP.format(0))], []),
}


@pytest.mark.parametrize(("outcomes", "expected"), RUNS.values(), ids=RUNS)
def test_runs(monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], expected: list[str]) -> None:
    for name in ("state", "identities_hold", "claims_hold", "nothing_is_left"):
        monkeypatch.setattr(oracles, name, lambda *_arguments: State({}, {}, {}, {}))
    first, *later = outcomes
    experiment: t.Any = SimpleNamespace(run=lambda: later[0])
    verdict = oracles.check_run(experiment, Reference(State({}, {}, {}, {}), first), first)
    assert [sentence.partition(":")[0] for sentence in verdict.violations] == expected


def changed_field(found: State) -> None:
    found.objects["ConfigMap eden-seed"]["data"]["commit"] = "other"


def further_object(found: State) -> None:
    found.objects["ConfigMap surplus"] = {}


def lost_object(found: State) -> None:
    del found.objects["NetworkPolicy eden-postgres"]


def further_pod(found: State) -> None:
    found.pods["web-ui"] += 1


def second_worker(found: State) -> None:
    found.workers["operator"] += 1


def further_member(found: State) -> None:
    found.groups["admins"][0].append("orchestrator")


def second_group(found: State) -> None:
    found.groups["admins"] *= 2


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (changed_field, ["ConfigMap eden-seed"]),
        (further_object, ["ConfigMap surplus"]),
        (lost_object, ["NetworkPolicy eden-postgres"]),
        (further_pod, ["pods"]),
        (second_worker, ["workers"]),
        (further_member, ["groups"]),
        (second_group, ["groups"]),
    ],
)
def test_differences(reference: Reference, damage: t.Callable[[State], None], expected: list[str]) -> None:
    found = copy.deepcopy(reference.state)
    damage(found)
    assert [line.partition(":")[0] for line in oracles.differences(reference.state, found)] == expected


@pytest.mark.parametrize("damage", [second_worker, further_member, second_group])
def test_identities(installed: Experiment, damage: t.Callable[[State], None]) -> None:
    found = oracles.state(installed)
    damage(found)
    verdict = Verdict()
    oracles.identities_hold(verdict, installed, found)
    assert [sentence.partition(":")[0] for sentence in verdict.violations] == ["identities"]


def test_a_token_that_is_not_accepted_and_secrets_that_changed(installed: Experiment) -> None:
    before, valid = oracles.hashes(installed), oracles.valid_identities(installed)
    kept = {}
    for name, key in (("eden-credentials", "POSTGRES_PASSWORD"), ("eden-operator-identity", "token")):
        live = installed.kube.ask("GET", path_of("Secret", installed.namespace, name))
        kept[name] = {key: live["data"][key]}
        patched(installed, "Secret", name, {"data": {key: encoded("another, and wrong")}})
    verdict = Verdict()
    oracles.identities_hold(verdict, installed, oracles.state(installed))
    oracles.secrets_are_kept(verdict, installed, before, valid)
    for name, data in kept.items():
        patched(installed, "Secret", name, {"data": data})
    assert verdict.violations == [
        "identities: the token of ['eden-operator-identity'] is not taken",
        "secrets kept: Secret eden-credentials has another POSTGRES_PASSWORD",
        "secrets kept: Secret eden-operator-identity has another token",
    ]


@pytest.mark.parametrize(
    "state", [{"running": {"startedAt": "2100-01-01T00:00:00Z"}}, {"waiting": {"reason": "CrashLoopBackOff"}}]
)
def test_a_claim_that_is_older_than_the_container(installed: Experiment, state: dict[str, t.Any]) -> None:
    def worker(name: str) -> oracles.Api:
        secret = installed.kube.ask("GET", path_of("Secret", installed.namespace, f"eden-{name}-identity"))
        bearer = ":".join(base64.b64decode(secret["data"][key]).decode() for key in ("worker_id", "token"))
        found = oracles.registry(installed)
        assert found is not None
        return found.as_caller(bearer)

    time = "2026-01-01T00:00:00Z"
    operator = worker("operator")
    payload = {"experiment_id": operator.experiment_id}
    held = f"held-{next(iter(state))}"
    task = {"task_id": held, "kind": "ideation", "state": "pending", "payload": payload}
    operator.ok("POST", "/tasks", {**task, "created_at": time, "updated_at": time})
    worker("ideator-host-1").ok("POST", f"/tasks/{held}/claim", {})
    sound, broken = Verdict(), Verdict()
    oracles.claims_hold(sound, installed)
    assert sound.violations == []
    (pod,) = [
        pod
        for pod in installed.kube.objects("Pod", installed.namespace)
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "ideator-host"
    ]
    (container,) = pod["status"]["containerStatuses"]
    container["state"] = state
    younger: t.Any = SimpleNamespace(
        node=installed.node,
        namespace=installed.namespace,
        kube=SimpleNamespace(
            get=installed.kube.get, objects=lambda kind, _namespace: [pod] if kind == "Pod" else []
        ),
    )
    oracles.claims_hold(broken, younger)
    worker("ideator-host-1").ok("POST", f"/tasks/{held}/submit", {"payload": {"status": "error"}})
    assert [sentence.partition(" is claimed by ")[0] for sentence in broken.violations] == [
        f"claims: task {held}"
    ]


def left_file(experiment: Experiment) -> None:
    (experiment.temporary / "left").touch()


def left_key(experiment: Experiment) -> None:
    (experiment.directory / "ansible-tmp-key").write_text(experiment.private["the kubeconfig's private key"])


def left_token(experiment: Experiment) -> None:
    values = oracles.secret_values(experiment)
    (experiment.directory / "arguments.json").write_text(
        encoded("{" + values["token of Secret eden-operator-identity"] + "}")
    )


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (left_file, "there are temporary files: ['left']"),
        (left_key, "the kubeconfig's private key is in the file ansible-tmp-key (plain)"),
        (left_token, "token of Secret eden-operator-identity is in the file arguments.json (base64"),
    ],
)
def test_what_is_left(installed: Experiment, damage: t.Callable[[Experiment], None], expected: str) -> None:
    before = set(installed.directory.rglob("*"))
    damage(installed)
    verdict = Verdict()
    oracles.nothing_is_left(verdict, installed)
    for path in set(installed.directory.rglob("*")) - before:
        path.unlink()
    (sentence,) = verdict.violations
    assert sentence.startswith(f"nothing left: {expected}")


def test_processes_and_port_forwards_that_are_left(
    installed: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, MARK: f"{installed.namespace}-1-"}
    monkeypatch.setattr(installed, "open_forwards", lambda: 2)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment) as child:
        verdict = Verdict()
        oracles.nothing_is_left(verdict, installed)
        child.communicate(b"\n")
    processes, forwards = verdict.violations
    assert f"{child.pid}: " in processes
    assert forwards == "nothing left: 2 port-forwards are open"


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (Report(Outcome(0, RECAP.format(1)), {"Secret a": "created"}, set(), ""), 0),
        (Report(Outcome(0, RECAP.format(1)), {"Secret a": "updated"}, set(), ""), 1),
        (Report(Outcome(0, RECAP.format(1)), {"Secret a": "created", "Secret b": "created"}, set(), ""), 1),
        (Report(Outcome(0, RECAP.format(2)), {"Secret a": "created"}, set(), ""), 1),
        (Report(Outcome(2, RECAP.format(1)), {}, set(), ""), 2),
    ],
)
def test_predictions(monkeypatch: pytest.MonkeyPatch, real: Report, expected: int) -> None:
    monkeypatch.setattr("outcomes.reported", lambda _experiment: real)
    verdict, anything = Verdict(), t.cast("Experiment", None)
    predicted = Report(Outcome(0, RECAP.format(1)), {"Secret a": "created"}, set(), "")
    run_as_predicted(verdict, anything, predicted)
    assert len(verdict.violations) == expected


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (Report(Outcome(2, ""), {}, set(), "the volume is gone"), 0),
        (Report(Outcome(0, ""), {}, set(), "the volume is gone"), 1),
        (Report(Outcome(2, "", requests=[ADMIN_WRITE]), {}, set(), "the volume is gone"), 1),
        (Report(Outcome(2, ""), {}, set(), "another message"), 1),
    ],
)
def test_refusals(run: Report, expected: int) -> None:
    verdict = Verdict()
    require_refusal(verdict, run, "volume")
    assert len(verdict.violations) == expected
