# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The experiment config: its rules, and its text.

EDEN checks the config when a service starts, so that a mistake shows as a crash loop. Here it shows before
the first write. Keys that EDEN does not know are kept, as EDEN keeps them.
This module is private to the collection.
"""

from __future__ import annotations

import math
import re
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden.values import (
    Check,
    Problem,
    boolean,
    choice,
    either,
    is_number,
    mapping,
    member,
    number_above_zero,
    shown,
    shown_with_kind,
    suggestion,
    text,
    whole_number,
)

try:
    import yaml
except ImportError:  # pragma: no cover
    # Ansible depends on it; the guard is for the sanity test, which imports this without Ansible.
    yaml = None  # type: ignore[assignment]

VARIABLE = "eden_experiment_config"

DEFAULT: dict[str, t.Any] = {
    "parallel_variants": 1,
    "evaluation_schema": {"score": "real"},
    "objective": {"expr": "score", "direction": "maximize"},
    "ideation_policy": {"kind": "fixed_total", "total": 3},
}

# A ConfigMap holds 1 MiB; the rest is room for what goes with the text.
LARGEST = 1024 * 1024 - 4096
DEEPEST = 64
# EDEN adds deadlines to the time of day, which ends in the year 9999.
MOST_SECONDS = 10**9
EXAMPLE = (
    "{parallel_variants: 1, evaluation_schema: {score: real}, objective: {expr: score, direction: maximize}}"
)

# Names that the variant object uses for itself.
RESERVED_METRICS = frozenset(
    {
        "variant_id",
        "commit_sha",
        "parent_commits",
        "branch",
        "status",
        "artifacts_uri",
        "description",
        "timestamp",
        "started_at",
        "completed_at",
    }
)
# EDEN lets these pass, but the task store makes a view with a column of each metric beside these columns, and
# PostgreSQL refuses a view with two columns of one name: the task store would not start.
VIEW_COLUMNS = frozenset(
    {
        "experiment_id",
        "kind",
        "idea_id",
        "variant_commit_sha",
        "executor_artifacts_uri",
        "executed_by",
        "evaluated_by",
        "evaluation",
    }
)
# Longer column names are cut by PostgreSQL, and two may become one.
LONGEST_METRIC = 63
METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
METRIC_TYPES = ("integer", "real", "text")

# The forms that EDEN's parser takes, without the numbers that overflow it.
DURATION = re.compile(
    r"P(?=.)(?:[0-9]{1,4}Y)?(?:[0-9]{1,4}M)?(?:[0-9]{1,4}W)?(?:[0-9]{1,6}D)?"
    r"(?:T(?=.)(?:[0-9]{1,6}H)?(?:[0-9]{1,6}M)?(?:[0-9]{1,9}(?:\.[0-9]{1,6})?S)?)?"
)


def problems(config: t.Any, variable: str = VARIABLE) -> list[Problem]:
    """What is wrong with a config; ``variable`` is what the messages call it."""
    found = _CONFIG(variable, config)
    if not isinstance(config, dict):
        return found
    found += _misspelled(variable, config)
    if _at(config, "dispatch_mode", "termination") == "auto" and "termination_policy" not in config:
        found.append(
            Problem(
                member(variable, "termination_policy"),
                "is required, since dispatch_mode.termination is auto",
                "",
                "{kind: max_variants, target: 20}",
            )
        )
    if isinstance(config.get("evaluation_schema"), dict):
        found += _policy_metric(variable, config)
        found += _baseline_metrics(variable, config)
    return found


def parse(content: bytes, variable: str) -> tuple[str, t.Any, list[Problem]]:
    """The text and the value of a config file.

    Returns:
        The text, the value, and the problems that kept it from being read; with problems the value is None.
    """
    rule = "must name a YAML file with one mapping"
    if len(content) > LARGEST:
        return "", None, [_too_large(variable)]
    try:
        written = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return "", None, [Problem(variable, rule, f"one that is not UTF-8 (byte {error.start})", EXAMPLE)]
    try:
        _refuse_depth(written)
        return written, yaml.load(written, Loader=_unique_keys_loader()), []
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return "", None, [Problem(variable, rule, f"one that cannot be read: {_said(error)}", EXAMPLE)]


def dump(config: t.Mapping[str, t.Any]) -> str:
    """The config as YAML with sorted keys: equal configs give equal texts.

    In ASCII: PyYAML writes some line breaks of Unicode so that they come back as spaces.
    """
    return str(yaml.safe_dump(dict(config), sort_keys=True, allow_unicode=False, default_flow_style=False))


def dump_problems(config: t.Any, variable: str = VARIABLE) -> list[Problem]:
    """What keeps a config from being written as YAML, or from being stored."""
    try:
        written = dump(config)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        rule = "must hold texts, numbers, booleans, lists and mappings"
        return [Problem(variable, rule, f"what YAML cannot hold: {_said(error)}", EXAMPLE)]
    return [_too_large(variable)] if len(written) > LARGEST else []


def _too_large(variable: str) -> Problem:
    return Problem(
        variable,
        f"must be smaller than {LARGEST // 1024} KiB, the room of a ConfigMap",
        "a larger one",
        EXAMPLE,
    )


def _said(error: Exception) -> str:
    """What a YAML error says, without the lines of the text that it quotes: one may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    if isinstance(error, yaml.reader.ReaderError):
        words = f"{error.reason} (position {error.position})"
    elif isinstance(error, yaml.YAMLError):
        parts = (getattr(error, "context", None), getattr(error, "problem", None))
        words = ", ".join(filter(None, parts)) or "it holds a value of another kind"
    else:
        words = str(error)
    return f"{' '.join(words.split())[:200]}{place}".encode("ascii", "backslashreplace").decode()


def _refuse_depth(written: str) -> None:
    """Refuse a text that is nested too deeply, before a parser recurses into it.

    Raises:
        ValueError: it is.
    """
    depth = 0
    for event in yaml.parse(written, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unique_keys_loader() -> type:
    """A safe loader that refuses a key given twice, of which others take the last in silence."""

    # Not the faster CSafeLoader: EDEN reads the file with this one, and they differ in what they take.
    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: t.Any, deep: bool = False) -> t.Any:
            seen = set()
            for key, _value in getattr(node, "value", ()):
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if (key.tag, key.value) in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"the key {key.value!r} is given twice", key.start_mark
                        )
                    seen.add((key.tag, key.value))
            return super().construct_mapping(node, deep)

    return Loader


def _metrics(variable: str, value: t.Any) -> list[Problem]:
    example = "{score: real}"
    if not isinstance(value, dict) or not value:
        got = "an empty mapping" if isinstance(value, dict) else shown_with_kind(variable, value)
        return [Problem(variable, "must be a mapping of at least one metric to its type", got, example)]
    found: list[Problem] = []
    for name, kind in value.items():
        found += _metric_name(member(variable, name), name)
        found += choice(*METRIC_TYPES)(member(variable, name), kind)
    return found


def _metric_name(variable: str, name: t.Any) -> list[Problem]:
    if not isinstance(name, str) or not METRIC.fullmatch(name):
        rule = "the name of a metric must be letters, digits and _, and not begin with a digit"
        return [Problem(variable, rule, shown_with_kind("", name), "score")]
    if name in RESERVED_METRICS or name in VIEW_COLUMNS:
        return [
            Problem(
                variable,
                f"the name of a metric must not be {name}, which EDEN uses for itself",
                "",
                f"my_{name}",
            )
        ]
    if len(name) > LONGEST_METRIC:
        return [
            Problem(
                variable,
                f"the name of a metric must have at most {LONGEST_METRIC} characters",
                str(len(name)),
                "score",
            )
        ]
    return []


def _is_duration(value: str) -> bool:
    return DURATION.fullmatch(value) is not None and re.search(r"[1-9]", value) is not None


def _not_empty(wanted: str, example: str) -> Check:
    """A check for text that may also have several lines."""

    def check(variable: str, value: t.Any) -> list[Problem]:
        if isinstance(value, str) and value:
            return []
        got = "an empty text" if isinstance(value, str) else shown_with_kind(variable, value)
        return [Problem(variable, f"must be {wanted}", got, example)]

    return check


def _finite(variable: str, value: t.Any) -> list[Problem]:
    return (
        []
        if is_number(value)
        else [Problem(variable, "must be a number", shown_with_kind(variable, value), "0.9")]
    )


def _null(variable: str, value: t.Any) -> list[Problem]:
    return [] if value is None else [Problem(variable, "must be null", "", "null")]


def _policy(example: str, kinds: t.Mapping[str, tuple[t.Mapping[str, Check], tuple[str, ...]]]) -> Check:
    """A check for a mapping whose ``kind`` says which keys it has and needs; other keys are tolerated."""
    kind_check = choice(*kinds)

    def check(variable: str, value: t.Any) -> list[Problem]:
        if not isinstance(value, dict):
            return [
                Problem(variable, "must be a mapping with a kind", shown_with_kind(variable, value), example)
            ]
        found = mapping(example, {"kind": kind_check}, ["kind"], closed=False)(variable, value)
        if found:
            return found
        entries, required = kinds[value["kind"]]
        return mapping(example, entries, required, closed=False)(variable, value)

    return check


def _auto_checkpoint(variable: str, value: t.Any) -> list[Problem]:
    found = _AUTO_CHECKPOINT(variable, value)
    if isinstance(value, dict) and value.get("enabled") is True:
        rule = "must be false: the orchestrator needs a volume for checkpoints and does not start without one"
        found.append(Problem(member(variable, "enabled"), rule, "true", "false"))
    return found


def _baseline(variable: str, value: t.Any) -> list[Problem]:
    found = _BASELINE(variable, value)
    if isinstance(value, dict) and value.get("enabled") is False and "metrics" in value:
        found.append(
            Problem(
                member(variable, "metrics"),
                "must not be given where baseline.enabled is false",
                "",
                "{enabled: false}",
            )
        )
    return found


def _mapping(variable: str, value: t.Any) -> list[Problem]:
    return (
        []
        if isinstance(value, dict)
        else [Problem(variable, "must be a mapping", shown_with_kind(variable, value), "{}")]
    )


def _misspelled(variable: str, config: t.Mapping[t.Any, t.Any]) -> list[Problem]:
    """Top-level keys that are one or two letters off one that EDEN reads: it would ignore them in silence."""
    found: list[Problem] = []
    for key in config:
        if (
            isinstance(key, str)
            and key not in _KEYS
            and (like := suggestion(key, set(_KEYS) - set(config), 0.9))
        ):
            found.append(
                Problem(
                    member(variable, key), f"is not a key that EDEN reads; did you mean {like}?", "", like
                )
            )
    return found


def _policy_metric(variable: str, config: t.Mapping[str, t.Any]) -> list[Problem]:
    metric = _at(config, "termination_policy", "metric")
    schema = config["evaluation_schema"]
    if (
        not isinstance(metric, str)
        or not metric
        or _at(config, "termination_policy", "kind") not in _METRIC_POLICIES
    ):
        return []
    if schema.get(metric) in ("integer", "real"):
        return []
    name = f"{variable}.termination_policy.metric"
    rule = "must be a metric of evaluation_schema of the type integer or real"
    return [Problem(name, rule, shown(name, metric), _declared(schema)[0][:LONGEST_METRIC])]


def _declared(schema: t.Mapping[t.Any, t.Any]) -> list[str]:
    """Names of metrics that the schema declares, for a message."""
    return [key for key in schema if isinstance(key, str) and METRIC.fullmatch(key)][:5] or ["score"]


def _baseline_metrics(variable: str, config: t.Mapping[str, t.Any]) -> list[Problem]:
    metrics, schema = _at(config, "baseline", "metrics"), config["evaluation_schema"]
    if not isinstance(metrics, dict):
        return []
    found: list[Problem] = []
    for key, value in metrics.items():
        name = member(f"{variable}.baseline.metrics", key)
        kind = schema.get(key)
        if kind not in METRIC_TYPES:
            names = _declared(schema)
            rule = f"is not a metric of evaluation_schema, which has {', '.join(names)[:200]}"
            found.append(Problem(name, rule, "", names[0][:LONGEST_METRIC]))
        elif not _fits(value, kind):
            found.append(
                Problem(
                    name,
                    f"must be of the type {kind}, as evaluation_schema says",
                    shown_with_kind(name, value),
                    {"integer": "1", "real": "0.5"}.get(kind, "done"),
                )
            )
    return found


def _fits(value: t.Any, kind: str) -> bool:
    if value is None:
        return True
    if kind == "text":
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (kind == "real" and isinstance(value, float) and math.isfinite(value))


def _at(config: t.Mapping[str, t.Any], *keys: str) -> t.Any:
    value: t.Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


_METRIC_POLICIES = ("convergence_window", "target_condition")
_metric_reference = _not_empty("the name of a metric", "score")
_direction = choice("maximize", "minimize")
_seconds = number_above_zero("a number of seconds", "600", MOST_SECONDS)

_AUTO_CHECKPOINT = mapping(
    "{enabled: false}",
    {
        "enabled": boolean(False),
        "interval_seconds": _seconds,
        "retention_count": whole_number(1, None, 6),
        "on_terminate": boolean(),
    },
)
_BASELINE = mapping("{enabled: true}", {"enabled": boolean(), "metrics": _mapping}, closed=False)

_KEYS: dict[str, Check] = {
    "parallel_variants": whole_number(1, None, 1),
    "evaluation_schema": _metrics,
    "objective": mapping(
        "{expr: score, direction: maximize}",
        {"expr": _not_empty("an expression over the metrics", "score"), "direction": _direction},
        ["expr", "direction"],
        closed=False,
    ),
    "dispatch_mode": mapping(
        "{termination: manual}",
        {
            key: choice("auto", "manual")
            for key in (
                "termination",
                "ideation_creation",
                "execution_dispatch",
                "evaluation_dispatch",
                "integration",
            )
        },
        closed=False,
    ),
    "ideation_policy": _policy(
        "{kind: fixed_total, total: 3}",
        {
            "fixed_total": ({"total": whole_number(1, None, 3)}, ("total",)),
            "maintain_pending": (
                {"target": whole_number(1, None, 3), "max_total": either(_null, whole_number(0, None, 10))},
                (),
            ),
        },
    ),
    "termination_policy": _policy(
        "{kind: max_variants, target: 20}",
        {
            "never_terminate": ({}, ()),
            "max_variants": ({"target": whole_number(1, None, 20)}, ("target",)),
            "max_wall_time": (
                {"duration": text("an ISO 8601 duration greater than 0", "PT2H", _is_duration)},
                ("duration",),
            ),
            "convergence_window": (
                {"metric": _metric_reference, "window": whole_number(1, None, 5), "direction": _direction},
                ("metric", "window"),
            ),
            "target_condition": (
                {"metric": _metric_reference, "threshold": _finite, "direction": _direction},
                ("metric", "threshold"),
            ),
        },
    ),
    "baseline": _baseline,
    "auto_checkpoint": _auto_checkpoint,
    "max_quiescent_iterations": whole_number(2, None, 3),
    "ideation_task_deadline": _seconds,
    "execution_task_deadline": _seconds,
    "evaluation_task_deadline": _seconds,
}

_CONFIG = mapping(
    EXAMPLE,
    _KEYS,
    ["parallel_variants", "evaluation_schema", "objective"],
    closed=False,
)
