# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the inputs of an experiment that runs commands of its own: its files, its commands, and its workers.

These are rules for several inputs together; each of them alone is valid already.
This module is private to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden import files
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Problem, shown, suggestion

Variables: t.TypeAlias = "t.Mapping[str, t.Any]"
Pack: t.TypeAlias = "t.Callable[[str], files.Packed]"

DIRECTORY, SEED, SOURCE = "eden_experiment_dir", "eden_seed_dir", "eden_experiment_source"
WORKERS, REPLICAS = "eden_workers", "eden_replicas"
CONFIG_IN_DIRECTORY = ".eden/config.yaml"
# The keys of the experiment config with the commands, by the hosts that run them.
COMMANDS = {
    "ideator_host": "ideation_command",
    "executor_host": "execution_command",
    "evaluator_host": "evaluation_command",
}
HOSTS = tuple(COMMANDS)
# What a scripted host has no use for.
OF_COMMANDS = ("image", "image_pull_policy", "placement", "env_secret", "pass_credential")

# The variables that EDEN sets for a command.
_EVERYWHERE = {
    "EDEN_EXPERIMENT_DIR",
    "EDEN_REPO_DIR",
    "EDEN_ARTIFACT_URL",
    "EDEN_ARTIFACT_PATH_ROOT",
    "EDEN_READONLY_STORE_URL",
    "EDEN_WORKER_ID",
    "EDEN_WORKER_CREDENTIAL",
}
_OF_TASK = {"EDEN_TASK_JSON", "EDEN_OUTPUT", "EDEN_WORKTREE"}
VARIABLES = {
    "ideator_host": _EVERYWHERE | {"EDEN_BASE_COMMIT_SHA", "EDEN_IDEAS_PER_IDEATION"},
    "executor_host": _EVERYWHERE | _OF_TASK,
    "evaluator_host": _EVERYWHERE | _OF_TASK,
}
_VARIABLE = re.compile(r"\$(?:\{(EDEN_\w+)\}|(EDEN_\w+))")
_ASSIGNED = re.compile(r"\b(EDEN_\w+)=")
_BRACES = re.compile(r"(?<!\$)\{(\w+)\}")
_FILE = re.compile(
    r"(?P<first>^\s*(?:exec\s+)?\"?)?\$(?:\{EDEN_EXPERIMENT_DIR\}|EDEN_EXPERIMENT_DIR)/(?P<name>[\w./+-]+)"
    r"(?=[\"\s;&|)<>]|$)"
)

PACKED_RULE = (
    "must name a directory on this machine, of at most 6 MiB when compressed, with nothing in it but files, "
    "directories, and symbolic links that stay in it"
)
EXAMPLES = {DIRECTORY: "'{{ inventory_dir }}/experiment'", SEED: "'{{ inventory_dir }}/seed'"}


def problems(variables: Variables, config: t.Mapping[str, t.Any], pack: Pack) -> list[Problem]:
    """The problems of the inputs together.

    Args:
        variables: the inputs, each valid alone.
        config: the experiment config; empty if it has problems.
        pack: :func:`files.pack`.
    """
    found = [*_source_problems(variables), *_replica_problems(variables)]
    for host, worker in _workers(variables):
        found += _worker_problems(host, worker)
        if worker.get("mode") == "subprocess" and config:
            found += _command_problems(variables, host, config)
    if config:
        found += _packing_problems(DIRECTORY, variables, pack)
    return [*found, *_packing_problems(SEED, variables, pack)]


def packed(variables: Variables, pack: Pack) -> dict[str, dict[str, t.Any]]:
    """The checksum and the number of parts of each packed directory; empty for one that is not given."""
    names = {"experiment": DIRECTORY, "seed": SEED}
    found = {content: variables.get(name) and pack(variables[name]) for content, name in names.items()}
    return {
        content: {"checksum": got.checksum, "parts": len(got.parts)} if got else {}
        for content, got in found.items()
    }


def commands(config: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The commands of an experiment config, by component."""
    return {
        host.replace("_", "-"): str(config[key]) for host, key in COMMANDS.items() if _is_command(config, key)
    }


def warnings(variables: Variables) -> t.Iterator[str]:
    """What an experiment's files need and the network policies forbid."""
    workers = dict(_workers(variables))
    allowed = variables.get("eden_worker_egress") or all(
        workers.get(host, {}).get("egress") for host in HOSTS
    )
    if (variables.get(SOURCE) or {}).get("git") and not allowed:
        yield (
            "On a cluster that enforces network policies, no host can fetch the experiment's files: "
            f"{SOURCE}.git is set and eden_worker_egress is empty. Allow the connection to its server there."
        )


def _workers(variables: Variables) -> list[tuple[str, dict[str, t.Any]]]:
    return list((variables.get(WORKERS) or {}).items())


def _is_command(config: t.Mapping[str, t.Any], key: str) -> bool:
    return isinstance(config.get(key), str) and bool(config[key].strip())


def _source_problems(variables: Variables) -> t.Iterator[Problem]:
    source = {key: value for key, value in (variables.get(SOURCE) or {}).items() if value}
    if not source:
        return
    if variables.get(DIRECTORY):
        yield Problem(SOURCE, f"excludes {DIRECTORY}: remove one of the two", "", "{}")
    kinds = [key for key in ("image", "git", "claim") if key in source]
    if len(kinds) != 1:
        got = " and ".join(kinds) or "none of them"
        example = "{claim: experiment-files}"
        yield Problem(SOURCE, "must have exactly one of image, git and claim", got, example)
    elif "git" in source and "commit" not in source:
        rule = "is required with git: a branch or a tag may change"
        yield Problem(f"{SOURCE}.commit", rule, "", "1234567890" * 4)
    elif "commit" in source and "git" not in source:
        yield Problem(f"{SOURCE}.commit", f"has no meaning with {kinds[0]}: remove it", "", "''")
    elif "image" in source and not source.get("path", "").strip("/"):
        rule = "is required with image: the directory of the files in it"
        yield Problem(f"{SOURCE}.path", rule, "", "/experiment")


def _replica_problems(variables: Variables) -> t.Iterator[Problem]:
    replicas = variables.get(REPLICAS) or {}
    for host, worker in _workers(variables):
        if "replicas" in worker and int(worker["replicas"]) != int(replicas.get(host, worker["replicas"])):
            name = f"{WORKERS}.{host}.replicas"
            rule = f"must not differ from {REPLICAS}.{host}, which is {replicas[host]}: remove one of the two"
            yield Problem(name, rule, shown(name, worker["replicas"]), str(replicas[host]))


def _worker_problems(host: str, worker: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    name = f"{WORKERS}.{host}"
    if worker.get("mode", "scripted") == "scripted":
        for key in OF_COMMANDS:
            if str(worker.get(key, "")).lower() not in ("", "false", "no", "off", "0"):
                rule = "has no meaning in the mode scripted, which runs no command: set mode, or remove it"
                yield Problem(f"{name}.{key}", rule, "", "mode: subprocess")
    elif not worker.get("image"):
        if worker.get("placement") == "beside":
            rule = "is required in the placement beside: the image with the tools of the command"
            yield Problem(f"{name}.image", rule, "", "'{{ eden_image }}'")
        if "image_pull_policy" in worker:
            rule = "has no meaning without image: EDEN's image has eden_image_pull_policy"
            yield Problem(f"{name}.image_pull_policy", rule, "", "image: registry.example.org/commands:1.0.0")


def _command_problems(variables: Variables, host: str, config: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    key = COMMANDS[host]
    name = f"{WORKERS}.{host}.mode"
    if not _is_command(config, key):
        given = [found for found in config if isinstance(found, str) and found not in COMMANDS.values()]
        like = suggestion(key, given, 0.7)
        hint = f" (it has {like})" if like else ""
        rule = f"needs a command, {key} in the experiment config, which has none{hint}"
        yield Problem(name, rule, "", 'python3 "$EDEN_EXPERIMENT_DIR/command.py"')
        return
    command = config[key]
    yield from _placeholder_problems(name, key, command, VARIABLES[host])
    if _VARIABLE.search(command) and "EDEN_EXPERIMENT_DIR" in command:
        if not variables.get(DIRECTORY) and not variables.get(SOURCE):
            rule = f"needs the experiment's files, which its {key} uses: set {DIRECTORY} or {SOURCE}"
            yield Problem(name, rule, "", EXAMPLES[DIRECTORY])
        elif variables.get(DIRECTORY):
            yield from _file_problems(variables[DIRECTORY], key, command)


def _placeholder_problems(name: str, key: str, command: str, known: t.Collection[str]) -> t.Iterator[Problem]:
    """Variables that are never set, and placeholders, of which EDEN has none."""
    set_here = _ASSIGNED.findall(command)
    used = {first or second for first, second in _VARIABLE.findall(command)}
    for variable in sorted(used - set(known) - set(set_here)):
        like = suggestion(variable, sorted(known), 0.5) or "EDEN_EXPERIMENT_DIR"
        rule = f"runs {key}, which uses ${variable}, a variable that EDEN does not set for it"
        yield Problem(name, rule, "", f"${like}")
    for word in dict.fromkeys(_BRACES.findall(command)):
        variable = f"EDEN_{word.upper().removeprefix('EDEN_')}"
        if variable in known:
            rule = f"runs {key}, which has the placeholder {{{word}}}, and EDEN replaces none"
            yield Problem(name, rule, "", f"${variable}")


def _file_problems(directory: str, key: str, command: str) -> t.Iterator[Problem]:
    """Files of the experiment that a command names, and that do not exist or cannot be executed."""
    for match in _FILE.finditer(command):
        path = os.path.join(os.path.expanduser(directory), match["name"])
        shown_name = ascii(match["name"])
        if not os.path.exists(path):
            rule = f"must have {shown_name}, which {key} uses"
        elif match["first"] is None or os.path.isdir(path):
            continue
        elif not os.stat(path).st_mode & 0o100:
            rule = f"must have {shown_name}, which {key} runs, as an executable file: chmod +x"
        elif _has_windows_shebang(path):
            rule = f"must have {shown_name}, which {key} runs, without CR LF at the end of its first line"
        else:
            continue
        yield Problem(DIRECTORY, rule, shown(DIRECTORY, directory), EXAMPLES[DIRECTORY])


def _has_windows_shebang(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            line = file.readline(4096)
    except OSError:
        # Packing reports it.
        return False
    return line.startswith(b"#!") and line.endswith(b"\r\n")


def _packing_problems(name: str, variables: Variables, pack: Pack) -> t.Iterator[Problem]:
    directory = variables.get(name)
    if not directory:
        return
    try:
        pack(directory)
    except files.PackingError as error:
        larger = f"; {SOURCE} takes larger ones" if name == DIRECTORY else ""
        got = f"{shown(name, directory)}, which {error}"
        yield Problem(name, f"{PACKED_RULE}{larger}", got, EXAMPLES[name])


__all__ = [
    "COMMANDS",
    "CONFIG_IN_DIRECTORY",
    "DIRECTORY",
    "HOSTS",
    "SEED",
    "SOURCE",
    "WORKERS",
    "commands",
    "packed",
    "problems",
    "warnings",
]
