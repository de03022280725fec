# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the manifests of the roles with ansible itself and without a cluster."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import yaml
from manifest_cases import PUBLISHED, Manifests, identities

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLES = ("eden", "infra", "seed", "task_store", "app_tier")
# What the phases apply.
TEMPLATES = (
    "__infra_namespace_templates",
    "__infra_network_templates",
    "__infra_disruption_templates",
    "__infra_foundation_templates",
    "__infra_service_templates",
    "['job.yaml.j2', 'commit.yaml.j2']",
    "__task_store_templates",
    "__app_tier_templates",
    "__app_tier_ingress_templates",
)


def rendered(work: pathlib.Path, cases: t.Mapping[str, dict[str, t.Any]]) -> dict[str, Manifests]:
    """For each case of inputs the objects of all phases; ``work`` is an empty directory."""
    (work / "files").symlink_to(ROOT / "roles" / "infra" / "files")
    (work / "templates").mkdir()
    for role in ROLES:
        for path in (ROOT / "roles" / role / "templates").iterdir():
            (work / "templates" / path.name).symlink_to(path)
    (work / "collections").symlink_to(ROOT / "collections")
    (work / "render.yml").write_text((pathlib.Path(__file__).parent / "render.yml").read_text())
    common = {
        **_role_variables("defaults"),
        **_role_variables("vars"),
        **PUBLISHED,
        "eden_image": "eden:1",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        # Where ansible has it when a role is at work.
        "role_path": str(ROOT / "roles" / "infra"),
        "__eden_templates": f"{{{{ {' + '.join(TEMPLATES)} }}}}",
        "output": str(work),
    }
    hosts = {
        case: {"eden_name": case, **inputs, "eden_identities": identities(inputs.get("eden_replicas", {}))}
        for case, inputs in cases.items()
    }
    (work / "inventory.yml").write_text(
        yaml.safe_dump({"all": {"vars": common, "hosts": hosts}}, width=100000)
    )
    subprocess.run(
        [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory.yml", "render.yml"],
        cwd=work,
        check=True,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        stdout=subprocess.DEVNULL,
    )
    return {case: json.loads((work / f"{case}.json").read_text()) for case in cases}


def _role_variables(part: str) -> dict[str, t.Any]:
    merged: dict[str, t.Any] = {}
    for role in ROLES:
        path = ROOT / "roles" / role / part / "main.yml"
        merged |= yaml.safe_load(path.read_text()) or {} if path.exists() else {}
    return merged
