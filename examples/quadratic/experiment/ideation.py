# SPDX-License-Identifier: GPL-3.0-or-later
"""Propose points near the best one so far: a dialogue of JSON lines for as long as the host lives."""

import json
import math
import os
import random
import sys

START = {"x": 0.0, "y": 0.0, "score": -13.0}


def say(**message: object) -> None:
    """Send one line to the host."""
    print(json.dumps(message), flush=True)


def propose(history: list[dict], generator: random.Random) -> dict[str, float]:
    """A point around the best one, at a distance that shrinks as the score approaches 0."""
    evaluated = [entry["evaluation"] for entry in history if entry["status"] == "success"]
    best = max([START, *evaluated], key=lambda evaluation: evaluation["score"])
    spread = math.sqrt(max(-best["score"], 1e-6)) / 2
    return {name: best[name] + generator.gauss(0, spread) for name in ("x", "y")}


def main() -> None:
    """Answer each question of the host."""
    say(event="ready")
    for line in sys.stdin:
        question = json.loads(line)
        if question.get("event") != "ideation":
            continue
        task = question["task_id"]
        generator = random.Random(task)
        for number in range(int(os.environ.get("EDEN_IDEAS_PER_IDEATION", "1"))):
            say(
                event="idea",
                task_id=task,
                slug=f"point-{number}",
                priority=1.0,
                parent_commits=[os.environ["EDEN_BASE_COMMIT_SHA"]],
                content=json.dumps(propose(question["history"], generator)),
            )
        say(event="ideation-done", task_id=task)


if __name__ == "__main__":
    main()
