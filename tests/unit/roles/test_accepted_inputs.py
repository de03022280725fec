# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs that the checks take give manifests that Kubernetes takes, as far as its schema says."""

from __future__ import annotations

import os
import re

import kubernetes_validate
import pytest
from input_strategies import ROLE, SPEC, accepted_cases
from rendering import rendered

# As many hosts of one run of ansible.
CASES = max(5, int(os.environ.get("EDEN_FUZZ_EXAMPLES", "0")) // 20)


def test_inputs_that_are_accepted_render(tmp_path_factory: pytest.TempPathFactory) -> None:
    cases = accepted_cases(CASES)
    assert len(cases) == CASES
    manifests = rendered(tmp_path_factory.mktemp("accepted"), cases)
    for objects in manifests.values():
        assert len({(item["kind"], item["metadata"]["name"]) for item in objects}) == len(objects) > 20
        for item in objects:
            kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
            assert re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", item["metadata"]["name"])


def test_roles_read_numbers_and_booleans_through_filters() -> None:
    """The check accepts strings for them and converts nothing."""
    unfiltered = [
        f"{path.relative_to(ROLE.parent)}: {name} without | {spec['type']}"
        for path in ROLE.parent.rglob("*")
        if path.suffix in (".yml", ".j2") and path.parent.name in ("tasks", "templates", "vars", "main")
        for name, spec in SPEC.items()
        if spec["type"] in ("bool", "int", "float")
        and re.search(rf"^[^#\n]*\b{name}\b(?! \| {spec['type']}\b|: )", path.read_text(), re.MULTILINE)
    ]
    assert unfiltered == []
