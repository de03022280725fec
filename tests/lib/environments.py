# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache outside the checkout, and the virtual environments in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("EDEN_TEST_CACHE") or Path.home() / ".cache" / "eden-lab").resolve()

RUN_REQUIREMENTS = ("requirements.txt",)
TEST_REQUIREMENTS = (*RUN_REQUIREMENTS, "tests/requirements.txt", "tests/standin/requirements.txt")
PYTHONS = ("3.11", "3.12", "3.13")
# How uv makes an environment: with pip, which the stand-in's build asks its Python for.
MAKE = ("venv", "--seed")
# After a day, an environment is asked whether there is something newer.
FRESH_SECONDS = 24 * 3600
# What belongs to the caller's own ansible or Python and would change what the tests see.
FOREIGN = ("ANSIBLE_", "MOLECULE_", "PYTHON", "PYTEST_", "VIRTUAL_ENV")


class EnvironmentFailure(Exception):
    """An environment cannot be made; the text says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment: a name, a version of Python, files of requirements and further requirements."""

    name: str
    python: str
    files: tuple[str, ...]
    requirements: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it is: what it is made from is part of the name."""
        digest = hashlib.sha256(repr((MAKE, self.python, self.requirements)).encode())
        for file in self.files:
            digest.update((CHECKOUT / file).read_bytes())
        return CACHE / f"venv-{self.name}-{digest.hexdigest()[:12]}"


OLDEST = Environment("oldest", "3.11", TEST_REQUIREMENTS, ("ansible-core==2.19.*",))
NEWEST = Environment("newest", "3.13", TEST_REQUIREMENTS)


def runtime() -> Environment:
    """The environment of the main job: the newest Python that is here, with what the collection needs."""
    version = next((version for version in reversed(PYTHONS) if find_python(version)), PYTHONS[-1])
    return Environment("runtime", version, RUN_REQUIREMENTS)


def find_python(version: str) -> Path | None:
    """The interpreter of a version, from PATH or from pyenv; None if there is none that starts.

    pyenv's shims stand on PATH for each version, and start only the one that was chosen.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    on_path = shutil.which(f"python{version}")
    for candidate in [Path(on_path), *candidates] if on_path else candidates:
        told = subprocess.run(
            [candidate, "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode == 0:
            return Path(told.stdout.strip())
    return None


def clean(path: t.Iterable[Path] = ()) -> dict[str, str]:
    """The caller's variables without what would change ansible or Python, with ``path`` first on PATH."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    variables["PATH"] = os.pathsep.join([*map(str, path), variables.get("PATH", os.defpath)])
    # ansible refuses to start without UTF-8.
    if "utf" not in variables.get("LC_ALL", variables.get("LANG", "")).lower():
        variables["LC_ALL"] = "C.UTF-8"
    return variables | {"NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}


@contextlib.contextmanager
def locked(name: str) -> t.Iterator[None]:
    """One process at a time works on the part ``name`` of the cache; the others wait."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure(environment: Environment) -> Path:
    """The environment's directory, made or refreshed when that is due.

    Raises:
        EnvironmentFailure: it is not there and cannot be made.
    """
    path = environment.path
    marker = path / "complete"
    with locked("venv"):
        if marker.exists() and time.time() - marker.stat().st_mtime < FRESH_SECONDS:
            return path
        uv = _uv()
        if not marker.exists():
            shutil.rmtree(path, ignore_errors=True)
            interpreter = find_python(environment.python) or environment.python
            _do([uv, *MAKE, "--python", str(interpreter), str(path)], f"Python {environment.python}")
        install = [uv, "pip", "install", "--upgrade", "--python", str(path / "bin" / "python")]
        install += [argument for file in environment.files for argument in ("-r", str(CHECKOUT / file))]
        try:
            _do([*install, *environment.requirements], f"the packages of {', '.join(environment.files)}")
        except EnvironmentFailure as error:
            if not marker.exists():
                raise
            print(f"{path.name} is kept as it is: {error}", file=sys.stderr)
        marker.touch()
    return path


def _uv() -> str:
    """The program uv, which makes an environment in seconds where pip takes minutes."""
    directory = CACHE / "uv"
    program = directory / "bin" / "uv"
    if not program.exists():
        _do([sys.executable, "-m", "venv", "--clear", str(directory)], "a virtual environment for uv")
        _do([str(directory / "bin" / "pip"), "install", "-q", "uv"], "uv")
    return str(program)


def _do(command: list[str], what: str) -> None:
    variables = clean() | {"UV_CACHE_DIR": str(CACHE / "uv-cache")}
    # uv does not read pip's settings.
    for ours, pips in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT")):
        if pips in variables:
            variables.setdefault(ours, variables[pips])
    done = subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise EnvironmentFailure(
            f"{what} cannot be installed into {CACHE}: `{' '.join(command)}` ended with {done.returncode}:\n"
            f"{(done.stderr or done.stdout).strip()[-2000:]}"
        )
