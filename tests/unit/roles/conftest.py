# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the manifests of the roles once for all tests, with ansible itself and without a cluster."""

from __future__ import annotations

import pytest
from manifest_cases import CASES, Manifests
from rendering import rendered


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifests]:
    """For each case the rendered objects of all phases."""
    return rendered(tmp_path_factory.mktemp("render"), CASES)
