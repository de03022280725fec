# SPDX-License-Identifier: GPL-3.0-or-later
"""A thin control plane stands alone, leaves nothing behind, and tells why it did not start."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_plane import ControlPlane, StartError
from kubernetes.client import VersionApi
from kubernetes.config import new_client_from_config


def test_two_run_side_by_side_and_nothing_is_left_of_one_that_stopped(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with ControlPlane(tmp_path / "second") as second:
        assert second.url != control_plane.url
        with new_client_from_config(str(second.kubeconfig)) as client:
            assert VersionApi(client).get_code().git_version.startswith("v1.")
    here = str(tmp_path / "second")
    assert [process for process in Path("/proc").glob("[0-9]*") if working_directory(process) == here] == []


def working_directory(process: Path) -> str | None:
    try:
        return str((process / "cwd").readlink())
    except OSError:
        return None


def test_a_program_that_ends_tells_why(tmp_path: Path) -> None:
    (tmp_path / "audit.log").mkdir()
    told = r"(?s)kube-apiserver ended with status 1.*audit\.log: is a directory"
    with pytest.raises(StartError, match=told), ControlPlane(tmp_path):
        pass
