# SPDX-License-Identifier: GPL-3.0-or-later
"""Invalid and nearly valid inputs, generated from the role's argument spec, and what a refusal must say."""

from __future__ import annotations

import copy
import datetime
import json
import pathlib
import typing as t

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_cases import CASES, EXPERIMENT

from ansible_collections.eden.reference.plugins.module_utils._eden import inputs
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Problem

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles" / "eden"
Option = dict[str, t.Any]
Path = tuple[t.Any, ...]
SPEC: dict[str, Option] = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())[
    "argument_specs"
]["inputs"]["options"]
DEFAULTS: dict[str, t.Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
RIGHT: dict[str, t.Any] = {**DEFAULTS, "eden_name": "eden", "eden_namespace": "eden", "eden_image": "eden:1"}
CONFIG = yaml.safe_dump(DEFAULTS["eden_experiment_config"]).encode()

# Stands for a secret. It never is in the part of a value that a message may show.
CANARY = "hunter2"
# What no input may hold: templates, control characters, characters that do not show.
NOISE = [
    *("\x00", "\x07", "\x1b[31m", "\x7f", "\x85", "\n", "\r\n", "\t", "\u2028", "\u202e", "\u2066", "\u200b"),
    *("\u200d", "\ufeff", "\u00ad", "\ud800", "\ue000", "\U000e0041", "{{ nope }}", "{% if x %}", "{#", " "),
]
# What is easily taken for part of a valid value.
DOUBTFUL = [
    *(
        "\u0430",
        "\u0435",
        "\u0131",
        "\uff0d",
        "\u2024",
        "\uff1a",
        "\u0660",
        "../../../../etc/passwd",
        "..",
        "./",
    ),
    *("%2e%2e%2f", "..\\..\\", "'", '"', "\\", "$(id)", "\U0001f680"),
]
# What YAML makes of it is no string.
YAML_SPELLINGS = [
    *("no", "off", "on", "yes", "true", "~", "1", "1.0", "0x10", "017", "0b11", "1.5e+3", ".inf", ".nan"),
    *("1:30", "2020-01-01", "2020-01-01T00:00:00Z", "[]", "{}", "[a]", "{a:}", "!!binary"),
]
EDITS = "-_.:/@ aZ09{%\n\u0430\u202e"
NOW = "requiredDuringSchedulingIgnoredDuringExecution"
LATER = "preferredDuringSchedulingIgnoredDuringExecution"
EXPRESSIONS = [
    {"key": "pool", "operator": "In", "values": ["a", "b"]},
    {"key": "example.org/gpu", "operator": "DoesNotExist"},
]


def option(path: Path) -> Option:
    """The spec of an input, or of a key of one."""
    found = SPEC[path[0]]
    for key in path[1:]:
        found = found["options"][key]
    return found


def _paths(path: Path, spec: Option) -> t.Iterator[Path]:
    yield path
    for key, inner in spec.get("options", {}).items():
        yield from _paths((*path, key), inner)


# Every input, and every key of one that the spec documents.
PATHS: list[Path] = [path for name, spec in SPEC.items() for path in _paths((name,), spec)]
STRINGS = [path for path in PATHS if option(path)["type"] == "str"]
# A valid value of each input, with as much in it as there can be. No part is shared.
FULL: dict[str, t.Any] = json.loads(
    json.dumps(
        {
            **{name: value for name, value in RIGHT.items() if value not in ("", {}, [])},
            **CASES["knobs"],
            "eden_experiment_id": "exp_01jabcdefghjkmnpqrstvwxyz0",
            "eden_kubeconfig": "~/.kube/config",
            "eden_context": "kind-eden",
            "eden_task_store_url": "https://eden.example.org:8443/store",
            "eden_experiment_config_file": "config.yaml",
            "eden_confirm": "eden",
            "eden_experiment_dir": str(EXPERIMENT),
            "eden_experiment_source": {
                "git": "https://git.example.org/experiment.git",
                "commit": "0123456789" * 4,
                "path": "experiments/ranking",
            },
            "eden_seed_dir": str(EXPERIMENT / "start"),
            "eden_workers": {"evaluator_host": {"replicas": 2, "egress": [{}]}},
            "eden_artifacts_access_mode": "ReadWriteMany",
            "eden_postgres_resources": {
                "requests": {"nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi"},
                "limits": {"memory": "1Gi", "nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi"},
            },
            "eden_forgejo_resources": {"requests": {"cpu": "100m"}},
            "eden_tolerations": [
                {
                    "key": "pool",
                    "operator": "Equal",
                    "value": "a",
                    "effect": "NoExecute",
                    "tolerationSeconds": 60,
                }
            ],
            "eden_affinity": {
                "nodeAffinity": {
                    NOW: {"nodeSelectorTerms": [{"matchExpressions": EXPRESSIONS}]},
                    LATER: [{"weight": 1, "preference": {"matchExpressions": EXPRESSIONS}}],
                },
                "podAffinity": {
                    NOW: [{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "eden"}}}]
                },
            },
            "eden_web_ui_peers": [
                {"namespaceSelector": {"matchExpressions": EXPRESSIONS}, "podSelector": {}},
                {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}},
            ],
            "eden_worker_egress": [
                {
                    "to": [{"ipBlock": {"cidr": "2001:db8::/32"}}],
                    "ports": [{"port": 8000, "endPort": 8443, "protocol": "TCP"}],
                }
            ],
        }
    )
)


def variables(path: Path, value: t.Any) -> dict[str, t.Any]:
    """Valid inputs but for one value."""
    for key in reversed(path[1:]):
        value = {key: value}
    if path[0] == "eden_ingress" and path[1:] != ("host",) and path[1:]:
        value = {"host": "eden", **value}
    return {**RIGHT, path[0]: value}


def valid_string(path: Path) -> str:
    """A valid value of a string."""
    value = FULL[path[0]]
    for key in path[1:]:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    return str(value or "10Gi")


def check(given: t.Mapping[str, t.Any]) -> list[Problem]:
    """The problems; a config file holds the default config."""
    return inputs.check(given, lambda _path: CONFIG)


def assert_reported(found: t.Sequence[Problem], *names: str) -> None:
    """A refusal names the variable, its rule and an example, on one line that repeats little of the value."""
    assert found
    for problem in found:
        assert problem.variable.startswith(names), problem.variable
        assert problem.rule
        assert problem.example in problem.line
        assert problem.line.isascii()
        assert problem.line.isprintable()
        assert len(problem.line) <= 1200
        assert CANARY not in problem.line
    assert len(inputs.refusal(found, "lab").message.splitlines()) <= inputs.MAX_REPORTED + 2


# Values

scalars: st.SearchStrategy[t.Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.dates(), st.binary(max_size=9)
)
words = st.text(max_size=20) | st.sampled_from(["yes", "no", "on", "true", "1", "300", "1.0", "None", "[]"])
containers: st.SearchStrategy[t.Any] = st.one_of(
    st.lists(words | scalars, max_size=3), st.dictionaries(words, words | scalars, max_size=3)
)


def _is_of(kind: str, value: t.Any) -> bool:
    if kind == "bool":
        return str(value).lower() in inputs.BOOLEANS and not isinstance(value, float)
    if kind in inputs.NUMBERS:
        return inputs.number(kind, value) is not None
    wanted: dict[str, type] = {"str": str, "list": list, "dict": dict}
    return isinstance(value, wanted[kind])


def wrong_types(path: Path) -> st.SearchStrategy[t.Any]:
    """Values of another type than the spec says, and not a string for a number or boolean."""
    kind = option(path)["type"]
    return (scalars | words | containers).filter(lambda value: not _is_of(kind, value))


@st.composite
def noisy(draw: st.DrawFn, valid: str) -> str:
    """A valid string with something in it that no input may hold."""
    noise = draw(st.sampled_from(NOISE))
    if noise.isspace():
        return draw(st.sampled_from([noise + valid, valid + noise, noise]))
    place = draw(st.integers(0, len(valid)))
    return valid[:place] + noise + valid[place:]


@st.composite
def edited(draw: st.DrawFn, valid: str, alphabet: str = EDITS) -> str:
    """A string with one letter inserted, left out, replaced or exchanged with its neighbour."""
    place = draw(st.integers(0, len(valid)))
    head, tail = valid[:place], valid[place:]
    letter = draw(st.sampled_from(alphabet))
    return draw(
        st.sampled_from(
            [
                head + letter + tail,
                head + tail[1:],
                head + letter + tail[1:],
                head + tail[:2][::-1] + tail[2:],
            ]
        )
    )


def long(valid: str) -> st.SearchStrategy[str]:
    """Strings that are longer than any input may be, with a secret at the end."""
    return st.builds(
        lambda filler, length: valid + filler * length + CANARY,
        st.sampled_from(["x", "-", "\u0430", "/", "'", "\\"]),
        st.sampled_from([inputs.MAX_STRING, 1024 * 1024]),
    )


def near_misses(value: t.Any) -> st.SearchStrategy[t.Any]:
    """Something in the place of a part of a valid value; some are valid."""
    if isinstance(value, str):
        around = [value.upper(), value * 2, value[:-1], f"-{value}", f"{value}-", *YAML_SPELLINGS, *DOUBTFUL]
        beside = st.sampled_from([value + part for part in DOUBTFUL] + around)
        return edited(value) | noisy(value) | long(value) | beside | scalars | containers
    if isinstance(value, bool):
        return st.sampled_from(["true", "no", "maybe", 0, 1, 2, None, []])
    if isinstance(value, (int, float)):
        nearby = [
            0,
            -1,
            value + 0.5,
            value * 1000,
            10**400,
            2**63,
            str(value),
            f"{value} ",
            f"0{value}",
            "1e1",
        ]
        return st.sampled_from(nearby) | scalars | containers
    return scalars | words | containers


def leaves(value: t.Any, path: Path = ()) -> t.Iterator[Path]:
    """The paths of a value and of all its parts."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from leaves(part, (*path, key))


def _at(value: t.Any, path: Path) -> t.Any:
    for key in path:
        value = value[key]
    return value


def replaced(value: t.Any, path: Path, part: t.Any) -> t.Any:
    """A copy of the value with another part at the path."""
    if not path:
        return part
    whole = copy.deepcopy(value)
    _at(whole, path[:-1])[path[-1]] = part
    return whole


@st.composite
def damaged(draw: st.DrawFn, value: t.Any) -> t.Any:
    """A valid value with one part replaced, left out or given twice, or one key misspelled."""
    whole = copy.deepcopy(value)
    path = draw(st.sampled_from(list(leaves(whole))))
    if not path:
        return draw(near_misses(whole))
    holder, last = _at(whole, path[:-1]), path[-1]
    how = draw(st.sampled_from(["other", "left out", "emptied", "elsewhere", "again"]))
    if how == "left out":
        del holder[last]
    elif how == "emptied":
        holder[last] = type(holder[last])()
    elif how == "elsewhere":
        holder[last] = copy.deepcopy(_at(value, draw(st.sampled_from(list(leaves(value))))))
    elif how == "other":
        holder[last] = draw(near_misses(holder[last]))
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    else:
        part = holder.pop(last)
        key = draw(edited(last) | st.sampled_from([None, True, 1, datetime.date(2020, 1, 1), "x" * 500]))
        holder[key] = part
    return whole


@st.composite
def nearly_valid(draw: st.DrawFn) -> tuple[str, t.Any]:
    """An input and a damaged value of it; in some of them the damage does no harm."""
    name = draw(st.sampled_from(sorted(SPEC)))
    return name, draw(damaged(FULL[name]))


@st.composite
def accepted(draw: st.DrawFn) -> dict[str, t.Any]:
    """Inputs that the checks take, many of them damaged where it does no harm."""
    chosen = dict(RIGHT)
    for name in draw(st.lists(st.sampled_from(sorted(FULL)), min_size=4, max_size=9, unique=True)):
        whole = st.just(FULL[name])
        value = draw(
            whole if name in LEFT_TO_THE_SERVER else whole | damaged(FULL[name]) | damaged(FULL[name])
        )
        if not check({**RIGHT, name: value}):
            chosen[name] = value
    chosen["eden_experiment_config_file"] = ""
    replicas = {key: min(int(count), 2) for key, count in chosen["eden_replicas"].items()}
    return {**chosen, "eden_replicas": replicas}


# Of Kubernetes' types the check knows keys and types only.
LEFT_TO_THE_SERVER = {path.partition(".")[0] for path in inputs.KUBERNETES_TYPES} | {
    name for name in SPEC if name.endswith("_resources")
}
# Names that YAML takes for something else if they are not quoted, and strings for numbers and booleans.
UNQUOTED = [
    {
        "eden_namespace": "1e3",
        "eden_storage_class": "2026-11-28",
        "eden_existing_secret": "null",
        "eden_remember_credentials": "yes",
        "eden_poll_interval": "5",
    },
    {
        "eden_namespace": "no",
        "eden_storage_class": "0o17",
        "eden_existing_secret": "1.0",
        "eden_max_unavailable": "0",
    },
    {"eden_namespace": "017", "eden_storage_class": "true", "eden_image_pull_secrets": ["1", "y", "1e3"]},
    {
        "eden_namespace": "0x1f",
        "eden_ingress": {
            "host": "1.0",
            "class_name": "on",
            "tls_secret": "12",
            "annotations": {"a": "# \U0001f680\n\u2028"},
        },
        "eden_network_policies": "yes",
        "eden_disruption_budgets": "True",
        "eden_replicas": {"executor_host": "2"},
    },
]


def accepted_cases(count: int) -> dict[str, dict[str, t.Any]]:
    """That many different inputs that the checks take, by names of their own; the same in every run."""
    found: list[dict[str, t.Any]] = [{**RIGHT, **changes} for changes in UNQUOTED]

    @settings(max_examples=count * 3, deadline=None, database=None, derandomize=True)
    @given(accepted())
    def collect(chosen: dict[str, t.Any]) -> None:
        if len(found) < count and chosen not in found:
            found.append(chosen)

    collect()
    cases = {}
    for number, chosen in enumerate(found):
        assert check(chosen) == []
        # A config holds expressions, which ansible would take for templates.
        cases[f"accepted-{number}"] = {key: value for key, value in chosen.items() if key != inputs.CONFIG}
        if number >= len(UNQUOTED):
            cases[f"accepted-{number}"]["eden_namespace"] = f"accepted-{number}"
    return cases
