# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/run and tests/bring-up are made of."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import environments
import levels
import progress as progress_module
import pytest
from bring_up import experiments
from environments import Environment, clean, find_python
from progress import Progress, StepFailed, last_lines, slowest

OK = [sys.executable, "-c", "print('first'); print('last')"]
WAITING = """
import os, time
print("working", flush=True)
for _turn in range(6000):
    if os.path.exists("said"):
        break
    time.sleep(0.01)
"""
BROKEN = [sys.executable, "-c", "print('what is wrong'); raise SystemExit(3)"]


class Lines(list[str]):
    """The lines that a Progress says."""

    @property
    def text(self) -> str:
        return "\n".join(self)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def progress(tmp_path: Path, lines: Lines) -> Progress:
    return Progress("level", tmp_path, 0.0, lines.append)


@pytest.fixture
def here(tmp_path: Path) -> dict[str, t.Any]:
    return {"env": os.environ, "cwd": tmp_path}


def test_a_step_that_passes_shows_its_summary(
    progress: Progress, lines: Lines, here: dict[str, t.Any]
) -> None:
    log = progress.check("a step", OK, summary=True, **here)
    assert log.read_text() == "first\nlast\n"
    assert lines[-1].endswith("level: a step: last")
    assert not progress.failed


def test_a_failed_check_shows_its_output_and_lets_the_level_go_on(
    progress: Progress, lines: Lines, here: dict[str, t.Any]
) -> None:
    log = progress.check("a step", BROKEN, **here)
    progress.check("another", OK, **here)
    assert progress.failed
    assert "    what is wrong" in lines
    assert "a step FAILED with status 3 in" in lines.text
    assert str(log) in lines.text


def test_a_failed_need_ends_the_level(progress: Progress, here: dict[str, t.Any]) -> None:
    with pytest.raises(StepFailed):
        progress.need("a step", BROKEN, **here)
    assert progress.failed


def test_no_step_begins_once_the_others_were_told_to_end(progress: Progress, here: dict[str, t.Any]) -> None:
    progress.end()
    with pytest.raises(StepFailed):
        progress.check("a step", OK, **here)


def test_each_level_has_its_place_in_one_lane() -> None:
    assert sorted(name for lane in levels.LANES for name in lane) == sorted(levels.LEVELS)


def test_a_program_that_is_missing_is_a_failed_step(
    progress: Progress, lines: Lines, here: dict[str, t.Any]
) -> None:
    progress.check("a step", ["no-such-program"], **here)
    assert progress.failed
    assert "no-such-program cannot be started" in lines.text


def test_a_long_step_says_where_it_is(
    progress: Progress, lines: Lines, here: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The step waits for a file that appears only when the heartbeat has been said."""
    monkeypatch.setattr("progress.HEARTBEAT", 0.01)
    said = tmp_path / "said"

    def say(line: str) -> None:
        lines.append(line)
        if "… still a step" in line and line.endswith("working"):
            said.touch()

    Progress("level", tmp_path, 0.0, say).check("a step", [sys.executable, "-c", WAITING], **here)
    assert said.exists()


def test_a_step_that_hangs_is_ended(
    progress: Progress, lines: Lines, here: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("progress.HEARTBEAT", 0.01)
    monkeypatch.setattr("progress.LIMIT", 0.1)
    progress.check("a step", [sys.executable, "-c", WAITING], **here)
    assert progress.failed
    assert "a step is ended after 0 s: it hangs" in lines.text


def test_the_last_lines_are_the_last_that_hold_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a\nb\n\n" + "c" * 500 + "\n\n")
    assert last_lines(log, 2) == ["b", "c" * 300]
    assert last_lines(tmp_path / "missing", 2) == []


def python(directory: Path, script: str) -> Path:
    """An executable in a directory of its own, named as Python 3.99 would be."""
    directory.mkdir(parents=True)
    program = directory / "python3.99"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_a_python_that_does_not_start_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyenv's shims are such ones, for versions that were not chosen."""
    shim = python(tmp_path / "shims", "exit 127")
    real = python(tmp_path / "pyenv/versions/3.99.1/bin", 'echo "$0"')
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert find_python("3.99") == real
    real.unlink()
    assert find_python("3.99") is None


def test_the_callers_settings_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_CONFIG", "elsewhere")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("LC_ALL", "C")
    variables = clean([Path("first")])
    assert not {"ANSIBLE_CONFIG", "PYTHONPATH"} & set(variables)
    assert variables["PATH"].startswith(f"first{os.pathsep}")
    assert variables["LC_ALL"] == "C.UTF-8"


def test_an_environment_is_another_one_when_its_requirements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "CHECKOUT", tmp_path)
    file = tmp_path / "requirements.txt"
    environment = Environment("e", "3.11", ("requirements.txt",))
    file.write_text("a")
    before = environment.path
    assert environment.path == before
    file.write_text("b")
    assert environment.path != before


STATUS = """
PLAY [Show how far the experiment is] ***

TASK [Ask the task store] ***
ok: [eden] => {"changed": false, "events": {"task.completed": 1}}

TASK [Show how far the experiment is] ***
ok: [eden] => {
    "msg": {
        "experiment": "exp_1",
        "state": "running",
        "events": {"task.completed": 4}
    }
}
ok: [other] => {
    "msg": {
        "experiment": "exp_2",
        "state": "running",
        "events": {}
    }
}

PLAY RECAP ***
eden : ok=2
"""


def test_bring_up_reads_the_experiments_that_the_playbook_shows() -> None:
    shown = experiments(STATUS)
    assert [(one["experiment"], one["events"]) for one in shown] == [
        ("exp_1", {"task.completed": 4}),
        ("exp_2", {}),
    ]
    assert experiments("PLAY RECAP ***") == []


@pytest.mark.parametrize(
    ("files", "options", "complete"),
    [
        ({"test_a": "def test_one(): pass"}, [], True),
        ({"test_a": "def test_one(): pass\ndef test_two(): pass"}, ["-k", "one"], False),
        ({"test_a": "from pytest import skip\ndef test_one(): pass\ndef test_two(): skip()"}, [], False),
        ({"test_a": "def test_one(): pass", "test_b": "def other(): pass"}, [], False),
        ({"test_a": "def test_one(): raise ValueError"}, [], False),
    ],
    ids=["whole", "deselected", "skipped", "empty file", "failed"],
)
def test_the_census_misses_a_test(
    tmp_path: Path, files: dict[str, str], options: list[str], complete: bool
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugin = "import census\ndef pytest_configure(config): config.pluginmanager.register(census.Census())\n"
    (tmp_path / "tests/conftest.py").write_text(plugin)
    for name, text in files.items():
        (tmp_path / f"tests/{name}.py").write_text(text + "\n")
    lib = str(Path(progress_module.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": lib, "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is complete, done.stdout
    assert (tmp_path / "tests.complete").exists() is complete


def test_the_slowest_tests_are_found_in_the_logs(tmp_path: Path) -> None:
    lines = (
        "12.50s call     tests/a.py::test_one\n0.70s setup    tests/b.py::test_two[x y]\n1 passed in 1.00s\n"
    )
    (tmp_path / "unit.oldest.log").write_text(lines)
    (tmp_path / "kind.molecule.log").write_text("INFO  99.00s call tests/c.py::test_three\nnothing\n")
    assert slowest(tmp_path, 2) == [
        (99.0, "kind", "call tests/c.py::test_three"),
        (12.5, "unit", "call tests/a.py::test_one"),
    ]
