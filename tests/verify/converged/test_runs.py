# SPDX-License-Identifier: GPL-3.0-or-later
"""A further run changes and writes nothing, nor does a check, nor a phase alone."""

from __future__ import annotations

import re
from pathlib import Path

import audit
import pytest
import yaml
from testbed import CHECKOUT, PHASES, Testbed


def test_the_phases_are_all_of_them() -> None:
    (play,) = yaml.safe_load((CHECKOUT / "playbooks/site.yml").read_text())
    assert tuple(tag for role in play["roles"] for tag in role["tags"]) == PHASES


def test_a_second_run_changes_and_writes_nothing(testbed: Testbed) -> None:
    with audit.watched(testbed) as window:
        run = testbed.site()
    assert run.status == 0, run.output
    assert (run.count("changed"), run.count("failed")) == (0, 0), run.output
    assert window.requests, "the run asked the API server for nothing"
    assert window.writes == []


def test_a_check_changes_and_writes_nothing(testbed: Testbed) -> None:
    with audit.watched(testbed) as window:
        run = testbed.site("--check", "--diff")
    assert run.status == 0, run.output
    assert (run.count("changed"), run.count("failed")) == (0, 0), run.output
    assert window.writes == []


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_alone_changes_and_writes_nothing(testbed: Testbed, phase: str) -> None:
    with audit.watched(testbed) as window:
        run = testbed.site("--tags", phase)
    assert run.status == 0, run.output
    assert (run.count("changed"), run.count("failed")) == (0, 0), run.output
    assert window.writes == []


CONFIGMAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counted", "namespace": "default"}}


def test_writes_are_counted_and_questions_are_not(testbed: Testbed, tmp_path: Path) -> None:
    (tmp_path / "configmap.yaml").write_text(yaml.safe_dump(CONFIGMAP))
    file = ("--filename", str(tmp_path / "configmap.yaml"))
    with audit.watched(testbed) as window:
        testbed.kubectl("create", *file, "--dry-run=server")
        testbed.kubectl("auth", "can-i", "create", "pods")
        testbed.kubectl("create", *file)
        testbed.kubectl("patch", *file, "--patch", "data: {key: value}")
        testbed.kubectl("delete", *file)
    writes = [re.sub(r"\?.*", "", write).split()[:2] for write in window.writes]
    path = "/api/v1/namespaces/default/configmaps"
    assert writes == [["create", path], ["patch", f"{path}/counted"], ["delete", f"{path}/counted"]]
