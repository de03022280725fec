# SPDX-License-Identifier: GPL-3.0-or-later
"""The levels of tests/run: what each runs, with which Python, where."""

from __future__ import annotations

import os
import shutil
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from collection import NAME, NAMESPACE, copy, shell_scripts
from environments import CACHE, CHECKOUT, NEWEST, OLDEST, PYTHONS, Environment, clean, ensure, find_python
from progress import Progress, last_lines

COLLECTION = f"{NAMESPACE}.{NAME}"
TYPED = ("action", "doc_fragments", "filter", "lookup", "module_utils", "modules", "plugin_utils")


@dataclass
class Run:
    """What a level works with; ``work`` is an empty directory that is removed when the level has ended."""

    progress: Progress
    work: Path

    def environment(self, environment: Environment) -> Path:
        """The programs of a virtual environment, which is made if it is missing."""
        if not environment.path.exists():
            self.progress.say(f"making the environment {environment.path.name} …")
        return ensure(environment) / "bin"

    def variables(self, programs: Path, cluster: bool = False) -> dict[str, str]:
        """The environment variables of commands in the checkout.

        Only with ``cluster`` do they see the caller's cluster.
        """
        variables = clean([programs]) | {"ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections")}
        return variables if cluster else variables | {"KUBECONFIG": os.devnull}

    def need_shellcheck(self) -> None:
        """Installs Debian's package where shellcheck is missing."""
        if shutil.which("shellcheck"):
            return
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        for step in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "shellcheck"]):
            command = [*root, "apt-get", *step, "-o", "DPkg::Lock::Timeout=600"]
            self.progress.need(f"apt-get {step[0]} shellcheck", command, env=os.environ, cwd=self.work)


def lint(run: Run) -> None:
    """The linters, and the collection as its user gets it: built, installed, documented."""
    programs = run.environment(NEWEST)
    here: dict[str, t.Any] = {"env": run.variables(programs), "cwd": CHECKOUT}
    check = run.progress.check
    check("ruff check", ["ruff", "check", "."], **here)
    check("ruff format", ["ruff", "format", "--check", "."], **here)
    packages = [
        argument for kind in TYPED for argument in ("-p", f"ansible_collections.{COLLECTION}.plugins.{kind}")
    ]
    check("mypy plugins", ["mypy", *packages], **here)
    check("mypy tests", ["mypy", "tests/bench", "tests/lib"], **here)
    check("mypy stand-in", ["mypy", "src"], env=here["env"], cwd=CHECKOUT / "tests/standin")
    check("yamllint", ["yamllint", "--strict", "."], **here)
    run.need_shellcheck()
    check(
        "shellcheck",
        ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *shell_scripts()],
        **here,
    )
    check("antsibull-changelog", ["antsibull-changelog", "lint"], **here)
    plain = clean([programs]) | {"KUBECONFIG": os.devnull}
    check("ansible-lint", ["ansible-lint"], env=plain, cwd=CHECKOUT)
    _artifact(run, programs)


def _installed(run: Run, programs: Path, root: Path) -> dict[str, str]:
    return run.variables(programs) | {
        "ANSIBLE_COLLECTIONS_PATH": str(root),
        "ANSIBLE_HOME": str(root / "home"),
    }


def _artifact(run: Run, programs: Path) -> None:
    root = run.work / "installed"
    options: dict[str, t.Any] = {"env": _installed(run, programs, root), "cwd": run.work}
    galaxy = ["ansible-galaxy", "collection"]
    run.progress.need("galaxy build", [*galaxy, "build", CHECKOUT, "--output-path", run.work], **options)
    (artifact,) = run.work.glob(f"{NAMESPACE}-{NAME}-*.tar.gz")
    run.progress.need(
        "galaxy install", [*galaxy, "install", "--offline", "--no-deps", artifact, "-p", root], **options
    )
    installed = root / "ansible_collections" / NAMESPACE / NAME
    modules = [f"{COLLECTION}.{path.stem}" for path in sorted((installed / "plugins/modules").glob("*.py"))]
    roles = [f"{COLLECTION}.{path.name}" for path in sorted((installed / "roles").iterdir())]
    filters = [f"{COLLECTION}.{path.stem}" for path in sorted((installed / "plugins/filter").glob("*.py"))]
    lookups = [f"{COLLECTION}.{path.stem}" for path in sorted((installed / "plugins/lookup").glob("*.py"))]
    for kind, names in (("module", modules), ("role", roles), ("filter", filters), ("lookup", lookups)):
        run.progress.check(f"ansible-doc {kind}", ["ansible-doc", "-t", kind, *names], **options)
    for path in sorted((installed / "playbooks").glob("*.yml")):
        playbook = ["ansible-playbook", "--syntax-check", "-i", "localhost,", f"{COLLECTION}.{path.stem}"]
        run.progress.check(f"syntax {path.stem}", playbook, **options)


def sanity(run: Run) -> None:
    """``ansible-test sanity`` with both cores; names the tests that had nothing to test or could not run."""
    run.need_shellcheck()
    interpreters = [found.parent for version in PYTHONS if (found := find_python(version))]
    for environment in (OLDEST, NEWEST):
        programs = run.environment(environment)
        tree = copy(run.work / environment.name)
        variables = clean([programs, *interpreters]) | {"HOME": str(_sanity_home(run, environment, programs))}
        log = run.progress.check(
            f"sanity {environment.name}", ["ansible-test", "sanity", "--color", "no"], env=variables, cwd=tree
        )
        for line in last_lines(log, 10_000):
            if "kipping" in line or "not applicable" in line.lower():
                run.progress.say(f"sanity {environment.name}: {line.removeprefix('WARNING: ')}")


# ansible-test puts pip into its virtual environments by a script that it fetches from a server of its own.
# It takes a script that is there for one that it has fetched; this one uses the pip that Python brings along.
BOOTSTRAP = """\
import ensurepip

ensurepip.bootstrap()
"""
PIP_VERSION = """\
import types
from ansible_test._internal.python_requirements import get_venv_packages

print(get_venv_packages(types.SimpleNamespace(version={python!r}))["pip"])
"""


def _sanity_home(run: Run, environment: Environment, programs: Path) -> Path:
    """The home directory in which ansible-test keeps its virtual environments."""
    question = PIP_VERSION.format(python=environment.python)
    log = run.progress.need(
        f"pip of {environment.name}", [programs / "python", "-c", question], env=clean(), cwd=run.work
    )
    version = last_lines(log, 1)[0].replace(".", "_")
    home = CACHE / "ansible-test"
    script = home / ".ansible" / "test" / "cache" / f"get_pip_{version}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(BOOTSTRAP)
    return home


def unit(run: Run) -> None:
    """What needs no cluster, with both Pythons at the same time: pytest uses one core."""
    environments = (OLDEST, NEWEST)
    for environment in environments:
        run.environment(environment)
    with ThreadPoolExecutor(len(environments)) as pool:
        paths = ("tests/unit", "tests/leak")
        try:
            list(pool.map(lambda found: _pytest(run, found, f"unit {found.name}", *paths), environments))
        except BaseException:
            run.progress.end()
            raise


def modules(run: Run) -> None:
    """The modules against a real API server and etcd, and the stand-in's task store."""
    variables = run.variables(run.environment(OLDEST), cluster=True)
    run.progress.need(
        "API server and etcd", [CHECKOUT / "tests/cluster/cluster", "rig"], env=variables, cwd=CHECKOUT
    )
    _pytest(run, OLDEST, "modules", "tests/modules", "tests/rig")


def reliability(run: Run) -> None:
    """The playbook, killed and disturbed at sampled points, on a real control plane without a node."""
    variables = run.variables(run.environment(OLDEST), cluster=True)
    run.progress.need(
        "API server, etcd and controllers",
        [CHECKOUT / "tests/cluster/cluster", "rig", "controllers"],
        env=variables,
        cwd=CHECKOUT,
    )
    _pytest(run, OLDEST, "reliability", "tests/reliability")


def standin(run: Run) -> None:
    """The stand-in's own tests."""
    _pytest(run, OLDEST, "standin", "tests/standin/tests")


def kind(run: Run) -> None:
    """Everything, on a real cluster."""
    variables = run.variables(run.environment(NEWEST), cluster=True)
    run.progress.need(
        "cluster build", [CHECKOUT / "tests/cluster/cluster", "build"], env=variables, cwd=CHECKOUT
    )
    run.progress.check("molecule test", ["molecule", "test"], env=variables, cwd=CHECKOUT)


def _pytest(run: Run, environment: Environment, what: str, *paths: str) -> None:
    programs = run.environment(environment)
    pytest: list[str | Path] = [programs / "python", "-m", "pytest", "-q", "--color=no", "--durations=10"]
    run.progress.check(what, [*pytest, *paths], summary=True, env=run.variables(programs), cwd=CHECKOUT)


LEVELS: dict[str, t.Callable[[Run], None]] = {
    "lint": lint,
    "sanity": sanity,
    "unit": unit,
    "modules": modules,
    "reliability": reliability,
    "standin": standin,
    "kind": kind,
}
# Lanes run side by side: what waits for an API server or for pods leaves the processor to what computes.
LANES = (("lint", "sanity", "unit", "kind"), ("modules", "reliability", "standin"))
