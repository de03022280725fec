# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for the files, commands and workers of an experiment together."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest
from input_strategies import RIGHT
from manifest_cases import EXPERIMENT

from ansible_collections.eden.reference.plugins.module_utils._eden import files, inputs, inputs_experiment
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Problem

DEFAULT = inputs.specification()["eden_experiment_config"]["default"]
ALL = {key: {"mode": "subprocess"} for key in inputs_experiment.HOSTS}
GIT = {"git": "https://git.example.org/a.git", "commit": "0123456789" * 4}
HOST = "eden_workers.executor_host"


def check(**changes: t.Any) -> list[Problem]:
    return inputs.check({**RIGHT, **changes})


def executor(**worker: t.Any) -> dict[str, t.Any]:
    return {"eden_workers": {"executor_host": worker}}


def running(command: t.Any, **changes: t.Any) -> dict[str, t.Any]:
    """An executor that runs this command."""
    config = {**DEFAULT, "execution_command": command}
    return {**executor(mode="subprocess"), "eden_experiment_config": config, **changes}


VALID: dict[str, dict[str, t.Any]] = {
    "directory": {"eden_experiment_dir": str(EXPERIMENT), "eden_workers": ALL},
    "seed": {"eden_seed_dir": str(EXPERIMENT / "start")},
    "scripted with resources": executor(replicas=2, resources={"limits": {"cpu": 1}}, pass_credential=False),
    "image": {
        **running("make", eden_replicas={"executor_host": "2"}),
        **executor(mode="subprocess", image="a:1", image_pull_policy="Never", replicas=2, env_secret="a"),
    },
    "in an image built on EDEN's": {
        **running("x"),
        **executor(mode="subprocess", image="a:1", placement="host"),
    },
    "files in an image": running("x", eden_experiment_source={"image": "a:1", "path": "/a"}),
    "files in git": running('"$EDEN_EXPERIMENT_DIR"/x', eden_experiment_source=GIT),
    "files on a claim": running("x", eden_experiment_source={"claim": "a", "git": ""}),
    "variables": running(
        "EDEN_OWN=1 x $EDEN_OWN ${EDEN_TASK_JSON} $EDEN_OUTPUT ${EDEN_ELSE:-1} | awk '{print}'"
    ),
}


@pytest.mark.parametrize("changes", VALID.values(), ids=VALID)
def test_valid_inputs(changes: dict[str, t.Any]) -> None:
    assert check(**changes) == []


INVALID: dict[str, tuple[dict[str, t.Any], str, str]] = {
    "config and directory": (
        {
            "eden_experiment_dir": str(EXPERIMENT),
            "eden_experiment_config": {**DEFAULT, "parallel_variants": 2},
        },
        "eden_experiment_dir",
        "excludes eden_experiment_config",
    ),
    "file and directory": (
        {"eden_experiment_dir": str(EXPERIMENT), "eden_experiment_config_file": "a.yaml"},
        "eden_experiment_dir",
        "excludes eden_experiment_config_file",
    ),
    "source and directory": (
        {"eden_experiment_dir": str(EXPERIMENT), "eden_experiment_source": {"claim": "a"}},
        "eden_experiment_source",
        "excludes eden_experiment_dir",
    ),
    "no config": (
        {"eden_experiment_dir": str(EXPERIMENT / "start")},
        "eden_experiment_dir/.eden/config.yaml",
        "(No such file or directory)",
    ),
    "no seed": ({"eden_seed_dir": "/none"}, "eden_seed_dir", "which does not exist"),
    "seed is a file": ({"eden_seed_dir": str(EXPERIMENT / "execute")}, "eden_seed_dir", "is no directory"),
    "two sources": (
        {"eden_experiment_source": {**GIT, "claim": "a"}},
        "eden_experiment_source",
        "exactly one of image, git and claim, got git and claim",
    ),
    "no source": ({"eden_experiment_source": {"path": "a"}}, "eden_experiment_source", "none of them"),
    "no commit": (
        {"eden_experiment_source": {"git": GIT["git"]}},
        "eden_experiment_source.commit",
        "is required with git",
    ),
    "commit of a claim": (
        {"eden_experiment_source": {"claim": "a", "commit": GIT["commit"]}},
        "eden_experiment_source.commit",
        "has no meaning with claim",
    ),
    "root of an image": (
        {"eden_experiment_source": {"image": "a:1", "path": "/"}},
        "eden_experiment_source.path",
        "is required with image",
    ),
    "path leaves": (
        {"eden_experiment_source": {"claim": "a", "path": "a/../.."}},
        "eden_experiment_source.path",
        "which leaves the directory",
    ),
    "branch": (
        {"eden_experiment_source": {**GIT, "commit": "main"}},
        "eden_experiment_source.commit",
        "must be the id of a commit",
    ),
    "password": (
        {"eden_experiment_source": {**GIT, "git": "https://me:hunter2@git.example.org/a"}},
        "eden_experiment_source.git",
        "contains a user name",
    ),
    "replicas": (
        {**executor(replicas=3), "eden_replicas": {"executor_host": 2}},
        f"{HOST}.replicas",
        "must not differ from eden_replicas.executor_host, which is 2",
    ),
    "scripted in an image": (
        executor(image="a:1"),
        f"{HOST}.image",
        "has no meaning in the mode scripted",
    ),
    "scripted with keys": (executor(env_secret="a"), f"{HOST}.env_secret", "mode: subprocess"),
    "beside without an image": (
        {**running("x"), **executor(mode="subprocess", placement="beside")},
        f"{HOST}.image",
        "is required in the placement beside",
    ),
    "policy without an image": (
        {**running("x"), **executor(mode="subprocess", image_pull_policy="Always")},
        f"{HOST}.image_pull_policy",
        "has no meaning without image",
    ),
    "no command": (executor(mode="subprocess"), f"{HOST}.mode", "needs a command, execution_command"),
    "empty command": (running(" "), f"{HOST}.mode", "which has none"),
    "no string": (running(["a"]), f"{HOST}.mode", "which has none"),
    "misspelled command": (
        {**executor(mode="subprocess"), "eden_experiment_config": {**DEFAULT, "executor_command": "x"}},
        f"{HOST}.mode",
        "(it has executor_command)",
    ),
    "unknown variable": (
        running("x ${EDEN_TASK_JSN}"),
        f"{HOST}.mode",
        "a variable that EDEN does not set for it; for example $EDEN_TASK_JSON",
    ),
    "variable of the ideator": (
        running("x $EDEN_IDEAS_PER_IDEATION"),
        f"{HOST}.mode",
        "uses $EDEN_IDEAS_PER_IDEATION",
    ),
    "placeholder": (
        running("x {worktree}"),
        f"{HOST}.mode",
        "has the placeholder {worktree}, and EDEN replaces none; for example $EDEN_WORKTREE",
    ),
    "no files": (
        running("$EDEN_EXPERIMENT_DIR/x"),
        f"{HOST}.mode",
        "needs the experiment's files, which its execution_command uses",
    ),
    "unknown mode": (executor(mode="docker"), f"{HOST}.mode", "must be one of scripted, subprocess"),
    "unknown key": (executor(mod="scripted"), f"{HOST}.mod", "did you mean mode?"),
    "a string for a worker": (
        {"eden_workers": {"executor_host": "subprocess"}},
        HOST,
        "must be a mapping",
    ),
    "a string for workers": ({"eden_workers": "subprocess"}, "eden_workers", "must be a mapping"),
    "a string for tolerations": (executor(tolerations="gpu"), f"{HOST}.tolerations", "must be a list"),
    "a number for a label": (
        executor(node_selector={"gpu": 1}),
        f"{HOST}.node_selector.gpu",
        "must be a string",
    ),
    "too many": (executor(replicas=100), f"{HOST}.replicas", "must be an integer from 0 to 99"),
    "egress": (executor(egress=[{"form": []}]), f"{HOST}.egress[0].form", "is not a key"),
    "mistyped resources": (
        executor(resources={"limits": {"mem": 1}}),
        f"{HOST}.resources.limits.mem",
        "mem",
    ),
    "access mode": (
        {"eden_artifacts_access_mode": "ReadWriteMulti"},
        "eden_artifacts_access_mode",
        "must be one of ReadWriteOnce, ReadWriteMany",
    ),
}


@pytest.mark.parametrize(("changes", "variable", "words"), INVALID.values(), ids=INVALID)
def test_invalid_inputs(changes: dict[str, t.Any], variable: str, words: str) -> None:
    [problem] = check(**changes)
    assert problem.variable == variable
    assert words in problem.line
    assert problem.example
    assert problem.line.isascii()
    assert "hunter2" not in problem.line


BROKEN: dict[str, tuple[t.Callable[[Path], object], str]] = {
    "missing": (lambda tree: (tree / "ideate.py").unlink(), "'ideate.py', which ideation_command uses"),
    "not executable": (lambda tree: (tree / "execute").chmod(0o644), "as an executable file: chmod +x"),
    "CRLF": (
        lambda tree: (tree / "execute").write_bytes(b"#!/bin/sh\r\n"),
        "'execute', which execution_command",
    ),
    "link": (lambda tree: (tree / "l").symlink_to("/etc"), "'l', a symbolic link that leaves it (to '/etc')"),
    "unknown key": (
        lambda tree: (tree / ".eden" / "config.yaml").write_text("parallel_variants: no"),
        "eden_experiment_dir/.eden/config.yaml.parallel_variants: must be",
    ),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_a_directory_that_is_broken(change: t.Callable[[Path], object], words: str, tmp_path: Path) -> None:
    tree = Path(shutil.copytree(EXPERIMENT, tmp_path / "tree"))
    change(tree)
    found = check(eden_experiment_dir=str(tree), eden_workers=ALL)
    assert any(words in problem.line for problem in found)
    assert {problem.variable.partition("/")[0] for problem in found} == {"eden_experiment_dir"}


def test_a_scripted_experiment_needs_none_of_its_commands(tmp_path: Path) -> None:
    shutil.copytree(EXPERIMENT / ".eden", tmp_path / ".eden")
    assert check(eden_experiment_dir=str(tmp_path)) == []


def test_what_is_published() -> None:
    variables = {**RIGHT, "eden_experiment_dir": str(EXPERIMENT), "eden_seed_dir": str(EXPERIMENT / "start")}
    assert inputs_experiment.packed(variables, files.pack) == {
        "experiment": {"checksum": files.pack(str(EXPERIMENT)).checksum, "parts": 1},
        "seed": {"checksum": files.pack(str(EXPERIMENT / "start")).checksum, "parts": 1},
    }
    assert inputs_experiment.commands(inputs.experiment_config_of(variables)) == {
        "ideator-host": 'python3 "$EDEN_EXPERIMENT_DIR/ideate.py"',
        "executor-host": "$EDEN_EXPERIMENT_DIR/execute",
        "evaluator-host": "python3 ${EDEN_EXPERIMENT_DIR}/evaluate.py",
    }


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"eden_worker_egress": [{}]}, False),
        ({"eden_network_policies": False}, False),
        ({"eden_workers": {key: {"egress": [{}]} for key in ALL}}, False),
        ({"eden_experiment_source": {"claim": "a"}}, False),
    ],
)
def test_git_needs_a_connection(changes: dict[str, t.Any], warned: bool) -> None:
    warnings = inputs.warnings({**RIGHT, "eden_experiment_source": GIT, **changes})
    assert any("eden_experiment_source.git" in words for words in warnings) is warned
