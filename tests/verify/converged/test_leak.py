# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is seen anywhere but in the Secrets: not while an experiment comes up, and not afterwards.

An experiment of its own is brought up, repaired and run again, as loud as ansible can be, and watched. Then
all that could show a secret is searched. At the end a secret is planted in each place, and found there.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from experiment import Experiment
from secret_search import Hit, SecretSearch
from surveillance import Surveillance
from testbed import CHECKOUT, HOST, Run, Testbed, further
from truth_table import OPERATOR

NAME = "leak"
LOUD = ("-vvv", "--diff")
# What each place must show, so that no empty one is searched.
PLACES = {
    "output": b"TASK [eden.reference.identities : ",
    "fact cache": b"eden_identities",
    "arguments of processes": b"ansible-playbook\0",
    "arguments of the node's processes": b"eden_task_store_server\0",
    "objects": b"leak-task-store-server",
    "pod logs": b"database system is ready",
    "audit log": b"/api/v1/namespaces/leak/secrets/",
}
PLANTED = "planted"

Contents = dict[str, dict[str, bytes]]


@dataclass
class Watched:
    """The runs that were watched, the secrets that there are or were, and all that was seen."""

    runs: list[Run] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    contents: Contents = field(default_factory=dict)

    def hits(self, place: str) -> list[Hit]:
        """The secrets that are seen in a place."""
        return SecretSearch(self.secrets).find_in(self.contents[place])


def _settings(directory: Path) -> dict[str, str]:
    """Environment variables by which ansible leaves behind, in the directory, as much as it can."""
    for name in ("home", "tmp"):
        (directory / name).mkdir(exist_ok=True)
    return {
        "HOME": str(directory / "home"),
        "TMPDIR": str(directory / "tmp"),
        "ANSIBLE_HOME": str(directory / "home/.ansible"),
        "ANSIBLE_KEEP_REMOTE_FILES": "true",
        "ANSIBLE_LOG_PATH": str(directory / "ansible.log"),
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(directory / "facts"),
        # The checkout's collection, for a playbook that does not lie beside it.
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
    }


def _seen(testbed: Testbed, watch: Surveillance, runs: t.Iterable[Run]) -> Contents:
    files = {place: content for place, content in watch.contents().items() if place.startswith("the file")}
    return {
        "output": {f"the output of run {number}": run.output.encode() for number, run in enumerate(runs, 1)},
        "fact cache": files,
        "arguments of processes": {"the arguments of a process": b"\n".join(watch.arguments)},
        "arguments of the node's processes": {
            "the arguments of a process of the node": _node_processes(testbed)
        },
        "objects": {"the objects": _objects(testbed)},
        "pod logs": _pod_logs(testbed),
        "audit log": {"the audit log": b"".join(testbed.audit_log())},
    }


def _node_processes(testbed: Testbed) -> bytes:
    script = 'for process in /proc/[0-9]*; do cat "$process/cmdline" && echo; done 2>/dev/null; true'
    return testbed.command("docker", "exec", testbed.node, "sh", "-c", script)


def _objects(testbed: Testbed) -> bytes:
    """Every object of every kind but Secrets, with its annotations and its managed fields."""
    kinds = testbed.kubectl("api-resources", "--verbs=list", "--output=name").decode().split()
    others = ",".join(kind for kind in kinds if kind != "secrets")
    return testbed.kubectl("get", others, "--all-namespaces", "--show-managed-fields", "--output=json")


def _pod_logs(testbed: Testbed) -> dict[str, bytes]:
    logs = {}
    for pod in testbed.read("pods", "--all-namespaces")["items"]:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        logs[f"the log of {namespace}/{name}"] = testbed.kubectl(
            "logs", "--namespace", namespace, name, "--all-containers"
        )
    return logs


def _patch_token(testbed: Testbed, secret: str, token: str, directory: Path) -> None:
    patch = directory / "patch.json"
    patch.write_text(json.dumps({"data": {"token": base64.b64encode(token.encode()).decode()}}))
    testbed.kubectl("patch", "secret", secret, "--namespace", NAME, "--patch-file", str(patch))


@pytest.fixture(scope="module")
def watched(
    testbed: Testbed, experiment: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Watched]:
    """An experiment that came up, lost two identities, got them back, and was run once more."""
    directory, elsewhere = tmp_path_factory.mktemp("watched"), tmp_path_factory.mktemp("elsewhere")
    second = Experiment(testbed, NAME)
    found = Watched(secrets=experiment.secrets())
    arguments = (*LOUD, *further(NAME, eden_log_level="debug"))

    def run() -> None:
        record = CHECKOUT / "tests/leak/record.yml"
        found.runs.append(testbed.playbook(record, *arguments, **_settings(directory)))
        assert found.runs[-1].status == 0, found.runs[-1].output[-5000:]
        found.secrets |= {
            f"{label} after run {len(found.runs)}": value for label, value in second.secrets().items()
        }

    try:
        with Surveillance([directory]) as watch:
            run()
            wrong = secrets.token_hex(32)
            found.secrets["a wrong token"] = wrong
            _patch_token(testbed, f"{NAME}-evaluator-host-1-identity", wrong, elsewhere)
            testbed.kubectl("delete", "secret", f"{NAME}-{OPERATOR}-identity", "--namespace", NAME)
            run()
            run()
        found.contents = _seen(testbed, watch, found.runs)
        yield found
    finally:
        testbed.kubectl("delete", "namespace", NAME, "--ignore-not-found", "--wait=false")


def test_the_runs_did_what_shows_secrets(watched: Watched) -> None:
    assert [run.count("changed") > 0 for run in watched.runs] == [True, True, False]
    renewed = {label.split(" after run ")[0] for label in watched.secrets if label.startswith(NAME)}
    changed = {
        label
        for label in renewed
        if watched.secrets[f"{label} after run 1"] != watched.secrets[f"{label} after run 2"]
    }
    assert changed == {f"{NAME}: token of {name}" for name in ("evaluator-host-1", OPERATOR)}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_shows_what_it_should(watched: Watched, place: str) -> None:
    assert any(PLACES[place] in content for content in watched.contents[place].values())


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_seen(watched: Watched, place: str) -> None:
    assert [str(hit) for hit in watched.hits(place)] == []


def _pod(value: str, image: str) -> dict[str, t.Any]:
    """A pod that prints a secret and has it among its arguments."""
    program = "import sys, time; print(sys.argv[1], flush=True); time.sleep(3600)"
    container = {"name": "plant", "image": image, "command": ["python", "-c", program, value]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": PLANTED, "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


@pytest.fixture(scope="module")
def planted(
    testbed: Testbed, watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Watched]:
    """The same places, with a secret planted in each."""
    directory, elsewhere = tmp_path_factory.mktemp("planted"), tmp_path_factory.mktemp("elsewhere")
    value = secrets.token_hex(32)
    image = Experiment(testbed, HOST).pods("orchestrator")[0]["spec"]["containers"][0]["image"]
    manifest = elsewhere / "pod.json"
    manifest.write_text(json.dumps(_pod(value, image)))
    testbed.kubectl("create", "--filename", str(manifest))
    try:
        waiting = [sys.executable, "-c", "import sys; sys.stdin.read()", value]
        with Surveillance([directory]) as watch:
            with subprocess.Popen(waiting, stdin=subprocess.PIPE) as child:
                watch.await_look()
                t.cast("t.IO[bytes]", child.stdin).close()
            settings = _settings(directory) | {"PLANTED": value}
            run = testbed.playbook(CHECKOUT / "tests/leak/plant.yml", **settings)
        assert run.status == 0, run.output
        testbed.kubectl("wait", "--for=condition=Ready", f"pod/{PLANTED}", "--timeout=120s")
        testbed.kubectl("get", "configmap", value, "--ignore-not-found")
        yield Watched([run], {"the planted one": value} | watched.secrets, _seen(testbed, watch, [run]))
    finally:
        testbed.kubectl("delete", "--filename", str(manifest), "--wait=false")


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_secret_is_found(planted: Watched, place: str) -> None:
    assert {hit.secret for hit in planted.hits(place)} == {"the planted one"}
