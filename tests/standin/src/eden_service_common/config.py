# SPDX-License-Identifier: GPL-3.0-or-later
"""The experiment config: a YAML file, checked as a whole before anything of it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from .shapes import (
    Invalid,
    boolean,
    by_kind,
    integer,
    mapping,
    nullable,
    number,
    one_of,
    record,
    string,
)

_METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED_METRICS = frozenset(
    "variant_id commit_sha parent_commits branch status artifacts_uri description timestamp started_at"
    " completed_at".split()
)
_DURATION = re.compile(
    r"P(?:(?P<weeks>[0-9.]+)W)?(?:(?P<days>[0-9.]+)D)?"
    r"(?:T(?:(?P<hours>[0-9.]+)H)?(?:(?P<minutes>[0-9.]+)M)?(?:(?P<seconds>[0-9.]+)S)?)?"
)
_MODE = one_of("auto", "manual")
_DIRECTION = one_of("maximize", "minimize")


@dataclass(frozen=True)
class ExperimentConfig:
    """What the services use of an experiment config.

    `evaluation_schema` maps metric name to `integer`, `real` or `text`; the policies are the blocks of
    the file, None when absent.
    """

    evaluation_schema: dict[str, str]
    ideation_policy: dict[str, Any] | None
    termination_policy: dict[str, Any] | None
    baseline_enabled: bool
    baseline_metrics: dict[str, Any] | None
    auto_checkpoint_enabled: bool
    max_quiescent_iterations: int | None


def load(path: str | Path) -> ExperimentConfig:
    """Read the experiment config at `path`. Raises OSError, yaml.YAMLError or Invalid."""
    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    _CONFIG(document, "experiment config")
    baseline = document.get("baseline", {})
    if baseline.get("enabled") is False and "metrics" in baseline:
        raise Invalid("experiment config.baseline.metrics: forbidden when baseline.enabled is false")
    modes = document.get("dispatch_mode", {})
    if modes.get("termination") == "auto" and "termination_policy" not in document:
        raise Invalid("experiment config.termination_policy: required when dispatch_mode.termination is auto")
    return ExperimentConfig(
        evaluation_schema=document["evaluation_schema"],
        ideation_policy=document.get("ideation_policy"),
        termination_policy=document.get("termination_policy"),
        baseline_enabled=baseline.get("enabled", True),
        baseline_metrics=baseline.get("metrics"),
        auto_checkpoint_enabled=document.get("auto_checkpoint", {}).get("enabled", False),
        max_quiescent_iterations=document.get("max_quiescent_iterations"),
    )


def parse_duration(value: str) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds. Raises Invalid unless positive."""
    match = _DURATION.fullmatch(value)
    try:
        parts = {unit: float(text) for unit, text in match.groupdict().items() if text} if match else {}
    except ValueError as error:
        raise Invalid(f"{value!r} is no ISO 8601 duration: {error}") from error
    duration = timedelta(**parts)
    if duration <= timedelta(0):
        raise Invalid(f"{value!r} is no positive ISO 8601 duration such as PT2H")
    return duration


def _duration(value: Any, where: str) -> None:
    string(minimum=1)(value, where)
    try:
        parse_duration(value)
    except Invalid as error:
        raise Invalid(f"{where}: {error}") from error


def _evaluation_schema(value: Any, where: str) -> None:
    mapping(value, where)
    if not value:
        raise Invalid(f"{where}: must declare at least one metric")
    for name, kind in value.items():
        if not isinstance(name, str) or _METRIC_NAME.fullmatch(name) is None:
            raise Invalid(f"{where}: {name!r} is no metric name")
        if name in _RESERVED_METRICS:
            raise Invalid(f"{where}: the metric name {name!r} is reserved")
        one_of("integer", "real", "text")(kind, f"{where}.{name}")


_CONFIG = record(
    {
        "parallel_variants": integer(1),
        "evaluation_schema": _evaluation_schema,
        "objective": record({"expr": string(minimum=1), "direction": _DIRECTION}),
    },
    {
        "dispatch_mode": record(
            {},
            dict.fromkeys(
                (
                    "termination",
                    "ideation_creation",
                    "execution_dispatch",
                    "evaluation_dispatch",
                    "integration",
                ),
                _MODE,
            ),
        ),
        "ideation_policy": by_kind(
            {
                "maintain_pending": record({}, {"target": integer(1), "max_total": nullable(integer(0))}),
                "fixed_total": record({"total": integer(1)}),
            }
        ),
        "termination_policy": by_kind(
            {
                "never_terminate": mapping,
                "max_variants": record({"target": integer(1)}),
                "max_wall_time": record({"duration": _duration}),
                "convergence_window": record(
                    {"metric": string(minimum=1), "window": integer(1)}, {"direction": _DIRECTION}
                ),
                "target_condition": record(
                    {"metric": string(minimum=1), "threshold": number()}, {"direction": _DIRECTION}
                ),
            }
        ),
        "baseline": record({}, {"enabled": boolean, "metrics": mapping}),
        "auto_checkpoint": record(
            {},
            {
                "enabled": boolean,
                "interval_seconds": number(above=0),
                "retention_count": integer(1),
                "on_terminate": boolean,
            },
            closed=True,
        ),
        "max_quiescent_iterations": integer(2),
        "ideation_task_deadline": number(above=0),
        "execution_task_deadline": number(above=0),
        "evaluation_task_deadline": number(above=0),
    },
)
