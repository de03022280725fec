# SPDX-License-Identifier: GPL-3.0-or-later
"""The experiment config: a YAML file, of which the stand-in checks what its services use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .shapes import (
    Invalid,
    boolean,
    by_kind,
    integer,
    map_of,
    mapping,
    nullable,
    number,
    one_of,
    positive,
    record,
    string,
)


@dataclass(frozen=True)
class ExperimentConfig:
    """What the services use of an experiment config.

    `evaluation_schema` maps metric name to `integer`, `real` or `text`; the policy is the block of the file,
    None when absent; `deadlines` are the seconds that a command may take. EDEN has no keys for the last two:
    `seconds` is what a host takes for a scripted task of each kind, and the executor host from the
    publication of its commit to the submit; with `verify_once` a worker pays for argon2 with its first
    request only.
    """

    evaluation_schema: dict[str, str]
    objective: dict[str, Any]
    ideation_policy: dict[str, Any] | None
    baseline_enabled: bool
    baseline_metrics: dict[str, Any] | None
    max_quiescent_iterations: int | None
    commands: dict[str, Any]
    deadlines: dict[str, float]
    seconds: dict[str, float]
    verify_once: bool

    def command(self, kind: str) -> str:
        """The command for tasks of this kind. Raises ValueError when there is none."""
        command = self.commands[kind]
        if not isinstance(command, str) or not command.strip():
            raise ValueError(f"experiment-config is missing required key '{kind}_command'")
        return command


_DEADLINES = {"ideation": 120.0, "execution": 600.0, "evaluation": 300.0}
_WORK = ("ideation", "execution", "publication", "evaluation")
_METRIC = string("[A-Za-z_][A-Za-z0-9_]*")
_CONFIG = record(
    {
        "parallel_variants": integer(1),
        "evaluation_schema": map_of(one_of("integer", "real", "text"), key=_METRIC),
        "objective": record({"expr": string(minimum=1), "direction": one_of("maximize", "minimize")}),
    },
    {
        "dispatch_mode": map_of(one_of("auto", "manual")),
        "ideation_policy": by_kind(
            {
                "maintain_pending": record({}, {"target": integer(1), "max_total": nullable(integer(0))}),
                "fixed_total": record({"total": integer(1)}),
            }
        ),
        # An experiment ends when its orchestrator has nothing left to do.
        "termination_policy": by_kind({"never_terminate": mapping}),
        "baseline": record({}, {"enabled": boolean, "metrics": mapping}),
        "max_quiescent_iterations": integer(2),
        **dict.fromkeys((f"{kind}_task_deadline" for kind in _DEADLINES), positive),
        "standin_argon2": one_of("every", "once"),
        "standin_seconds": record({}, dict.fromkeys(_WORK, number(0)), closed=True),
    },
)


def load(path: str | Path) -> ExperimentConfig:
    """Read the experiment config at `path`. Raises OSError, yaml.YAMLError or Invalid."""
    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    _CONFIG(document, "experiment config")
    if not document["evaluation_schema"]:
        raise Invalid("experiment config.evaluation_schema: must declare at least one metric")
    baseline = document.get("baseline", {})
    return ExperimentConfig(
        evaluation_schema=document["evaluation_schema"],
        objective=document["objective"],
        ideation_policy=document.get("ideation_policy"),
        baseline_enabled=baseline.get("enabled", True),
        baseline_metrics=baseline.get("metrics"),
        max_quiescent_iterations=document.get("max_quiescent_iterations"),
        commands={kind: document.get(f"{kind}_command") for kind in _DEADLINES},
        deadlines={kind: document.get(f"{kind}_task_deadline", most) for kind, most in _DEADLINES.items()},
        seconds=document.get("standin_seconds", {}),
        verify_once=document.get("standin_argon2") == "once",
    )
