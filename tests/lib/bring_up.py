# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings up a cluster and an EDEN experiment on it, and shows its events until it has reached its end state.

Arguments are handed to ansible-playbook, for example -e eden_log_level=debug. After --check and --tags,
which may leave an experiment half way, the end state is not waited for.

EDEN_IMAGE       the image of EDEN's services; without it the stand-in is built
KUBECONFIG       a cluster to use instead of making one with kind
EDEN_TEST_CACHE  where everything that is made is kept (default: ~/.cache/eden-lab)
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from environments import CHECKOUT, EnvironmentFailure, clean, ensure, runtime

STANDIN = "eden-standin:dev"
# What tests/cluster makes where no container registry answers; it has all that the stand-in's image needs.
OWN_BASE = "lab/debian:trixie"
INVENTORY = CHECKOUT / "inventories" / "kind"
CLUSTER = CHECKOUT / "tests" / "cluster" / "cluster"
# What the fixture experiment ends with, at the least.
END_STATE = {"task.completed": 9, "variant.integrated": 3}
PATIENCE = 900.0
POLL = 5.0

STARTED = time.monotonic()


class Stop(Exception):
    """The bring-up cannot go on; the text says why."""


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def run(command: t.Sequence[str | Path], env: t.Mapping[str, str]) -> None:
    """Runs a command that shows its own progress.

    Raises:
        Stop: the command failed.
    """
    words = [str(word) for word in command]
    status = subprocess.run(
        words, env=dict(env), cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False
    ).returncode
    if status != 0:
        raise Stop(f"`{shlex.join(words)}` ended with status {status}")


def output(command: t.Sequence[str | Path], env: t.Mapping[str, str]) -> str:
    """What a command prints; what it says about a failure goes to the terminal.

    Raises:
        Stop: the command failed.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=dict(env),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise Stop(f"`{shlex.join(words)}` ended with status {done.returncode}")
    return done.stdout


def cluster_variables(env: dict[str, str]) -> dict[str, str]:
    """The environment with what `cluster env` exports."""
    script = 'exports="$("$1" env)" && eval "$exports" && env -0'
    listed = output(["bash", "-c", script, "cluster-env", CLUSTER], env)
    return dict(entry.split("=", 1) for entry in listed.split("\0") if entry)


def in_engine(image: str, env: dict[str, str]) -> bool:
    """Whether the Docker engine has an image."""
    found = subprocess.run(["docker", "image", "inspect", image], env=env, capture_output=True, check=False)
    return found.returncode == 0


def provide_image(env: dict[str, str]) -> str:
    """The name of the image that the pods start from, which is in the cluster or can be pulled."""
    given = env.get("EDEN_IMAGE")
    if not given:
        say(f"building the stand-in {STANDIN}")
        base = [OWN_BASE] if in_engine(OWN_BASE, env) else []
        run([CHECKOUT / "tests" / "standin" / "build", STANDIN, *base], env)
        run([CLUSTER, "load", STANDIN], env)
        return STANDIN
    if in_engine(given, env):
        run([CLUSTER, "load", given], env)
    else:
        say(f"the Docker engine has no image {given}: the cluster has to pull it")
    return given


def experiments(printed: str) -> list[dict[str, t.Any]]:
    """What playbooks/status.yml shows of each experiment, from ansible's output in JSON."""
    shown = []
    for part in printed.split("=> ")[1:]:
        try:
            result, _end = json.JSONDecoder().raw_decode(part)
        except json.JSONDecodeError:
            continue
        message = result.get("msg") if isinstance(result, dict) else None
        if isinstance(message, dict) and "events" in message:
            shown.append(message)
    return shown


def wait_for_the_end(programs: Path, extra: list[str], env: dict[str, str]) -> None:
    """Shows the event counts whenever they change, until all experiments have reached their end state.

    Raises:
        Stop: they have not after PATIENCE seconds.
    """
    command: list[str | Path] = [programs / "ansible-playbook", CHECKOUT / "playbooks" / "status.yml"]
    command += ["-i", INVENTORY, *extra]
    deadline = time.monotonic() + PATIENCE
    last = None
    while True:
        found = experiments(output(command, env | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}))
        if not found:
            raise Stop("playbooks/status.yml shows no experiment")
        if found != last:
            for experiment in found:
                counts = ", ".join(f"{count} {kind}" for kind, count in sorted(experiment["events"].items()))
                say(f"{experiment['experiment']} is {experiment['state']}: {counts or 'no events yet'}")
            last = found
        missing = [
            f"{kind} {experiment['events'].get(kind, 0)} of {wanted}"
            for experiment in found
            for kind, wanted in END_STATE.items()
            if experiment["events"].get(kind, 0) < wanted
        ]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise Stop(
                f"the experiment has not reached its end state after {PATIENCE:.0f} s: {', '.join(missing)}"
            )
        time.sleep(POLL)


def show(env: dict[str, str]) -> None:
    """Prints the pods, and how to open each web UI."""
    selector = "app.kubernetes.io/managed-by=eden.reference"
    kubectl = ["kubectl", "get", "-A", "-l"]
    print(output([*kubectl, selector, "pods"], env))
    columns = "{range .items[*]}{.metadata.namespace} {.metadata.name} {.spec.ports[0].port}{'\\n'}{end}"
    wanted = f"{selector},app.kubernetes.io/component=web-ui"
    for line in output([*kubectl, wanted, "services", "-o", f"jsonpath={columns}"], env).splitlines():
        namespace, name, port = line.split()
        config = f"KUBECONFIG={shlex.quote(env['KUBECONFIG'])} " if "KUBECONFIG" in env else ""
        kubectl_path = shlex.quote(output(["bash", "-c", "command -v kubectl"], env).strip())
        print(f"The web UI of {namespace}: http://localhost:{port} while this runs:")
        print(f"  {config}{kubectl_path} port-forward -n {namespace} service/{name} {port}")


def bring_up(variables: list[str], partial: bool, rest: list[str]) -> None:
    """The whole way from nothing to an experiment that has ended, or to what a partial run makes."""
    say("bringing up the cluster")
    programs = ensure(runtime()) / "bin"
    env = clean([programs]) | {"ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections")}
    run([CLUSTER, "up"], env)
    env = cluster_variables(env)
    image = provide_image(env)
    extra = ["-e", f"eden_image={image}", *variables]
    say(f"running site.yml with the image {image}")
    run([programs / "ansible-playbook", CHECKOUT / "site.yml", "-i", INVENTORY, *extra, *rest], env)
    say("site.yml has ended; this came up:")
    show(env)
    if partial:
        return
    say("waiting for the experiment's end state")
    wait_for_the_end(programs, extra, env)
    say("the experiment has reached its end state")


def main() -> int:
    parser = argparse.ArgumentParser(
        usage="tests/bring-up [ARGUMENT OF ansible-playbook]...", allow_abbrev=False
    )
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-e", "--extra-vars", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("-C", "--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-t", "--tags", action="append", default=[], help=argparse.SUPPRESS)
    known, rest = parser.parse_known_args()
    variables = [word for given in known.extra_vars for word in ("-e", given)]
    rest += [word for given in known.tags for word in ("--tags", given)]
    rest += ["--check"] * known.check
    try:
        bring_up(variables, bool(known.tags or known.check), rest)
    except (Stop, EnvironmentFailure) as error:
        print(f"bring-up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
