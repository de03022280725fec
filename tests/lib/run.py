# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tests: all levels, or those that are named."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environments import CACHE, EnvironmentFailure
from levels import LANES, LEVELS, Run
from progress import Progress, StepFailed, slowest

# Logs of this many earlier runs are kept.
KEPT_RUNS = 10
SLOWEST = 10


def new_directory() -> Path:
    """A directory for this run's logs and work, in the cache; the oldest ones are removed."""
    runs = CACHE / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir())[:-KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)
    directory = runs / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    (directory / "logs").mkdir(parents=True)
    return directory


def run_level(progress: Progress, directory: Path) -> bool:
    """Runs a level; returns whether all of its steps passed."""
    work = directory / "work" / progress.level
    work.mkdir(parents=True)
    try:
        LEVELS[progress.level](Run(progress, work))
    except StepFailed:
        progress.say("the rest of this level needs what failed and is not run")
    except EnvironmentFailure as error:
        progress.failed = True
        progress.say(str(error))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return not progress.failed


def run_lanes(names: list[str], directory: Path, fail_fast: bool) -> dict[str, tuple[bool, float]]:
    """Runs the lanes side by side; returns whether each level passed, and its seconds.

    With ``fail_fast`` no level begins after one has failed.
    """
    started = time.monotonic()
    steps = {name: Progress(name, directory / "logs", started) for name in names}
    results: dict[str, tuple[bool, float]] = {}

    def run_lane(lane: list[str]) -> None:
        for name in lane:
            if fail_fast and not all(passed for passed, _seconds in results.values()):
                return
            begun = time.monotonic()
            passed = run_level(steps[name], directory)
            results[name] = (passed, time.monotonic() - begun)

    with ThreadPoolExecutor(len(LANES)) as pool:
        try:
            list(pool.map(run_lane, [[name for name in lane if name in names] for lane in LANES]))
        except BaseException:
            for progress in steps.values():
                progress.end()
            raise
    return {name: results[name] for name in LEVELS if name in results}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests/run",
        description="Runs the tests. The last line counts the levels that passed and failed.",
        epilog="EDEN_TEST_CACHE: where environments, logs and clusters are kept (default: ~/.cache/eden-lab)",
    )
    parser.add_argument(
        "levels", nargs="*", metavar="LEVEL", help=f"some of: {' '.join(LEVELS)} (default: all)"
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop after the first level that failed")
    arguments = parser.parse_args()
    unknown = [level for level in arguments.levels if level not in LEVELS]
    if unknown:
        parser.error(f"no such level: {', '.join(unknown)}; there are: {', '.join(LEVELS)}")

    # A run that is told to end ends its children, too.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    directory = new_directory()
    print(f"Logs: {directory / 'logs'}", flush=True)
    results = run_lanes(arguments.levels or list(LEVELS), directory, arguments.fail_fast)
    print("The slowest tests:")
    for seconds, name, test in slowest(directory / "logs", SLOWEST):
        print(f"{seconds:7.1f} s {name}: {test}")
    for name, (passed, seconds) in results.items():
        print(f"{name:10} {'passed' if passed else 'FAILED'} {seconds:7.1f} s")
    passes = sum(passed for passed, _seconds in results.values())
    print(f"{passes} passed, {len(results) - passes} failed")
    return 0 if passes == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
