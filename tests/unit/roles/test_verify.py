# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role verify requires, and what the playbook status shows."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, SITE, play

PLAY = yaml.safe_load((ROOT / "playbooks/status.yml").read_text())
HOSTS = [{**PLAY[0], "hosts": "all"}]
ORPHAN = {
    "message": "execution-1 was claimed 9 s ago by executor-host-1, none of whose containers has run since"
}


def results(*states: str, available: bool = True, orphaned: bool = False) -> dict[str, t.Any]:
    """What the modules return for workloads in these states."""
    messages = {
        "ready": "1 of 1 replicas ready",
        "stopped": "it has 0 replicas",
        "missing": "it does not exist",
    }
    return {
        "rollout": {
            "logs": {},
            "workloads": [
                {
                    "name": f"one-{number}",
                    "state": state,
                    "message": messages.get(state, "0 of 1 replicas ready"),
                }
                for number, state in enumerate(states)
            ],
        },
        "experiment_info": {
            "available": available,
            "state": "running" if available else "",
            "workers": [{"name": "web-ui-1", "accepted": True}] if available else [],
            "events": {"task.created": 3} if available else {},
            "ideations": 1,
        },
        "claims": {"orphaned": [ORPHAN] if orphaned else [], "reclaimed": []},
    }


def shown(tmp_path: Path, given: dict[str, t.Any]) -> dict[str, t.Any]:
    """What status shows of the experiment."""
    ran = play(tmp_path, {"one": {}}, HOSTS, seeded=True, results=given)
    assert ran.code == 0, ran.output
    claims = next(call for call in ran.calls["one"] if call["module"] == "claims")
    assert (claims["parameters"]["state"], claims["check_mode"]) == ("reported", True)
    info = next(call for call in ran.calls["one"] if call["module"] == "experiment_info")
    assert info["parameters"]["events"] is True
    assert all(call["check_mode"] for call in ran.calls["one"] if call["module"] == "rollout")
    text = ran.output.partition("TASK [eden.reference.verify : Show the experiment]")[2]
    document: dict[str, t.Any] = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]["msg"]
    return document


def test_status_of_an_experiment_that_runs(tmp_path: Path) -> None:
    found = shown(tmp_path, results("ready", "ready"))
    assert found["state"] == "running"
    assert found["workloads"] == dict.fromkeys(["one-0", "one-1"], "1 of 1 replicas ready")
    assert found["workers"] == ["web-ui-1"]
    assert found["events"] == {"task.created": 3}
    assert found["attention"] == []


def test_status_names_what_is_wrong_and_the_way_out(tmp_path: Path) -> None:
    found = shown(
        tmp_path, results("stopped", "stopped", "missing", "not ready", available=False, orphaned=True)
    )
    assert found["state"] == "unknown"
    assert found["attention"] == [
        "one-2 missing: run the playbook `site`, which creates it.",
        "one-0, one-1 stopped (0 replicas): run the playbook `site`, which starts it.",
        "one-3 not ready: run the playbook `site`, which waits for it or finds the cause.",
        "The task store was not asked: it has no ready pod, or the credentials do not exist.",
        f"{ORPHAN['message']}: run the playbook `site`, which reclaims it.",
    ]


@pytest.mark.parametrize("check", [False, True])
def test_verify_fails_if_a_workload_is_stopped(tmp_path: Path, check: bool) -> None:
    arguments = ["--tags", "verify", *(["--check"] if check else [])]
    ran = play(tmp_path, {"one": {}}, SITE, *arguments, seeded=True, results=results("ready", "stopped"))
    # In check mode the run before would have started it.
    assert (ran.code == 0) is check, ran.output
    assert ("one-1 stopped (0 replicas): run the playbook" in ran.output) is not check
    info = next(call for call in ran.calls["one"] if call["module"] == "experiment_info")
    assert not info["parameters"]["events"]
    assert ("claims" in [call["module"] for call in ran.calls["one"]]) is check


def test_reclaimed_tasks_are_a_change(tmp_path: Path) -> None:
    given = results("ready") | {"claims": {"changed": True, "orphaned": [ORPHAN], "reclaimed": [ORPHAN]}}
    ran = play(tmp_path, {"one": {}}, SITE, "--tags", "verify", seeded=True, results=given)
    assert ran.code == 0, ran.output
    assert "changed=1" in ran.output
    claims = next(call["parameters"] for call in ran.calls["one"] if call["module"] == "claims")
    assert claims["state"] == "reclaimed"
    assert claims["operator"] == "one-operator-identity"
    assert claims["forgejo"] == {
        "service": "one-forgejo",
        "port": 3000,
        "repository": f"eden/{claims['experiment_id']}",
        "secret": "one-credentials",
        "key": "FORGEJO_REMOTE_PASSWORD",
    }
    assert {worker["workload"]["name"] for worker in claims["workers"] if worker["workload"]} == {
        "one-orchestrator",
        "one-web-ui",
        *(f"one-{role}-host-1" for role in ("ideator", "executor", "evaluator")),
    }
