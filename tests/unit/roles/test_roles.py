# SPDX-License-Identifier: GPL-3.0-or-later
"""How the roles hang together: what they publish, read and apply, and what they keep to themselves."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from manifest_cases import COMMIT, EXPERIMENT_ID
from rendering import PHASES, ROOT, SITE, Ran, play

ROLES = ROOT / "roles"
ALL = ("eden", *PHASES)
# Templates that others extend or import.
BASES = {
    "pod.yaml.j2",
    "service.yaml.j2",
    "worker.yaml.j2",
    "host.yaml.j2",
    "packed.yaml.j2",
    "parts.j2",
    "experiment-files.j2",
}
MOST_TASKS = 30


def texts(role: str) -> dict[Path, str]:
    """The YAML and the templates of a role."""
    return {
        path: path.read_text()
        for path in sorted((ROLES / role).rglob("*"))
        if path.suffix in (".yml", ".j2") and path.is_file()
    }


def private(text: str) -> set[str]:
    """The private names that a text holds."""
    return set(re.findall(r"\b__[a-z]\w*\b(?<!__)", text))


def test_no_private_name_is_read_across_roles() -> None:
    names = {role: set().union(*map(private, texts(role).values())) for role in ALL}
    for role, found in names.items():
        assert {name for name in found if not re.match(rf"__{role}(_|$)", name)} == set()


def test_every_template_is_applied_by_its_role() -> None:
    for role in ALL:
        applied = {
            item if isinstance(item, str) else item["src"]
            for path, text in texts(role).items()
            if path.parent.name == "tasks"
            for task in tasks(yaml.safe_load(text))
            for item in task.get("eden.reference.apply", {}).get("templates", [])
        }
        assert {path.name for path in (ROLES / role / "templates").glob("*")} - BASES == applied


def tasks(found: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """All tasks of a file, those of blocks among them."""
    for task in found or []:
        yield from tasks(task.get("block"))
        yield task


def test_values_in_templates_are_quoted() -> None:
    for role in ALL:
        for path, text in texts(role).items():
            if path.suffix == ".j2":
                for expression in re.findall(r"{{(.*?)}}", text, re.DOTALL):
                    written = expression.strip()
                    assert re.search(
                        r"\| eden\.reference\.quote$"
                        r"|^parts\.(git_arguments|claim_spec|grace_seconds|\w+_probe)\("
                        r"|^parts\.volume_mounts\(|^files\.\w+\(|^super\(\)$"
                        r"|^(unpacking|container|parts_volume|script|environment_of_command)\("
                        r"|^parts\.git_user$|^__eden_launchers\[part\]$|^'batch/v1' if|^me\.kind$",
                        written,
                    ), f"{path.relative_to(ROOT)}: {written}"


def test_phases_have_no_inputs_of_their_own() -> None:
    for role in PHASES:
        assert not (ROLES / role / "defaults").exists()
        assert not (ROLES / role / "meta" / "argument_specs.yml").exists()
        used = set().union(*(set(re.findall(rf"\b{role}_\w+", text)) for text in texts(role).values()))
        assert not {name for name in used if f"{{{{ {name}" in "".join(texts(role).values())}


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run on an experiment that is as it should be."""
    return play(tmp_path_factory.mktemp("unchanged"), {"one": {}}, seeded=True)


def test_a_run_that_changes_nothing_has_few_tasks(unchanged: Ran) -> None:
    assert unchanged.code == 0, unchanged.output
    assert unchanged.output.count("\nTASK [") <= MOST_TASKS


def test_preflight_compares_what_the_manifests_say(tmp_path: Path) -> None:
    sizes = {key: f"{number}Gi" for number, key in enumerate(("postgres", "forgejo", "blob", "artifacts"), 1)}
    ran = play(tmp_path, {"one": {"eden_storage_sizes": sizes, "eden_storage_class": "fast"}})
    (preflight,) = [call["parameters"] for call in ran.calls["one"] if call["module"] == "preflight"]
    assert preflight["inputs"]["eden_storage_class"] == "fast"
    compared = {
        volume["variable"].partition(".")[2]: volume["size"] for volume in preflight["topology"]["volumes"]
    }
    assert compared == sizes
    applied = {
        item["metadata"]["name"]: item["spec"]
        for item in ran.objects("one")
        if item["kind"] in ("StatefulSet", "PersistentVolumeClaim")
    }
    for key in ("postgres", "forgejo"):
        applied[f"one-{key}"] = applied[f"one-{key}"]["volumeClaimTemplates"][0]["spec"]
    for key, size in sizes.items():
        assert applied[f"one-{key}"]["resources"]["requests"]["storage"] == size
        assert applied[f"one-{key}"]["storageClassName"] == "fast"


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_alone_reads_what_the_others_made_from_the_same_cluster(tmp_path: Path, phase: str) -> None:
    given = {"eden_context": "there", "eden_task_store_url": "http://store.example.org", "eden_timeout": 77}
    ran = play(tmp_path, {"one": given}, SITE, "--tags", phase, seeded=True)
    assert ran.code == 0, ran.output
    reads = {"task_store": {"credentials"}, "app_tier": {"credentials", "identities_info"}}
    makes = {
        "infra": {"apply", "credentials"},
        "seed": {"apply"},
        "task_store": {"apply"},
        "identities": {"identities"},
        "app_tier": {"apply"},
        "verify": {"rollout", "experiment_info", "claims"},
    }
    calls = ran.calls["one"]
    modules = {"preflight", "start", "lock"} | makes[phase] | reads.get(phase, set())
    assert {call["module"] for call in calls} == modules
    for call in calls:
        parameters = call["parameters"]
        assert parameters["context"] == "there"
        if parameters.get("wait_for") != []:
            assert parameters.get("timeout", 77) == 77
        assert parameters.get("task_store_url", "http://store.example.org") == "http://store.example.org"


@pytest.mark.parametrize("phase", ["task_store", "app_tier"])
def test_a_phase_alone_says_that_the_seed_is_missing(tmp_path: Path, phase: str) -> None:
    ran = play(tmp_path, {"one": {}}, SITE, "--tags", phase)
    assert ran.code != 0
    assert "run `--tags seed` first" in ran.output
    assert [call for call in ran.calls["one"] if call["module"] == "apply"] == []


def test_two_plays_on_one_host_keep_their_experiments_apart(tmp_path: Path) -> None:
    ids = {"a": EXPERIMENT_ID, "b": EXPERIMENT_ID.replace("0", "1")}
    plays = [
        {**SITE[0], "vars": {"eden_name": "a", "eden_experiment_id": ids["a"]}},
        {
            **SITE[0],
            "vars": {"eden_name": "b", "eden_experiment_id": ids["b"]},
            # These phases read what others make, and in this play they must read it again.
            "roles": [f"eden.reference.{phase}" for phase in ("app_tier", "verify")],
        },
    ]
    ran = play(tmp_path, {"one": {}}, plays, seeded=True)
    assert ran.code == 0, ran.output
    assert [call["module"] for call in ran.calls["b"]] == [
        *("preflight", "credentials", "identities_info", "apply", "rollout", "experiment_info"),
        *("claims", "start", "lock"),
    ]
    for name, experiment in ids.items():
        other = next(found for other, found in ids.items() if other != name)
        assert experiment in str(ran.calls[name])
        assert other not in str(ran.calls[name])
    assert "a-" not in [str(item["metadata"]["name"])[:2] for item in ran.objects("b")]


def included(*roles: str) -> list[dict[str, t.Any]]:
    """A play that includes roles for the experiments a and b by turns."""
    return [
        {
            "name": "Loop",
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {
                    "name": "Include",
                    "ansible.builtin.include_role": {"name": "{{ item.1 }}"},
                    "loop": "{{ ['a', 'b'] | product(roles) }}",
                    "vars": {
                        "eden_name": "{{ item.0 }}",
                        "eden_experiment_id": f"{{{{ '{EXPERIMENT_ID}'[:-1] ~ item.0 }}}}",
                    },
                }
            ],
            "vars": {"roles": [f"eden.reference.{role}" for role in roles]},
        }
    ]


def test_roles_included_for_several_experiments_never_mix_them(tmp_path: Path) -> None:
    refused = play(tmp_path / "without", {"one": {}}, included("infra", "task_store"), seeded=True)
    assert refused.code != 0
    assert "were checked for another experiment than b/b" in refused.output
    assert "b" not in refused.calls
    ran = play(tmp_path / "with", {"one": {}}, included("eden", "infra", "task_store"), seeded=True)
    assert ran.code == 0, ran.output
    for name, other in ("ab", "ba"):
        assert f"{EXPERIMENT_ID[:-1]}{name}" in str(ran.calls[name])
        assert f"{EXPERIMENT_ID[:-1]}{other}" not in str(ran.calls[name])


@pytest.mark.parametrize(
    "arguments",
    [("--skip-tags", "always"), ("--start-at-task", "Apply Postgres and Forgejo, and wait for them")],
)
def test_a_run_without_the_checks_says_what_is_missing(tmp_path: Path, arguments: tuple[str, str]) -> None:
    ran = play(tmp_path, {"one": {}}, SITE, *arguments)
    assert ran.code != 0
    assert "were not checked: run without --skip-tags always and without --start-at-task" in ran.output
    assert COMMIT not in str(ran.calls)


def test_every_module_after_preflight_has_the_lock(unchanged: Ran) -> None:
    calls = [call for call in unchanged.calls["one"] if call["module"] not in ("inputs", "preflight")]
    assert {call["module"] for call in calls if not call["parameters"]["lock"]} == set()
    assert calls[-1]["module"] == "lock"
