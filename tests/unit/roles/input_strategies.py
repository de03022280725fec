# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad and nearly right inputs, generated from the argument spec of the role, and what a refusal must say."""

from __future__ import annotations

import copy
import datetime
import json
import pathlib
import typing as t

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_cases import CASES

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

# Stands for a secret. It never is in the part of a value that a message may show.
CANARY = "hunter2"
LONGEST_LINE = 1200
LONGEST_VALUE = 1024 * 1024

CONTROL = ["\x00", "\x07", "\x1b[31m", "\x7f", "\x85", "\n", "\r\n", "\t", "\u2028"]
INVISIBLE = ["\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad", "\ud800", "\ue000", "\U000e0041"]
CONFUSABLE = ["\u0430", "\u0435", "\u043e", "\u0131", "\uff0d", "\u2010", "\u2024", "\uff1a", "\u0660"]
LEFT_OVER = ["{{ nope }}", "{% if x %}", "{#", "{{", "{{ lookup('env', 'HOME') }}"]
TRAVERSAL = ["../../../../etc/passwd", "/etc/../etc/shadow", "..", "./", "a/../../b", "%2e%2e%2f", "..\\..\\"]
# What YAML makes of it is no text.
YAML_SPELLINGS = [
    *("no", "off", "on", "yes", "true", "~", "1", "1.0", "0x10", "017", "0b11", "1.5e+3", ".inf", ".nan"),
    *("1:30", "2020-01-01", "2020-01-01T00:00:00Z", "[]", "{}", "[a]", "{a:}", "!!binary"),
]
EDITS = "-_.:/@ aZ09{%\n\u0430\u202e"


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
NOW = "requiredDuringSchedulingIgnoredDuringExecution"
LATER = "preferredDuringSchedulingIgnoredDuringExecution"
EXPRESSIONS = [
    {"key": "pool", "operator": "In", "values": ["a", "b"]},
    {"key": "example.org/gpu", "operator": "DoesNotExist"},
    {"key": "cores", "operator": "Gt", "values": ["4"]},
]
FIELDS = [{"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}]
TEXTS = [path for path in PATHS if option(path)["type"] == "str"]
# A right value of each input, with as much in it as there can be.
_FULL: dict[str, t.Any] = {
    **{name: value for name, value in RIGHT.items() if value not in ("", {}, [])},
    **CASES["knobs"],
    "eden_experiment_id": "exp_01jabcdefghjkmnpqrstvwxyz0",
    "eden_kubeconfig": "~/.kube/config",
    "eden_context": "kind-eden",
    "eden_task_store_url": "https://eden.example.org:8443/store",
    "eden_experiment_config_file": "config.yaml",
    "eden_postgres_resources": {
        "requests": {"nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi"},
        "limits": {"memory": "1Gi", "nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi"},
    },
    "eden_tolerations": [
        {"key": "pool", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "pool", "operator": "Equal", "value": "a", "effect": "NoExecute", "tolerationSeconds": 60},
    ],
    "eden_affinity": {
        "nodeAffinity": {
            NOW: {"nodeSelectorTerms": [{"matchExpressions": EXPRESSIONS, "matchFields": FIELDS}]},
            LATER: [{"weight": 1, "preference": {"matchExpressions": EXPRESSIONS}}],
        },
        "podAffinity": {
            NOW: [
                {
                    "topologyKey": "zone",
                    "labelSelector": {"matchLabels": {"app": "eden"}, "matchExpressions": EXPRESSIONS[:2]},
                    "namespaceSelector": {},
                    "namespaces": ["eden"],
                    "matchLabelKeys": ["team"],
                    "mismatchLabelKeys": ["tenant"],
                }
            ]
        },
    },
    "eden_web_ui_peers": [
        {"namespaceSelector": {"matchExpressions": EXPRESSIONS[:2]}, "podSelector": {}},
        {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}},
    ],
    "eden_worker_egress": [
        {
            "to": [{"ipBlock": {"cidr": "2001:db8::/32"}}, {"podSelector": {"matchLabels": {"app": "a"}}}],
            "ports": [{"port": 8000, "endPort": 8443, "protocol": "TCP"}, {"protocol": "UDP"}],
        }
    ],
    "eden_forgejo_resources": {"requests": {"cpu": "100m"}},
}
# No part is shared: damage to one is not damage to another.
FULL: dict[str, t.Any] = json.loads(json.dumps(_FULL))
CONFIG = yaml.safe_dump(DEFAULTS["eden_experiment_config"]).encode()


def variables(path: Path, value: t.Any) -> dict[str, t.Any]:
    """Right inputs but for one value."""
    for key in reversed(path[1:]):
        value = {key: value}
    return {**RIGHT, path[0]: value}


def check(given: t.Mapping[str, t.Any]) -> list[Problem]:
    """The problems; a config file holds the default config."""
    return inputs.check(given, lambda _path: CONFIG)


def assert_told(found: t.Sequence[Problem], *names: str) -> None:
    """A refusal names the variable, its rule and an example, on one line that repeats little of the value."""
    assert found
    for problem in found:
        assert problem.variable.startswith(names), problem.variable
        assert problem.rule
        assert problem.example
        assert problem.example in problem.line
        assert problem.line.isascii()
        assert problem.line.isprintable()
        assert len(problem.line) <= LONGEST_LINE
        assert CANARY not in problem.line
    message = inputs.refusal(found, "lab").message
    assert len(message.splitlines()) <= inputs.MOST_TOLD + 2
    assert "Traceback" not in message


# Values

scalars: st.SearchStrategy[t.Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.dates(), st.binary(max_size=9)
)
words = st.text(max_size=20) | st.sampled_from(["yes", "no", "on", "true", "1", "300", "1.0", "None", "[]"])
containers: st.SearchStrategy[t.Any] = st.one_of(
    st.lists(words | scalars, max_size=3), st.dictionaries(words, words | scalars, max_size=3)
)


def _is_of(kind: str, value: t.Any) -> bool:
    wanted: dict[str, tuple[type, ...]] = {
        "str": (str,),
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "list": (list,),
        "dict": (dict,),
    }
    return isinstance(value, wanted[kind]) and (kind == "bool" or not isinstance(value, bool))


def wrong_types(path: Path) -> st.SearchStrategy[t.Any]:
    """Values of another type than the spec says."""
    kind = option(path)["type"]
    return (scalars | words | containers).filter(lambda value: not _is_of(kind, value))


@st.composite
def noisy(draw: st.DrawFn, right: str) -> str:
    """A right text with something in it that no input may hold."""
    noise = draw(st.sampled_from([*CONTROL, *INVISIBLE, *LEFT_OVER, " ", "\t"]))
    if noise.isspace():
        return draw(st.sampled_from([noise + right, right + noise, noise]))
    place = draw(st.integers(0, len(right)))
    return right[:place] + noise + right[place:]


@st.composite
def edited(draw: st.DrawFn, right: str, alphabet: str = EDITS) -> str:
    """A text that is one or two letters off."""
    for _edit in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(right)))
        letter = draw(st.sampled_from(alphabet))
        right = draw(
            st.sampled_from(
                [
                    right[:place] + letter + right[place:],
                    right[:place] + right[place + 1 :],
                    right[:place] + letter + right[place + 1 :],
                    right[:place] + right[place : place + 2][::-1] + right[place + 2 :],
                ]
            )
        )
    return right


@st.composite
def long(draw: st.DrawFn, right: str) -> str:
    """A text that is far too long, with a secret in it that a message must not come to."""
    length = draw(st.sampled_from([200, 4097, LONGEST_VALUE]))
    return right + draw(st.sampled_from(["x", "-", "\u0430", "/", "'", "\\"])) * length + CANARY


def near_misses(right: str) -> st.SearchStrategy[str]:
    """Texts that are nearly like a right one; some are right."""
    return st.one_of(
        edited(right),
        noisy(right),
        long(right),
        st.sampled_from(
            [right.upper(), right.title(), right * 2, right[:-1], right[1:], f"-{right}", f"{right}-"]
        ),
        st.sampled_from([*CONFUSABLE, *TRAVERSAL]).map(lambda part: right + part),
        st.sampled_from([*TRAVERSAL, *CONFUSABLE, *LEFT_OVER]),
    )


def _leaves(value: t.Any, path: Path = ()) -> t.Iterator[Path]:
    yield path
    items: t.Iterable[tuple[t.Any, t.Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, part in items:
        yield from _leaves(part, (*path, key))


def _at(value: t.Any, path: Path) -> t.Any:
    for key in path:
        value = value[key]
    return value


def part_near_misses(value: t.Any) -> st.SearchStrategy[t.Any]:
    """Something in the place of a part of a right value."""
    if isinstance(value, str):
        return near_misses(value) | scalars | containers
    if isinstance(value, bool):
        return st.sampled_from(["true", "no", 0, 1, None, []])
    if isinstance(value, (int, float)):
        nearby = [0, -1, value + 0.5, value * 1000, 10**10, 10**400, 2**63, str(value), f"{value} ", -value]
        return st.sampled_from(nearby) | scalars | containers
    return scalars | words | containers


@st.composite
def damaged(draw: st.DrawFn, value: t.Any) -> t.Any:
    """A right value with one part replaced, left out or given twice, or one key misspelled."""
    whole = copy.deepcopy(value)
    path = draw(st.sampled_from(list(_leaves(whole))))
    if not path:
        return draw(part_near_misses(whole))
    holder = _at(whole, path[:-1])
    how = draw(st.sampled_from(["other", "left out", "emptied", "elsewhere", "again"]))
    if how == "left out":
        del holder[path[-1]]
    elif how == "emptied":
        holder[path[-1]] = type(holder[path[-1]])()
    elif how == "elsewhere":
        holder[path[-1]] = copy.deepcopy(_at(value, draw(st.sampled_from(list(_leaves(value))))))
    elif how == "other" or isinstance(path[-1], bool):
        holder[path[-1]] = draw(part_near_misses(holder[path[-1]]))
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(holder[path[-1]]))
    else:
        part = holder.pop(path[-1])
        key = draw(edited(path[-1]) | st.sampled_from([None, True, 1, datetime.date(2020, 1, 1), "x" * 500]))
        holder[key] = part
    return whole


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, t.Any]:
    """Right inputs with one damaged value; in some of them the damage does no harm."""
    name = draw(st.sampled_from(sorted(SPEC)))
    return {**RIGHT, name: draw(damaged(FULL[name]))}


def slips(name: str, other: str) -> int:
    """How many slips of the hand make one name of the other: 0, 1, 2, or 3 for more."""
    letters = sorted({*name, *other})
    if name == other:
        return 0
    near = set(_slipped(name, letters))
    if other in near:
        return 1
    return 3 if near.isdisjoint(_slipped(other, letters)) else 2


def _slipped(text: str, letters: t.Sequence[str]) -> t.Iterator[str]:
    for place in range(len(text) + 1):
        head, tail = text[:place], text[place:]
        yield head + tail[1:]
        yield head + tail[1:2] + tail[:1] + tail[2:]
        for letter in letters:
            yield head + letter + tail
            yield head + letter + tail[1:]


def replaced(value: t.Any, path: Path, part: t.Any) -> t.Any:
    """A copy of the value with another part at the path."""
    if not path:
        return part
    whole = copy.deepcopy(value)
    _at(whole, path[:-1])[path[-1]] = part
    return whole


@st.composite
def accepted(draw: st.DrawFn) -> dict[str, t.Any]:
    """Inputs that the checks take, many of them damaged where it does no harm."""
    chosen = dict(RIGHT)
    for name in draw(st.lists(st.sampled_from(sorted(FULL)), min_size=4, max_size=9, unique=True)):
        value = draw(st.just(FULL[name]) | damaged(FULL[name]) | damaged(FULL[name]))
        if not check({**RIGHT, name: value}):
            chosen[name] = value
    chosen["eden_experiment_config_file"] = ""
    replicas = {key: min(count, 2) for key, count in chosen["eden_replicas"].items()}
    return {**chosen, "eden_replicas": replicas}


def accepted_cases(count: int) -> dict[str, dict[str, t.Any]]:
    """That many different inputs that the checks take, by names of their own; the same in every run."""
    found: list[dict[str, t.Any]] = []

    @settings(max_examples=count * 3, deadline=None, database=None, derandomize=True)
    @given(accepted())
    def collect(inputs_: dict[str, t.Any]) -> None:
        assert check(inputs_) == []
        if len(found) < count and inputs_ not in found:
            found.append(inputs_)

    collect()
    # A config holds expressions, which ansible would take for templates.
    return {
        f"accepted-{number}": {
            **{key: value for key, value in given_.items() if key != "eden_experiment_config"},
            "eden_namespace": f"accepted-{number}",
        }
        for number, given_ in enumerate(found)
    }
