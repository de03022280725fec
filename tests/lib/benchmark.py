# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures site.yml on a kind cluster whose node has the images: run [N]

Each of the N rounds (default: 5) begins with nothing of EDEN on the cluster, and measures --check, the
cold run and the second run, whose writes at the API server it counts.

EDEN_TEST_CLUSTER  the cluster, which is made where it is missing (default: eden-benchmark)
EDEN_IMAGE         the image of EDEN's services; without it the stand-in is built
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "verify"))

from environments import CHECKOUT, ensure, runtime

CLUSTER = "eden-benchmark"
ROUNDS = 5


def inside() -> None:
    """Start anew with the Python that also runs ansible; return where that has been done."""
    programs = ensure(runtime()) / "bin"
    if Path(sys.prefix) == programs.parent:
        return
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("EDEN_TEST_CLUSTER", CLUSTER)
    # The benchmark's own cluster, whatever other one is at hand.
    os.environ["KUBECONFIG"] = ""
    subprocess.run([CHECKOUT / "tests/bring-up", "--check"], check=True)
    os.execv(programs / "python", [str(programs / "python"), *sys.argv])


def measure(rounds: int) -> None:
    """Run the rounds and print what they took."""
    import audit
    from experiment import Experiment
    from testbed import HOST, Run, Testbed, named

    testbed = Testbed(named())
    seconds: dict[str, list[float]] = {"--check, nothing there": [], "cold run": [], "second run": []}
    writes: list[int] = []
    changed: list[int] = []

    def timed(what: str, *arguments: str) -> Run:
        begun = time.monotonic()
        run = testbed.site(*arguments)
        seconds[what].append(time.monotonic() - begun)
        if run.status != 0:
            sys.exit(f"{what} ended with {run.status}:\n{run.output}")
        print(f"round {number} of {rounds}: {what} took {seconds[what][-1]:.1f} s", flush=True)
        return run

    for number in range(1, rounds + 1):
        testbed.kubectl("delete", "namespace", HOST, "--ignore-not-found")
        timed("--check, nothing there", "--check")
        timed("cold run")
        with Experiment(testbed, HOST).task_store() as store:
            print(
                f"round {number} of {rounds}: the experiment ended with {len(store.await_end())} events",
                flush=True,
            )
        with audit.watched(testbed) as window:
            changed.append(timed("second run").count("changed"))
        writes.append(len(window.writes))
    testbed.kubectl("delete", "namespace", HOST)

    print(f"\n{'N = ' + str(rounds):24}{'median':>9}{'min':>9}{'max':>9}")
    for what, taken in seconds.items():
        print(f"{what:24}{statistics.median(taken):7.1f} s{min(taken):7.1f} s{max(taken):7.1f} s")
    print(f"changed in the second runs: {changed}; writes at the API server: {writes}")


if __name__ == "__main__":
    if len(sys.argv) > 2 or any(not word.isdigit() or int(word) < 1 for word in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    inside()
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
