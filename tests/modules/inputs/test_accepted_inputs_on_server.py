# SPDX-License-Identifier: GPL-3.0-or-later
"""A real API server takes what is rendered from inputs that the checks take."""

from __future__ import annotations

import os
import pathlib

from control_plane import ControlPlane
from input_strategies import accepted_cases
from manifest_cases import CASES, Manifests
from rendering import rendered

from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube.apply import prepare
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster

# As many hosts of one run of ansible; other ones than those of the unit tests come after those.
COUNT = max(10, int(os.environ.get("EDEN_FUZZ_EXAMPLES", "0")) // 20)


def refusals(control_plane: ControlPlane, namespace: str, case: str, objects: Manifests) -> list[str]:
    """What the server refuses in a dry run."""
    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    assert objects
    refused: list[str] = []
    for item in objects:
        try:
            answer = cluster.apply(prepare(item, namespace), dry_run=True)
            assert answer.get("data") == item.get("data")
            annotations = item["metadata"].get("annotations", {})
            assert annotations.items() <= answer["metadata"].get("annotations", {}).items()
        except ClusterError as error:
            refused.append(f"{case}: {error.message}")
    return refused


def test_the_server_takes_what_the_checks_take(
    control_plane: ControlPlane, namespace: str, tmp_path: pathlib.Path
) -> None:
    cases = accepted_cases(COUNT)
    assert len(cases) == COUNT
    for case, objects in rendered(tmp_path, cases).items():
        assert refusals(control_plane, namespace, case, objects) == []


def test_the_server_takes_hosts_that_run_commands(
    control_plane: ControlPlane, namespace: str, tmp_path: pathlib.Path
) -> None:
    cases = {case: CASES[case] for case in ("commands", "beside")}
    for case, objects in rendered(tmp_path, cases).items():
        assert refusals(control_plane, namespace, case, objects) == []
