# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that fail, as loud as ansible can be: no secret is in what they print, write, run or leave."""

from __future__ import annotations

import json
import secrets
import signal
import typing as t
from pathlib import Path

import pytest
from kills import CALLBACKS, AtWrite
from kube import PATHS
from oracles import Verdict, secret_values, tail
from pools import Pool, encoded, remove
from secret_search import Hit, SecretSearch
from surveillance import Surveillance
from thin_rig import Experiment, Outcome, Rig
from traffic import PASS, Action, Request

LOUD = ("-vvv", "--diff")
# The rig answers in this process, which looking all the time would slow down.
PAUSE = 0.1
# What a run writes before, such as its lock, is no token.
REISSUE = "/reissue-credential"
MISSING = "registry.example/eden/reference:leak"
# What each place shows of any run, so that no empty one is searched.
PLACES = {
    "output": b"PLAY [",
    "files": b"eden_namespace",
    "log": b"PLAY [",
    "results": b'"action": ',
    "arguments of processes": b"ansible\0playbook\0",
    "objects": b"eden-task-store-server",
}

Contents = dict[str, dict[str, bytes]]


def loud(directory: Path) -> dict[str, str]:
    """Environment variables by which ansible leaves as much as it can in the directory."""
    return {
        "ANSIBLE_KEEP_REMOTE_FILES": "true",
        "ANSIBLE_LOG_PATH": str(directory / "ansible.log"),
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(directory / "facts"),
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "outcomes",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "EDEN_RIG_OUTCOMES": str(directory / "outcomes.jsonl"),
    }


class Case(t.NamedTuple):
    """A run that fails.

    Attributes:
        prepare: brings it about; returns the secrets that it uses.
        says: a part of what the run prints.
        perform: runs it.
    """

    prepare: t.Callable[[Rig, Experiment], dict[str, str]]
    says: str
    perform: t.Callable[[Experiment], Outcome] = lambda experiment: experiment.run(*LOUD)


def missing_image(rig: Rig, experiment: Experiment) -> dict[str, str]:
    rig.node.missing_images.add(MISSING)
    experiment.variables["eden_image"] = MISSING
    return {}


def refused_inputs(_rig: Rig, experiment: Experiment) -> dict[str, str]:
    canary = secrets.token_hex(16)
    experiment.variables |= {"eden_timeout": "never", "eden_postgres_password": canary}
    return {"a password in a variable that does not exist": canary}


def missing_keys(_rig: Rig, experiment: Experiment) -> dict[str, str]:
    canary = secrets.token_hex(16)
    body = {"metadata": {"name": "given"}, "data": encoded({"POSTGRES_PASSWORD": canary})}
    if experiment.kube.get("Secret", experiment.namespace, "given") is None:
        experiment.kube.ask("POST", PATHS["Secret"].format(experiment.namespace), body)
    experiment.variables["eden_existing_secret"] = "given"
    return {"a password in an incomplete Secret": canary}


def missing_permissions(rig: Rig, experiment: Experiment) -> dict[str, str]:
    experiment.proxy.context = rig.control_plane.context_for("stranger")
    return {}


def unreachable(_rig: Rig, experiment: Experiment) -> dict[str, str]:
    content = json.loads(experiment.kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    experiment.kubeconfig.write_text(json.dumps(content))
    return {}


def lost_identity(_rig: Rig, experiment: Experiment) -> dict[str, str]:
    remove(experiment, "Secret", "eden-operator-identity")
    return {}


def half_replies(experiment: Experiment) -> Outcome:
    """Every answer of the task store to a request for a token is cut off."""

    def rule(request: Request) -> Action:
        return Action(reply="half") if request.side == "store" and request.write else PASS

    return experiment.run(*LOUD, rule=rule)


CASES = {
    "image that does not exist": Case(missing_image, MISSING),
    "refused inputs": Case(refused_inputs, "eden_postgres_password"),
    "incomplete Secret": Case(missing_keys, "lacks "),
    "missing permissions": Case(missing_permissions, "secrets in namespace "),
    "unreachable cluster": Case(unreachable, "127.0.0.1:1"),
    "killed when a token was issued": Case(
        lost_identity, "TASK [", lambda experiment: AtWrite(1, "answered", LOUD, REISSUE).apply(experiment)
    ),
    "answers cut off that carry a token": Case(lost_identity, "task store", half_replies),
}


def objects(experiment: Experiment) -> bytes:
    """Every object but Secrets."""
    kinds = (kind for kind in PATHS if kind != "Secret")
    found = {kind: experiment.kube.objects(kind, experiment.namespace) for kind in kinds}
    return json.dumps(found).encode()


def seen(watch: Surveillance, experiment: Experiment, outcome: Outcome) -> Contents:
    """All that a run has shown, by its place."""
    files = {
        place: content
        for place, content in watch.contents().items()
        if place.startswith("the file") and not place.startswith(f"the file {experiment.kubeconfig},")
    }
    log, results = (experiment.directory / name for name in ("ansible.log", "outcomes.jsonl"))
    return {
        "output": {"the output": outcome.output.encode()},
        "files": files,
        "log": {"the log": log.read_bytes()},
        "results": {"the results": results.read_bytes() if results.exists() else b""},
        "arguments of processes": {"the arguments of a process": b"\n".join(watch.arguments)},
        "objects": {"the objects": objects(experiment)},
    }


def hits(known: dict[str, str], contents: Contents) -> list[Hit]:
    """The secrets that are seen in any place."""
    search = SecretSearch(known)
    return [hit for content in contents.values() for hit in search.find_in(content)]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_failing_run_shows_no_secret(rig: Rig, pool: Pool, case: Case) -> None:
    with pool.borrowed(Verdict()) as experiment:
        variables, context = dict(experiment.variables), experiment.proxy.context
        kubeconfig, before = experiment.kubeconfig.read_text(), secret_values(experiment)
        (experiment.directory / "outcomes.jsonl").unlink(missing_ok=True)
        experiment.variables["eden_timeout"] = 60
        canaries = case.prepare(rig, experiment)
        experiment.environment = loud(experiment.directory)
        try:
            with Surveillance([experiment.directory], PAUSE) as watch:
                outcome = case.perform(experiment)
            contents = seen(watch, experiment, outcome)
        finally:
            experiment.environment, experiment.variables = {}, variables
            experiment.proxy.context = context
            experiment.kubeconfig.write_text(kubeconfig)
        known = {**before, **secret_values(experiment), **canaries}
        assert outcome.status in (2, 4, -signal.SIGKILL), tail(outcome)
        assert case.says in outcome.output, tail(outcome)
        for place, text in PLACES.items():
            empty = place == "results" and not contents[place]["the results"]
            assert empty or text in b"".join(contents[place].values()), place
        # The user's own inputs are in the file of the variables.
        own = str(experiment.directory / "variables.json")
        found = [hit for hit in hits(known, contents) if hit.secret not in canaries or own not in hit.place]
        assert [str(hit) for hit in found] == []
        repaired = experiment.run()
        assert repaired.status == 0, tail(repaired)


def test_a_run_with_a_key_that_is_used_leaves_no_file(rig: Rig, experiment: Experiment) -> None:
    """Straight to the API server, which asks for the certificate."""
    experiment.kubeconfig.write_text(rig.control_plane.kubeconfig.read_text())
    key = json.loads(experiment.kubeconfig.read_text())["users"][0]["user"]["client-key-data"]
    with Surveillance([experiment.temporary]) as watch:
        outcome = experiment.run("--check", *LOUD)
    assert outcome.status == 0, tail(outcome)
    contents = {**watch.contents(), "the output": outcome.output.encode()}
    assert SecretSearch({"the private key": key}).find_in(contents) == []
    assert list(experiment.temporary.rglob("*")) == []
