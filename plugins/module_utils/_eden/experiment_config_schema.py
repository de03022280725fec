# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The JSON Schema of an experiment config.

Written for this collection after the facts of EDEN's own, which is normative and under the MIT license:
https://github.com/ealt/eden/blob/main/spec/v0/schemas/experiment-config.schema.json. It is stricter if the
reference implementation or this deployment cannot run what that one allows. A description continues
"must be", the first example is valid, and a $comment of a condition says why its keys are required.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t

Schema = dict[str, t.Any]

# Names that EDEN's variant object uses for itself.
RESERVED_METRICS = (
    *("variant_id", "commit_sha", "parent_commits", "branch", "status", "artifacts_uri", "description"),
    *("timestamp", "started_at", "completed_at"),
)
# EDEN accepts these, but the task store makes a view with a column for each metric beside these columns, and
# PostgreSQL refuses a view with two columns of one name: the task store would not start.
VIEW_COLUMNS = (
    *("experiment_id", "kind", "idea_id", "variant_commit_sha", "executor_artifacts_uri", "executed_by"),
    *("evaluated_by", "evaluation"),
)
# PostgreSQL cuts longer column names, and two may become one.
MAX_METRIC_LENGTH = 63
METRIC_TYPES = ("integer", "real", "text")
# EDEN adds deadlines to the time of day, which ends in the year 9999.
MAX_SECONDS = 10**9
# The forms that EDEN's parser takes, without the numbers that overflow it.
DURATION = (
    r"\AP(?=.*[1-9])(?=.)(?:[0-9]{1,4}Y)?(?:[0-9]{1,4}M)?(?:[0-9]{1,4}W)?(?:[0-9]{1,6}D)?"
    r"(?:T(?=.)(?:[0-9]{1,6}H)?(?:[0-9]{1,6}M)?(?:[0-9]{1,9}(?:\.[0-9]{1,6})?S)?)?\Z"
)


def _integer(minimum: int, example: int) -> Schema:
    words = f"an integer of at least {minimum}"
    return {"type": "integer", "minimum": minimum, "description": words, "examples": [str(example)]}


def _choice(*words: str) -> Schema:
    return {"enum": list(words), "description": f"one of {', '.join(words)}", "examples": [words[0]]}


def _mapping(properties: dict[str, Schema], example: str, *required: str) -> Schema:
    return {
        "type": "object",
        "description": f"a mapping with the keys {', '.join(properties)}",
        "examples": [example],
        "properties": properties,
        "required": list(required),
        "propertyNames": {"type": "string", "description": "a string", "examples": [next(iter(properties))]},
    }


def _kinds(properties: dict[str, Schema], **examples: tuple[str, tuple[str, ...]]) -> Schema:
    """A mapping whose ``kind`` says which keys it needs."""
    first = next(iter(examples.values()))[0]
    schema = _mapping({"kind": _choice(*examples), **properties}, first, "kind")
    schema["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"required": list(required), "examples": [example]},
        }
        for kind, (example, required) in examples.items()
    ]
    return schema


_BOOLEAN: Schema = {"type": "boolean", "description": "true or false", "examples": ["true"]}
_SECONDS: Schema = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MAX_SECONDS,
    "description": f"a number of seconds greater than 0 and at most {MAX_SECONDS}",
    "examples": ["600"],
}
_METRIC: Schema = {
    "type": "string",
    "minLength": 1,
    "description": "the name of a metric",
    "examples": ["score"],
}
_DIRECTION = _choice("maximize", "minimize")

SCHEMA: Schema = _mapping(
    {
        "parallel_variants": _integer(1, 1),
        "evaluation_schema": {
            "type": "object",
            "minProperties": 1,
            "description": "a mapping of at least one metric to its type",
            "examples": ["{score: real}"],
            "additionalProperties": _choice(*METRIC_TYPES),
            "propertyNames": {
                "type": "string",
                "pattern": r"\A[A-Za-z_][A-Za-z0-9_]*\Z",
                "maxLength": MAX_METRIC_LENGTH,
                "not": {"enum": [*RESERVED_METRICS, *VIEW_COLUMNS]},
                "description": f"at most {MAX_METRIC_LENGTH} letters, digits and _, without a digit first, "
                "and none that EDEN uses for itself",
                "examples": ["my_metric"],
            },
        },
        "objective": _mapping(
            {
                "expr": {
                    "type": "string",
                    "minLength": 1,
                    "description": "an expression over the metrics",
                    "examples": ["score"],
                },
                "direction": _DIRECTION,
            },
            "{expr: score, direction: maximize}",
            "expr",
            "direction",
        ),
        "dispatch_mode": _mapping(
            {
                key: _choice("auto", "manual")
                for key in (
                    *("termination", "ideation_creation", "execution_dispatch"),
                    *("evaluation_dispatch", "integration"),
                )
            },
            "{termination: manual}",
        ),
        "ideation_policy": _kinds(
            {
                "total": _integer(1, 3),
                "target": _integer(1, 3),
                "max_total": {
                    "type": ["integer", "null"],
                    "minimum": 0,
                    "description": "an integer of at least 0, or null",
                    "examples": ["10"],
                },
            },
            fixed_total=("{kind: fixed_total, total: 3}", ("total",)),
            maintain_pending=("{kind: maintain_pending}", ()),
        ),
        "termination_policy": _kinds(
            {
                "target": _integer(1, 20),
                "duration": {
                    "type": "string",
                    "pattern": DURATION,
                    "description": "an ISO 8601 duration greater than 0",
                    "examples": ["PT2H"],
                },
                "metric": _METRIC,
                "window": _integer(1, 5),
                "threshold": {"type": "number", "description": "a number", "examples": ["0.9"]},
                "direction": _DIRECTION,
            },
            max_variants=("{kind: max_variants, target: 20}", ("target",)),
            never_terminate=("{kind: never_terminate}", ()),
            max_wall_time=("{kind: max_wall_time, duration: PT2H}", ("duration",)),
            convergence_window=(
                "{kind: convergence_window, metric: score, window: 5}",
                ("metric", "window"),
            ),
            target_condition=(
                "{kind: target_condition, metric: score, threshold: 0.9}",
                ("metric", "threshold"),
            ),
        ),
        "baseline": {
            **_mapping(
                {
                    "enabled": _BOOLEAN,
                    "metrics": {
                        "type": "object",
                        "description": "a mapping of metrics to values",
                        "examples": ["{score: 0.5}"],
                    },
                },
                "{enabled: true}",
            ),
            "if": {"properties": {"enabled": {"const": False}}, "required": ["enabled"]},
            "then": {
                "properties": {
                    "metrics": {
                        "not": {},
                        "description": "left out if baseline.enabled is false",
                        "examples": ["{enabled: false}"],
                    }
                }
            },
        },
        "auto_checkpoint": {
            **_mapping(
                {
                    "enabled": {
                        "const": False,
                        "description": "false: there is no volume for checkpoints, without which it ends",
                        "examples": ["false"],
                    },
                    "interval_seconds": _SECONDS,
                    "retention_count": _integer(1, 6),
                    "on_terminate": _BOOLEAN,
                },
                "{enabled: false}",
            ),
            "additionalProperties": False,
        },
        "max_quiescent_iterations": _integer(2, 3),
        "ideation_task_deadline": _SECONDS,
        "execution_task_deadline": _SECONDS,
        "evaluation_task_deadline": _SECONDS,
    },
    "{parallel_variants: 1, evaluation_schema: {score: real}, objective: {expr: score, direction: maximize}}",
    "parallel_variants",
    "evaluation_schema",
    "objective",
)
SCHEMA["if"] = {
    "properties": {
        "dispatch_mode": {
            "type": "object",
            "properties": {"termination": {"const": "auto"}},
            "required": ["termination"],
        }
    },
    "required": ["dispatch_mode"],
}
SCHEMA["then"] = {
    "required": ["termination_policy"],
    "$comment": "since dispatch_mode.termination is auto",
    "examples": ["{kind: max_variants, target: 20}"],
}

__all__ = ["METRIC_TYPES", "SCHEMA"]
