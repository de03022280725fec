# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The experiment config: its rules, and its text.

EDEN checks the config when a service starts, so a mistake appears as a crash loop. Here it is found before
the first write. Keys that EDEN does not know are kept, as EDEN keeps them.
This module is private to the collection.
"""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden.experiment_config_schema import (
    METRIC_TYPES,
    SCHEMA,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.values import (
    Problem,
    is_integer,
    is_number,
    member,
    shown,
    shown_with_kind,
    suggestion,
    unknown_key,
)

# The guards are for the sanity test, which imports this without the controller's packages.
try:
    import yaml
except ImportError:  # pragma: no cover
    yaml = None  # type: ignore[assignment]
try:
    import jsonschema
except ImportError:  # pragma: no cover
    jsonschema = None

VARIABLE = "eden_experiment_config"
EXAMPLE: str = SCHEMA["examples"][0]
# A ConfigMap holds 1 MiB; the rest is for its metadata.
MAX_SIZE = 1024 * 1024 - 4096
MAX_DEPTH = 64
# The keys with the longest tasks, in seconds.
DEADLINES = tuple(key for key in SCHEMA["properties"] if key.endswith("_task_deadline"))


def problems(config: t.Any, variable: str = VARIABLE) -> list[Problem]:
    """The problems of a config; ``variable`` is its name in messages."""
    found = [problem for error in _validator().iter_errors(config) for problem in _of(error, variable)]
    if isinstance(config, dict):
        found += _misspelled(variable, config)
        if isinstance(config.get("evaluation_schema"), dict):
            found += _policy_metric(variable, config)
            found += _baseline_metrics(variable, config)
    # One value may break several clauses of one rule.
    return list(dict.fromkeys(found))


def parse(content: bytes, variable: str) -> tuple[t.Any, list[Problem]]:
    """The value of a config file, or the problems that keep it from being read."""
    rule = "must name a YAML file with one mapping"
    if len(content) > MAX_SIZE:
        return None, [_too_large(variable)]
    try:
        return yaml.load(content.decode("utf-8"), Loader=_loader()), []
    except UnicodeDecodeError as error:
        return None, [Problem(variable, rule, f"one that is not UTF-8 (byte {error.start})", EXAMPLE)]
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return None, [Problem(variable, rule, f"one that cannot be read: {_words(error)}", EXAMPLE)]


def dump(config: t.Mapping[str, t.Any]) -> str:
    """The config as YAML with sorted keys: equal configs give equal texts.

    In ASCII: PyYAML writes some Unicode line breaks in a way that turns them into spaces.
    """
    return str(yaml.safe_dump(dict(config), sort_keys=True, allow_unicode=False, default_flow_style=False))


def dump_problems(config: t.Any, variable: str = VARIABLE) -> list[Problem]:
    """What keeps a config from being written as YAML, or from being stored."""
    try:
        written = dump(config)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        rule = "must contain only strings, numbers, booleans, lists and mappings"
        return [Problem(variable, rule, f"a value that YAML cannot represent: {_words(error)}", EXAMPLE)]
    return [_too_large(variable)] if len(written) > MAX_SIZE else []


@functools.cache
def _validator() -> t.Any:
    base = jsonschema.Draft202012Validator
    # JSON treats 1.0 as an integer, and YAML has numbers that JSON does not have.
    types = base.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _checker, value: is_integer(value),
            "number": lambda _checker, value: is_number(value),
        }
    )
    return jsonschema.validators.extend(base, type_checker=types)(SCHEMA)


def _of(error: t.Any, variable: str) -> list[Problem]:
    """The problems that an error of the schema stands for."""
    name = functools.reduce(member, error.absolute_path, variable)
    schema, value = error.schema, error.instance
    example = schema.get("examples", [""])[0]
    if error.validator == "required":
        rule = ", ".join(filter(None, ("is required", schema.get("$comment"))))
        missing = [key for key in error.validator_value if key not in value]
        return [Problem(member(name, key), rule, "", example) for key in missing]
    if error.validator == "additionalProperties":
        known = schema["properties"]
        return [unknown_key(name, key, known) for key in value if isinstance(key, str) and key not in known]
    if "propertyNames" in error.absolute_schema_path:
        rule = f"its name must be {schema['description']}"
        return [Problem(member(name, value), rule, shown_with_kind("", value), example)]
    got = "an empty mapping" if value == {} else shown_with_kind(name, value)
    return [Problem(name, f"must be {schema['description']}", got, example)]


def _too_large(variable: str) -> Problem:
    rule = f"must be smaller than {MAX_SIZE // 1024} KiB, the room of a ConfigMap"
    return Problem(variable, rule, "a larger one", EXAMPLE)


def _words(error: Exception) -> str:
    """The message of a YAML error without the quoted lines, which may contain a secret."""
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    if isinstance(error, yaml.reader.ReaderError):
        words = f"{error.reason} (position {error.position})"
    elif isinstance(error, yaml.YAMLError):
        reported = (getattr(error, "context", None), getattr(error, "problem", None))
        words = ", ".join(filter(None, reported)) or "it contains a value of an unsupported type"
    else:
        words = str(error)
    return f"{' '.join(words.split())[:200]}{place}".encode("ascii", "backslashreplace").decode()


@functools.cache
def _loader() -> type:
    """A safe loader that refuses deep nesting and duplicate keys, the last of which would silently win."""

    # Not the faster CSafeLoader: EDEN uses this one, and they accept different input.
    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: t.Any, index: t.Any) -> t.Any:
            self.depth += 1
            if self.depth > MAX_DEPTH + 1:
                raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

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


def _misspelled(variable: str, config: t.Mapping[t.Any, t.Any]) -> list[Problem]:
    """Top-level keys that resemble one that EDEN reads: EDEN would ignore them silently."""
    known = SCHEMA["properties"]
    missing = [key for key in known if key not in config]
    return [
        Problem(member(variable, key), f"is not a key that EDEN reads; did you mean {like}?", "", like)
        for key in config
        if isinstance(key, str) and key not in known and (like := suggestion(key, missing, 0.85))
    ]


def _policy_metric(variable: str, config: t.Mapping[str, t.Any]) -> list[Problem]:
    policy, metrics = config.get("termination_policy"), config["evaluation_schema"]
    if not isinstance(policy, dict) or policy.get("kind") not in ("convergence_window", "target_condition"):
        return []
    metric = policy.get("metric")
    if not isinstance(metric, str) or not metric or metrics.get(metric) in ("integer", "real"):
        return []
    name = f"{variable}.termination_policy.metric"
    rule = "must be a metric of evaluation_schema of the type integer or real"
    return [Problem(name, rule, shown(name, metric), _names(metrics)[0])]


def _baseline_metrics(variable: str, config: t.Mapping[str, t.Any]) -> list[Problem]:
    baseline, metrics = config.get("baseline"), config["evaluation_schema"]
    given = baseline.get("metrics") if isinstance(baseline, dict) else None
    found: list[Problem] = []
    for key, value in given.items() if isinstance(given, dict) else ():
        name = member(f"{variable}.baseline.metrics", key)
        kind = metrics.get(key)
        if kind not in METRIC_TYPES:
            names = _names(metrics)
            rule = f"is not a metric of evaluation_schema, which has {', '.join(names)}"
            found.append(Problem(name, rule, "", names[0]))
        elif not _fits(value, kind):
            rule = f"must be of the type {kind}, as evaluation_schema says"
            example = {"integer": "1", "real": "0.5"}.get(kind, "done")
            found.append(Problem(name, rule, shown_with_kind(name, value), example))
    return found


def _names(metrics: t.Mapping[t.Any, t.Any]) -> list[str]:
    """Names of metrics that are declared, for a message."""
    valid = _validator().evolve(schema=SCHEMA["properties"]["evaluation_schema"]["propertyNames"]).is_valid
    return [key for key in metrics if valid(key)][:3] or ["score"]


def _fits(value: t.Any, kind: str) -> bool:
    if value is None or kind == "text":
        return value is None or isinstance(value, str)
    return is_number(value) if kind == "real" else is_integer(value)


__all__ = ["DEADLINES", "EXAMPLE", "MAX_DEPTH", "MAX_SIZE", "dump", "dump_problems", "parse", "problems"]
