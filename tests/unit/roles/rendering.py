# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the roles with ansible itself, and with doubles in place of the modules that ask a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from manifest_cases import COMMIT, EXPERIMENT_ID, Manifests

ROOT = Path(__file__).resolve().parents[3]
PHASES = ("infra", "seed", "task_store", "identities", "app_tier", "verify")
SITE = [
    {
        "name": "Site",
        "hosts": "all",
        "gather_facts": False,
        "roles": [{"role": f"eden.reference.{phase}", "tags": [phase]} for phase in PHASES],
        "post_tasks": [
            {"ansible.builtin.import_role": {"name": "eden.reference.eden", "tasks_from": name}}
            for name in ("start", "unlock")
        ],
    }
]
# Appended to each module in place of its function; it writes down its calls, one a line.
DOUBLE = f"""

def run(task):
    import json, os
    p = task.parameters
    with open(os.path.join(os.environ["EDEN_CALLS"], p["namespace"]), "a") as file:
        name = __name__.rpartition(".")[2]
        print(json.dumps({{"module": name, "parameters": dict(p), "check_mode": task.check_mode}}), file=file)
    given = json.loads(os.environ["EDEN_RESULTS"])
    if name in given:
        return given[name]
    seeded = os.environ.get("EDEN_SEEDED")
    workers = p.get("workers") or []
    return {{
        "apply": lambda: {{"objects": [], "stopped": []}},
        "preflight": lambda: {{
            "experiment": p["experiment"],
            "topology": p["topology"],
            "experiment_id": p["inputs"]["eden_experiment_id"] or "{EXPERIMENT_ID}",
            "seed_commit": "{COMMIT}" if seeded else None,
            "seed_files": p["files"]["seed"].get("checksum", ""),
            "lock": {{"name": f"{{p['inputs']['eden_name']}}-lock", "holder": "this run"}},
            "unbound_claims": [] if seeded else list(p["topology"]["claims"].values()),
        }},
        "credentials": lambda: {{
            "digests": {{
                **{{reader: reader * 4 for reader in p["readers"]}},
                **{{f"{{component}}/environment": name for component, name in p["environments"].items()}},
            }}
        }},
        "rollout": lambda: {{
            "logs": {{w["name"]: "EDEN_REPO_SEEDED sha={COMMIT}" for w in p["workloads"]}},
            "workloads": [{{"name": w["name"], "state": "ready", "message": ""}} for w in p["workloads"]],
        }},
        "identities": lambda: {{
            "complete": True,
            "incomplete": [],
            "identities": {{
                worker["name"]: {{
                    "worker_id": f"wkr_{{number:026d}}",
                    "secret": worker["secret"],
                    "checksum": f"{{number:064x}}",
                    "action": "unchanged",
                }}
                for number, worker in enumerate(workers)
            }}
        }},
        "experiment_info": lambda: {{
            "available": True,
            "state": "running",
            "events": {{}},
            "ideations": 0,
            "workers": [{{"name": w["name"], "accepted": True}} for w in workers],
        }},
        "claims": lambda: {{"orphaned": [], "reclaimed": []}},
        "lock": lambda: {{"changed": False}},
        "start": lambda: {{"changed": False, "workloads": []}},
    }}["identities" if name == "identities_info" else name]()
"""


class Ran(t.NamedTuple):
    """A run of ansible: how it ended, what it printed, and the calls of modules by namespace."""

    code: int
    output: str
    calls: dict[str, list[dict[str, t.Any]]]

    def objects(self, namespace: str) -> Manifests:
        """What was applied."""
        return [
            item
            for call in self.calls[namespace]
            if call["module"] == "apply"
            for item in call["parameters"]["definitions"]
        ]


def play(
    work: Path,
    hosts: t.Mapping[str, t.Mapping[str, t.Any]],
    plays: t.Any = None,
    *arguments: str,
    seeded: bool = False,
    results: t.Mapping[str, t.Any] | None = None,
) -> Ran:
    """Run plays on hosts with these variables in ``work``, an empty directory.

    The ``results`` are returned by the modules of these names.
    """
    collection = work / "collections" / "ansible_collections" / "eden" / "reference"
    _link(ROOT, collection, leave_out=("plugins", "collections", ".git"))
    _link(ROOT / "plugins", collection / "plugins", leave_out=("modules",))
    _link(ROOT / "plugins" / "modules", collection / "plugins" / "modules", leave_out=())
    for path in list((collection / "plugins" / "modules").glob("[!_]*.py")):
        if path.stem != "inputs":
            code = path.read_text() + DOUBLE
            path.unlink()
            path.write_text(code)
    calls = work / "calls"
    calls.mkdir()
    common = {
        "eden_image": "eden:1",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    (work / "inventory.yml").write_text(
        yaml.safe_dump(
            {"all": {"vars": common, "hosts": {name: dict(given) for name, given in hosts.items()}}}
        )
    )
    (work / "play.yml").write_text(yaml.safe_dump(plays or SITE, sort_keys=False))
    ran = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            *("-i", "inventory.yml", "play.yml", *arguments),
        ],
        cwd=work,
        check=False,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(work / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
            "ANSIBLE_FORKS": "2",
            "EDEN_CALLS": str(calls),
            "EDEN_RESULTS": json.dumps(results or {}),
            **({"EDEN_SEEDED": "1"} if seeded else {}),
        },
        capture_output=True,
        text=True,
    )
    return Ran(
        ran.returncode,
        ran.stdout + ran.stderr,
        {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in calls.iterdir()},
    )


def rendered(work: Path, cases: t.Mapping[str, dict[str, t.Any]]) -> dict[str, Manifests]:
    """For each case of inputs the objects of all phases of a first run; ``work`` is an empty directory."""
    ran = play(work, {case: {"eden_name": case, **inputs} for case, inputs in cases.items()})
    assert ran.code == 0, ran.output[-10000:]
    return {
        case: ran.objects(inputs.get("eden_namespace", inputs.get("eden_name", case)))
        for case, inputs in cases.items()
    }


def _link(source: Path, target: Path, leave_out: t.Collection[str]) -> None:
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.name not in leave_out:
            (target / path.name).symlink_to(path)
