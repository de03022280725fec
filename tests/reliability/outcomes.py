# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says that it changes, object by object, and which objects its requests write."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from kills import CALLBACKS
from kube import PATHS, Object
from oracles import Verdict, tail
from thin_rig import INSTANCE, Experiment, Outcome

COLLECTION = "eden.reference."
TASK_STORE = f"{INSTANCE}-task-store-server"
_JOB = re.compile(rf"({INSTANCE}-(?:seed|provision-\w+))-[0-9a-f]{{8}}")
_KINDS = {path.rpartition("/")[2]: kind for kind, path in PATHS.items()} | {"namespaces": "Namespace"}

Changes = dict[str, str]


@dataclass(frozen=True)
class Report:
    """A run, and what it told of.

    Attributes:
        outcome: the run.
        changes: what becomes of each object that does not stay as it is, by its kind and name; a group of
            the registry counts as an object.
        shown: the objects of which a diff was shown.
        message: why it failed.
        stopped: what is stopped before a change, which updates it, by its kind and name.
    """

    outcome: Outcome
    changes: Changes
    shown: set[str]
    message: str
    stopped: frozenset[str] = frozenset()


def reported(experiment: Experiment, *arguments: str) -> Report:
    """Run the playbook to its end."""
    path = experiment.directory / "outcomes.jsonl"
    path.write_text("")
    experiment.environment = {
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "outcomes",
        "EDEN_RIG_OUTCOMES": str(path),
    }
    try:
        outcome = experiment.run(*arguments)
    finally:
        experiment.environment = {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    answers = [(row["action"].removeprefix(COLLECTION), row["result"]) for row in rows]
    changes: Changes = {}
    shown: set[str] = set()
    for action, answer in answers:
        if action in _CHANGES and not answer.get("failed"):
            changes |= {_plain(name): what for name, what in _CHANGES[action](answer).items()}
            shown |= {_plain(name) for name in _shown(action, answer.get("diff") or [])}
    message = "\n".join(str(answer["msg"]) for _action, answer in answers if answer.get("failed"))
    names = {name for _action, answer in answers for name in answer.get("stopped") or ()}
    stopped = frozenset(f"{'Deployment' if name == TASK_STORE else 'StatefulSet'} {name}" for name in names)
    return Report(outcome, changes, shown, message, stopped)


def predict(verdict: Verdict, experiment: Experiment) -> Report:
    """What check mode tells: without a write, and with a diff of just what changes."""
    found = reported(experiment, "--check", "--diff")
    _require_no_write(verdict, found)
    verdict.require(
        found.shown == found.changes.keys(), "check mode", f"the diff shows {found.shown} of {found.changes}"
    )
    return found


def predict_without_diff(verdict: Verdict, experiment: Experiment) -> Report:
    """What check mode tells if no diff is asked for."""
    found = reported(experiment, "--check")
    _require_no_write(verdict, found)
    verdict.require(not found.shown, "check mode", f"a diff shows {found.shown}")
    return found


def _require_no_write(verdict: Verdict, found: Report) -> None:
    verdict.outcomes.append(found.outcome)
    verdict.require(found.outcome.status == 0, "check mode", f"check mode ended with: {tail(found.outcome)}")
    verdict.require(not found.outcome.writes, "check mode", f"check mode wrote {texts(found.outcome)}")


def run_as_predicted(verdict: Verdict, experiment: Experiment, predicted: Report) -> Report:
    """The run does what check mode told."""
    real = reported(experiment)
    verdict.outcomes.append(real.outcome)
    verdict.require(real.outcome.status == 0, "converges", f"the run ended with: {tail(real.outcome)}")
    for name in sorted(predicted.changes.keys() | real.changes.keys()):
        said, done = predicted.changes.get(name), real.changes.get(name)
        verdict.require(said == done, "check mode", f"{name}: predicted was {said}, and it was {done}")
    said, done = (run.outcome.recap.get("changed") for run in (predicted, real))
    verdict.require(said == done, "check mode", f"predicted were {said} changed tasks, and there were {done}")
    return real


def stays_idle(verdict: Verdict, experiment: Experiment) -> None:
    """the next run changes nothing and writes nothing."""
    again = reported(experiment)
    verdict.outcomes.append(again.outcome)
    still = not again.outcome.status and not again.changes and not again.outcome.writes
    verdict.require(
        still and again.outcome.recap.get("changed") == 0,
        "stays idle",
        f"the next run ended with {again.outcome.status}, changed {again.changes} and wrote "
        f"{texts(again.outcome)}: {tail(again.outcome)}",
    )


def require_refusal(verdict: Verdict, run: Report, *parts: str) -> None:
    """The run failed before its first write, with these parts in its message."""
    verdict.outcomes.append(run.outcome)
    verdict.require(run.outcome.status != 0, "message", "the run succeeded")
    verdict.require(not run.outcome.writes, "message", f"the run wrote {texts(run.outcome)}")
    for part in parts:
        verdict.require(part in run.message, "message", f"{part!r} is not in the message: {run.message}")


def written(outcome: Outcome) -> set[str]:
    """The objects that the requests of a run write; what goes to the task store is named by its request.

    The lock is none of them.
    """
    found = {
        _plain(_written(request.target) if request.side == "api" else str(request))
        for request in outcome.writes
    }
    return {name for name in found if not name.startswith("Lease ")}


def texts(outcome: Outcome) -> list[str]:
    """The requests of a run that write."""
    return [str(request) for request in outcome.writes]


def _written(target: str) -> str:
    parts = target.partition("?")[0].split("/")
    if parts[-2] in _KINDS:
        return f"{_KINDS[parts[-2]]} {parts[-1]}"
    return f"{_KINDS.get(parts[-1], target)} (a new one)"


def _applied(answer: Object) -> Changes:
    return {
        f"{row['kind']} {row['name']}": row["outcome"]
        for row in answer["objects"]
        if row["outcome"] != "unchanged"
    }


def _generated(answer: Object) -> Changes:
    return {f"Secret {answer['secret']}": ", ".join(answer["generated"])} if answer["generated"] else {}


def _identified(answer: Object) -> Changes:
    changes = {
        f"Secret {row['secret']}": row["action"]
        for row in answer["identities"].values()
        if row["action"] != "unchanged"
    }
    return changes | {
        f"Group {name}": f"{row['action']} with {', '.join(row['added'])}"
        for name, row in answer["groups"].items()
        if row["action"] != "unchanged"
    }


_CHANGES: dict[str, t.Callable[[Object], Changes]] = {
    "apply": _applied,
    "credentials": _generated,
    "identities": _identified,
}


def _shown(action: str, diff: t.Any) -> t.Iterator[str]:
    """The objects that a diff is about."""
    if action != "identities":
        for part in diff:
            kind, _blank, name = part["before_header"].partition(" ")
            yield f"{kind} {name.rpartition('/')[2]}"
        return
    if not diff:
        return
    before, after = diff["before"], diff["after"]
    for name, worker in after["workers"].items():
        if before["workers"].get(name) != worker:
            yield f"Secret {worker['secret']}"
    for name, group in after["groups"].items():
        if before["groups"].get(name) != group:
            yield f"Group {name}"


def _plain(name: str) -> str:
    """The name without the digest of what a Job is made of, the experiment's id among it."""
    return _JOB.sub(r"\1-DIGEST", name)
