# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures site.yml on a kind cluster whose node has the images, beside EDEN's Helm chart and its script.

Each round begins with nothing of EDEN on the cluster, and with the one contender or the other by turns.
It measures --check (of site.yml only, before and after); the cold bring-up, the time until the last variant
is integrated, and what the experiment takes then; the run after it, in which nothing has changed, and whose
writes at the API server are counted; a run with one changed value of the experiment config; a run with an
image that the registry does not have; and five experiments at once.

EDEN_TEST_CLUSTER  the cluster, which is made if it is missing (default: eden-bench)
EDEN_IMAGE         the image of EDEN's services; without it the stand-in is built
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import report
from bring_up import STANDIN
from environments import CACHE, CHECKOUT, ensure, runtime

ROUNDS = 3


def enter_environment() -> None:
    """Start again in an environment that has ansible and what the benchmark needs."""
    base = runtime()
    own = dataclasses.replace(base, name="bench", files=(*base.files, "tests/bench/requirements.txt"))
    programs = ensure(own) / "bin"
    if Path(sys.prefix) == programs.parent:
        # It was for this program alone.
        os.environ.pop("PYTHONPATH", None)
        return
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    os.execv(programs / "python", [str(programs / "python"), *sys.argv])


def prepare_cluster(upstream: Path | None) -> None:
    """Have a cluster with the images, and helm if the chart is measured."""
    os.environ.setdefault("EDEN_TEST_CLUSTER", "eden-bench")
    # The benchmark's own cluster, whichever one the user's kubeconfig names.
    os.environ["KUBECONFIG"] = ""
    subprocess.run([CHECKOUT / "tests/bring-up", "--check"], check=True)
    if upstream is not None:
        subprocess.run([CHECKOUT / "tests/cluster/cluster", "helm"], check=True)


def upstream_checkout(text: str) -> Path:
    """A checkout of EDEN."""
    path = Path(text).resolve()
    if not (path / "reference/helm/eden/Chart.yaml").is_file():
        raise argparse.ArgumentTypeError(f"{path} has no reference/helm/eden/Chart.yaml")
    return path


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tests/bench/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--upstream", metavar="DIRECTORY", type=upstream_checkout, help="a checkout of EDEN: its script, too")
    add("--rounds", metavar="N", type=int, default=ROUNDS, help="(default: %(default)s)")
    add("--several", metavar="N", type=int, help="rounds of five experiments at once (default: as --rounds)")
    add(
        "--output",
        metavar="DIRECTORY",
        type=Path,
        default=CACHE / "bench",
        help="for results.json, table.md, bring-up.svg and what each run printed (default: %(default)s)",
    )
    add("--results", metavar="FILE", type=Path, help="measure nothing: table and picture of these results")
    return parser.parse_args()


def main() -> None:
    options = parse()
    enter_environment()
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    if options.results:
        results = json.loads(options.results.read_text())
    else:
        prepare_cluster(options.upstream)
        # What it needs is in the environment only.
        from measuring import measure

        several = options.rounds if options.several is None else options.several
        image = os.environ.get("EDEN_IMAGE") or STANDIN
        results = measure(options.upstream, image, options.rounds, several, output)
    table = report.table(results)
    (output / "table.md").write_text(table)
    report.picture(results, output / "bring-up.svg")
    print(f"\n{table}\nNumbers, picture and outputs are in {output}.")


if __name__ == "__main__":
    main()
