# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of the collection's inputs, the variables whose names begin with ``eden_``.

All problems are found at once, before anything is written; a name that no input has is one of them.
This module is private to the collection.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import typing as t
from decimal import Decimal
from urllib.parse import urlsplit

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_config
from ansible_collections.eden.reference.plugins.module_utils._eden.ids import (
    EXAMPLE_EXPERIMENT_ID,
    EXPERIMENT_ID,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.values import (
    Check,
    Problem,
    Unresolved,
    boolean,
    choice,
    mapping,
    mapping_of,
    member,
    number_above_zero,
    sequence,
    shown,
    suggestion,
    text,
    whole_number,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import InputError

PREFIX = "eden_"

# Set by the phases for the phases that follow.
FACTS = frozenset(
    {
        "eden_topology",
        "eden_config",
        "eden_preflight",
        "eden_credentials",
        "eden_seed_commit",
        "eden_task_store",
        "eden_identities",
    }
)

# Services are named after eden_name, and a Service's name must not begin with a digit.
RELEASE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\.?", re.IGNORECASE)
LABEL_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
STORAGE_SIZE = re.compile(r"[0-9]{1,9}(Mi|Gi|Ti)")
QUANTITY = re.compile(
    r"\+?([0-9]{1,15}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
    r"(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?"
)
HUGE_PAGES = "hugepages-"
LARGEST_SIZE = 2**63
SUFFIXES = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY_SUFFIXES = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}

_HOST_PART = r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"
_REGISTRY = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?"
LONGEST_IMAGE = 255 + 1 + 128 + 1 + 135
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)

LONGEST_NAME = 253
LONGEST_PATH = 4096
LONGEST_CONTEXT = 1024
LONGEST_URL = 2048
LARGEST_SECONDS = 2**63 - 1
# So many problems are told, and the number of the others.
MOST_TOLD = 50

CONFIG_RULE = "must name a YAML file on this machine with the experiment config"
CONFIG_EXAMPLE = "'{{ inventory_dir }}/experiment-config.yaml'"

Reader = t.Callable[[str], bytes]


def check(variables: t.Mapping[str, t.Any], read: Reader | None = None) -> list[Problem]:
    """All that is wrong with the inputs.

    Args:
        variables: every variable of the host whose name begins with ``eden_``, worked out. A value that
            could not be worked out, or a part of one, is an :class:`Unresolved`.
        read: returns the content of the file that ``eden_experiment_config_file`` names, or raises OSError.
    """
    found: list[Problem] = []
    for name, _value in variables.items():
        if name.startswith(PREFIX) and name not in RULES and name not in FACTS:
            found.append(_unknown(name))
    for name, rule in RULES.items():
        if name in variables:
            broken = rule(name, variables[name])
            found += unresolved(name, variables[name], broken) or broken
        elif name in REQUIRED:
            found.append(Problem(name, "is required", "", REQUIRED[name]))
    if not any(problem.variable.startswith("eden_experiment_config_file") for problem in found):
        found += _config_file_problems(variables, read or read_file)
    return _without_inherited(variables, found)


def config_text(variables: t.Mapping[str, t.Any], read: Reader | None = None) -> str:
    """The text of the experiment config: the file as it is, or the mapping as YAML with sorted keys."""
    path = variables.get("eden_experiment_config_file")
    if path:
        return (read or read_file)(path).decode("utf-8")
    return experiment_config.dump(variables.get("eden_experiment_config", experiment_config.DEFAULT))


def checksum(written: str) -> str:
    """The SHA-256 of a text, in hex."""
    return hashlib.sha256(written.encode()).hexdigest()


def refusal(found: t.Sequence[Problem], host: str) -> InputError:
    """The error that lists all problems, one on each line."""
    count = "One input" if len(found) == 1 else f"{len(found)} inputs"
    verb = "breaks" if len(found) == 1 else "break"
    told = found[:MOST_TOLD]
    lines = [problem.line for problem in told]
    if len(found) > len(told):
        lines.append(f"{len(found) - len(told)} more problems are not listed.")
    return InputError(
        "\n".join([f"{count} of {_printable(host)} {verb} a rule; nothing was written.", *lines]),
        problems=[problem.as_result() for problem in told],
    )


def read_file(path: str) -> bytes:
    """The content of a regular file, cut where it is too large for a config anyway.

    Raises:
        OSError: it is not there, not readable, or not a regular file.
    """
    path = os.path.expanduser(path)
    with open(path, "rb", opener=_open_at_once) as file:
        if not os.path.isfile(path):
            raise OSError("it is not a regular file")
        return file.read(experiment_config.LARGEST + 1)


def _open_at_once(path: str, flags: int) -> int:
    # A named pipe would otherwise wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def unresolved(variable: str, value: t.Any, broken: t.Sequence[Problem]) -> list[Problem]:
    """The parts of a value that could not be worked out, each with its rule where ``broken`` holds that."""
    rules = {problem.variable: problem for problem in broken}
    return [
        Problem(
            name,
            rules[name].rule if name in rules else "must be a value or a template that can be worked out",
            f"a template that could not be worked out: {part.reason}",
            rules[name].example if name in rules else "'{{ inventory_hostname }}'",
        )
        for name, part in _parts(variable, value)
    ]


def _parts(variable: str, value: t.Any) -> t.Iterator[tuple[str, Unresolved]]:
    """The names and the values of all parts that could not be worked out."""
    if isinstance(value, Unresolved):
        yield variable, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(member(variable, key), part)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _parts(member(variable, index), part)


def _unknown(name: str) -> Problem:
    like = suggestion(name, RULES)
    hint = (
        f"did you mean {like}?"
        if like
        else "the names that begin with eden_ are kept for the inputs of eden.reference"
    )
    return Problem(_printable(name), f"is not an input; {hint}", "", like or next(iter(RULES)))


def _printable(name: str) -> str:
    """A name that is the user's and may be anything, short and in ASCII."""
    return name if len(name) <= LONGEST_NAME and name.isascii() and name.isprintable() else shown("", name)


def _without_inherited(variables: t.Mapping[str, t.Any], found: list[Problem]) -> list[Problem]:
    """The problems without that of eden_namespace where it only repeats that of eden_name, its default."""
    name = variables.get("eden_name")
    if name != variables.get("eden_namespace") or not any(
        problem.variable == "eden_name" for problem in found
    ):
        return found
    return [problem for problem in found if problem.variable != "eden_namespace"]


def _config_file_problems(variables: t.Mapping[str, t.Any], read: Reader) -> list[Problem]:
    variable = "eden_experiment_config_file"
    path = variables.get(variable)
    if not path:
        return []
    if variables.get("eden_experiment_config", experiment_config.DEFAULT) != experiment_config.DEFAULT:
        rule = "excludes eden_experiment_config: leave one of the two out"
        return [Problem(variable, rule, "", "''")]
    try:
        content = read(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [Problem(variable, CONFIG_RULE, f"{shown(variable, path)} ({reason})", CONFIG_EXAMPLE)]
    _text, config, found = experiment_config.parse(content, variable)
    if not found and not isinstance(config, dict):
        # What the file holds may be a secret: it need not be the file that was meant.
        return [
            Problem(variable, CONFIG_RULE, f"{shown(variable, path)}, which holds no mapping", CONFIG_EXAMPLE)
        ]
    return found or experiment_config.problems(config, variable)


def _name(wanted: str, example: str, pattern: re.Pattern[str], longest: int, *, empty: bool = False) -> Check:
    return text(
        wanted,
        example,
        lambda value: len(value) <= longest and pattern.fullmatch(value) is not None,
        empty=empty,
    )


def _short(wanted: str, example: str, longest: int) -> Check:
    return text(
        f"{wanted} of at most {longest} characters", example, lambda value: len(value) <= longest, empty=True
    )


def _namespace(variable: str, value: t.Any) -> list[Problem]:
    found = _NAMESPACE(variable, value)
    if not found and value.startswith("kube-"):
        return [
            Problem(
                variable,
                "must not be a namespace of Kubernetes itself, whose names begin with kube-",
                shown(variable, value),
                "eden",
            )
        ]
    return found


def _image(example: str) -> Check:
    rule = f"must be an image with a tag or a digest, such as {example}"
    form = text(f"an image with a tag or a digest, such as {example}", example)

    def check_image(variable: str, value: t.Any) -> list[Problem]:
        found = form(variable, value)
        if found:
            return found
        fault = _image_fault(value)
        return [Problem(variable, rule, f"{shown(variable, value)}, which {fault}", example)] if fault else []

    return check_image


def _image_fault(value: str) -> str:
    if re.search(r"\s", value):
        return "holds whitespace"
    if "://" in value:
        return "is a URL"
    match = IMAGE.fullmatch(value) if len(value) <= LONGEST_IMAGE else None
    if match is None or len(match["name"]) > 255 or not _port_is_right(match["name"]):
        return "is no image reference"
    if match["digest"]:
        return ""
    if not match["tag"]:
        return "has neither"
    return "has the tag latest, whose content changes" if match["tag"] == "latest" else ""


def _port_is_right(name: str) -> bool:
    port = re.match(r"[^/]*:([0-9]+)/", name)
    return port is None or 1 <= int(port[1]) <= 65535


def _is_size(value: str) -> bool:
    size = amount(value) if STORAGE_SIZE.fullmatch(value) else None
    return size is not None and 0 < size < LARGEST_SIZE


def _is_label_key(value: str) -> bool:
    prefix, slash, name = value.rpartition("/")
    if slash and (len(prefix) > 253 or not DNS_NAME.fullmatch(prefix)):
        return False
    return LABEL_PART.fullmatch(name) is not None


def _is_label_value(value: str) -> bool:
    return not value or LABEL_PART.fullmatch(value) is not None


def amount(value: t.Any) -> Decimal | None:
    """The number that a Kubernetes quantity stands for, or None where it is no quantity."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, (int, float)):
        return Decimal(repr(value)) if 0 <= value < 10**15 else None
    match = QUANTITY.fullmatch(value)
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in BINARY_SUFFIXES:
        return number * 1024 ** BINARY_SUFFIXES[suffix]
    exponent = SUFFIXES[suffix] if suffix in SUFFIXES else int(suffix[1:])
    return number.scaleb(exponent)


def _quantity(variable: str, value: t.Any) -> list[Problem]:
    in_bytes = re.search(r"\.(memory|ephemeral-storage)$", variable) is not None
    example = "512Mi" if in_bytes else "500m"
    number = amount(value)
    if number is None:
        rule = f"must be a Kubernetes quantity such as {example}, not negative"
        return [Problem(variable, rule, shown(variable, value), example)]
    if in_bytes and number != number.to_integral_value():
        rule = f"must be a whole number of bytes such as {example}: m means a thousandth"
        return [Problem(variable, rule, shown(variable, value), example)]
    return []


def _resource_name(variable: str, value: t.Any) -> list[Problem]:
    known = ("cpu", "memory", "ephemeral-storage")
    if isinstance(value, str) and (
        value in known or (_is_device(value) and "kubernetes.io/" not in value and _is_label_key(value))
    ):
        return []
    like = suggestion(value, known, 0.6) if isinstance(value, str) else ""
    return [
        Problem(
            variable,
            f"must be one of {', '.join(known)}, or a name with a domain",
            shown("", value),
            like or "cpu",
        )
    ]


def _resources(variable: str, value: t.Any) -> list[Problem]:
    found = _RESOURCES(variable, value)
    if found:
        return found
    requests, limits = value.get("requests", {}), value.get("limits", {})
    return [
        Problem(
            member(f"{variable}.requests", key),
            f"must not be greater than the limit {shown(variable, limits[key])}",
            shown(variable, requests[key]),
            shown(variable, limits[key]),
        )
        for key in requests
        if key in limits and (amount(requests[key]) or 0) > (amount(limits[key]) or 0)
    ] + [
        problem
        for key in dict.fromkeys([*requests, *limits])
        if _is_device(key)
        for problem in _device(variable, key, requests.get(key), limits.get(key))
    ]


def _is_device(resource: str) -> bool:
    return "/" in resource or resource.startswith(HUGE_PAGES)


def _device(variable: str, resource: str, request: t.Any, limit: t.Any) -> list[Problem]:
    """What is wrong with a resource that cannot be shared, such as a device or huge pages."""
    page = amount(resource.removeprefix(HUGE_PAGES)) if resource.startswith(HUGE_PAGES) else Decimal(1)
    if not page:
        rule = "its name must end with a size of pages such as hugepages-2Mi"
        return [Problem(member(f"{variable}.limits", resource), rule, "", "hugepages-2Mi")]
    example = "1" if page == 1 else resource.removeprefix(HUGE_PAGES)
    unit = "a whole number" if page == 1 else f"a multiple of {example}"
    if limit is None or (request is not None and amount(request) != amount(limit)):
        name, got = member(f"{variable}.limits", resource), "" if limit is None else shown("", limit)
        return [Problem(name, "must be there and equal to the request: it cannot be shared", got, example)]
    if (amount(limit) or Decimal(1)) % page:
        return [Problem(member(f"{variable}.limits", resource), f"must be {unit}", shown("", limit), example)]
    return []


def _toleration(variable: str, value: t.Any) -> list[Problem]:
    found = _TOLERATION(variable, value)
    if found:
        return found
    example = "{key: dedicated, operator: Exists, effect: NoSchedule}"
    exists = value.get("operator") == "Exists"
    if exists and value.get("value"):
        found.append(Problem(f"{variable}.value", "must be left out with the operator Exists", "", example))
    if not value.get("key") and not exists:
        found.append(Problem(f"{variable}.key", "is required without the operator Exists", "", example))
    if "tolerationSeconds" in value and value.get("effect") != "NoExecute":
        found.append(
            Problem(f"{variable}.tolerationSeconds", "needs the effect NoExecute", "", "effect: NoExecute")
        )
    return found


def _url(variable: str, value: t.Any) -> list[Problem]:
    found = _URL(variable, value)
    if not isinstance(value, str) or not value:
        return found
    fault = "" if found else _url_fault(value)
    # A password may stand between the scheme and the host.
    got = shown(variable, re.sub(r"//[^/]*@", "//***@", value))
    if found or fault:
        return [Problem(variable, _URL_RULE, f"{got}{', which ' if fault else ''}{fault}", _URL_EXAMPLE)]
    return []


def _url_fault(value: str) -> str:
    if len(value) > LONGEST_URL:
        return f"is longer than {LONGEST_URL} characters"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https"):
        return "is not http or https"
    if parts.username is not None or parts.password is not None:
        return "holds a user name"
    if "?" in value or "#" in value:
        return "has a query or a fragment"
    if not host or not _is_host(host) or port == 0 or not re.fullmatch(r"[!-~]*", value):
        return "names no host"
    return ""


def _is_host(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return len(value) <= 253 and HOST_NAME.fullmatch(value) is not None
    return True


def _experiment_config(variable: str, value: t.Any) -> list[Problem]:
    return experiment_config.problems(value, variable) or experiment_config.dump_problems(value, variable)


def _is_cidr(value: str) -> bool:
    # Kubernetes takes neither a netmask nor a zone.
    return (
        re.fullmatch(r"[0-9a-fA-F.:]+/(0|[1-9][0-9]{0,2})", value) is not None and _network(value) is not None
    )


def _network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        return None


def _ip_block(variable: str, value: t.Any) -> list[Problem]:
    found = _IP_BLOCK(variable, value)
    if found:
        return found
    whole = _network(value["cidr"])
    return [
        Problem(
            f"{variable}.except[{index}]",
            f"must be a smaller part of {value['cidr']}",
            shown(variable, part),
            "192.0.2.1/32 in 192.0.2.0/24",
        )
        for index, part in enumerate(value.get("except", []))
        if not _is_part(_network(part), whole)
    ]


def _is_part(part: t.Any, whole: t.Any) -> bool:
    return part.version == whole.version and part != whole and bool(part.subnet_of(whole))


def _peer(variable: str, value: t.Any) -> list[Problem]:
    found = _PEER(variable, value)
    if found:
        return found
    if not value:
        return [
            Problem(
                variable, f"must have one of the keys {', '.join(_PEER_KEYS)}", "none", "{podSelector: {}}"
            )
        ]
    if "ipBlock" in value and len(value) > 1:
        rule = "must not be given beside a selector"
        return [Problem(f"{variable}.ipBlock", rule, "", "two peers, one with each")]
    return []


def _port(variable: str, value: t.Any) -> list[Problem]:
    found = _PORT(variable, value)
    if not found and "endPort" in value and not value.get("port", value["endPort"] + 1) <= value["endPort"]:
        rule = "needs a port that is not greater"
        return [
            Problem(f"{variable}.endPort", rule, shown("", value["endPort"]), "{port: 8000, endPort: 8443}")
        ]
    return found


def _expression(form: Check) -> Check:
    """A check for an expression whose operator says how many values it has."""

    def check(variable: str, value: t.Any) -> list[Problem]:
        found = form(variable, value)
        if found:
            return found
        operator, values = value["operator"], value.get("values", [])
        name = f"{variable}.values"
        if operator in ("Exists", "DoesNotExist") and values:
            return [Problem(name, f"must be left out with the operator {operator}", "", "[]")]
        if operator in ("In", "NotIn") and not values:
            return [Problem(name, f"must hold a value with the operator {operator}", "", "[linux]")]
        if operator in ("Gt", "Lt") and not (len(values) == 1 and re.fullmatch("[0-9]{1,18}", values[0])):
            return [
                Problem(name, f"must hold one whole number as text with the operator {operator}", "", "['4']")
            ]
        return []

    return check


def _field(variable: str, value: t.Any) -> list[Problem]:
    found = _FIELD(variable, value)
    if not found and len(value["values"]) != 1:
        return [Problem(f"{variable}.values", "must hold one name of a node", "", "[node-1]")]
    return found


def _pod_term(variable: str, value: t.Any) -> list[Problem]:
    found = _POD_TERM(variable, value)
    if found:
        return found
    keys = [key for key in ("matchLabelKeys", "mismatchLabelKeys") if value.get(key)]
    if keys and "labelSelector" not in value:
        rule = f"is required beside {keys[0]}"
        return [Problem(f"{variable}.labelSelector", rule, "", "{matchLabels: {app: eden}}")]
    twice = set(value.get("matchLabelKeys", [])) & set(value.get("mismatchLabelKeys", []))
    if twice:
        rule = "must name other keys than matchLabelKeys"
        return [Problem(f"{variable}.mismatchLabelKeys", rule, shown("", min(twice)), "[team]")]
    return []


def _secret_names(variable: str, value: t.Any) -> list[Problem]:
    found = _SECRET_NAMES(variable, value)
    return found or [
        Problem(
            member(variable, index), "must not name a Secret again", shown("", name), "registry-credentials"
        )
        for index, name in enumerate(value)
        if name in value[:index]
    ]


_NAMESPACE = _name(
    "a DNS label of 1 to 63 lower-case letters, digits and -, with a letter or digit at both ends",
    "eden",
    DNS_LABEL,
    63,
)
_STORAGE_SIZE = text("a size such as 10Gi (whole number and Mi, Gi or Ti)", "10Gi", _is_size)
_URL_EXAMPLE = "https://eden.example.org:8080"
_URL_RULE = "must be an http or https URL, or empty for a port-forward"
_URL = text("an http or https URL", _URL_EXAMPLE, empty=True)
_SECRET_NAMES = sequence(
    "a list of names of Secrets",
    "[registry-credentials]",
    _name("the name of a Secret", "registry-credentials", DNS_NAME, 253),
)
_pull_policy = choice("IfNotPresent", "Always", "Never")
_label_key = text("a label key", "kubernetes.io/os", _is_label_key)
_label_value = text(
    "a label value (text: put true, false and numbers into quotes)", "linux", _is_label_value, empty=True
)
_quantities = mapping_of(
    "a mapping of resources to quantities", "{cpu: 500m, memory: 512Mi}", _resource_name, _quantity
)
_RESOURCES = mapping(
    "{requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 512Mi}}",
    {"requests": _quantities, "limits": _quantities},
)
_TOLERATION = mapping(
    "{key: dedicated, operator: Exists, effect: NoSchedule}",
    {
        "key": text("a label key", "dedicated", _is_label_key, empty=True),
        "operator": choice("Equal", "Exists"),
        "value": _label_value,
        "effect": choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
        "tolerationSeconds": whole_number(0, LARGEST_SECONDS, 300),
    },
)

_weight = whole_number(1, 100, 50)


def _expressions(operators: tuple[str, ...]) -> Check:
    example = "[{key: kubernetes.io/os, operator: In, values: [linux]}]"
    return sequence(
        "a list of expressions",
        example,
        _expression(
            mapping(
                example,
                {
                    "key": _label_key,
                    "operator": choice(*operators),
                    "values": sequence("a list of label values", "[linux]", _label_value),
                },
                ["key", "operator"],
            )
        ),
    )


_node_expressions = _expressions(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
_node_name = _name("the name of a node", "node-1", DNS_NAME, 253)
_FIELD = mapping(
    "{key: metadata.name, operator: In, values: [node-1]}",
    {
        "key": choice("metadata.name"),
        "operator": choice("In", "NotIn"),
        "values": sequence("a list with the name of a node", "[node-1]", _node_name),
    },
    ["key", "operator", "values"],
)
_node_term = mapping(
    "{matchExpressions: []}",
    {
        "matchExpressions": _node_expressions,
        "matchFields": sequence(
            "a list of expressions", "[{key: metadata.name, operator: In, values: [node-1]}]", _field
        ),
    },
)
_selector = mapping(
    "{matchLabels: {app: eden}}",
    {
        "matchLabels": mapping_of("a mapping of labels", "{app: eden}", _label_key, _label_value),
        "matchExpressions": _expressions(("In", "NotIn", "Exists", "DoesNotExist")),
    },
)
_label_keys = sequence("a list of label keys", "[app]", _label_key)
_POD_TERM = mapping(
    "{topologyKey: kubernetes.io/hostname}",
    {
        "labelSelector": _selector,
        "namespaceSelector": _selector,
        "namespaces": sequence(
            "a list of namespaces", "[eden]", _name("the name of a namespace", "eden", DNS_LABEL, 63)
        ),
        "topologyKey": _label_key,
        "matchLabelKeys": _label_keys,
        "mismatchLabelKeys": _label_keys,
    },
    ["topologyKey"],
)
_REQUIRED_NOW, _PREFERRED_NOW = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
_pod_affinity = mapping(
    f"{{{_REQUIRED_NOW}: []}}",
    {
        _REQUIRED_NOW: sequence("a list of terms", "[{topologyKey: kubernetes.io/hostname}]", _pod_term),
        _PREFERRED_NOW: sequence(
            "a list of weighted terms",
            "[{weight: 50, podAffinityTerm: {topologyKey: kubernetes.io/hostname}}]",
            mapping(
                "{weight: 50, podAffinityTerm: {topologyKey: kubernetes.io/hostname}}",
                {"weight": _weight, "podAffinityTerm": _pod_term},
                ["weight", "podAffinityTerm"],
            ),
        ),
    },
)
_cidr = text("an address range", "192.0.2.0/24", _is_cidr)
_IP_BLOCK = mapping(
    "{cidr: 192.0.2.0/24}",
    {"cidr": _cidr, "except": sequence("a list of address ranges", "[192.0.2.1/32]", _cidr)},
    required=["cidr"],
)
_PEER_KEYS: dict[str, Check] = {
    "podSelector": _selector,
    "namespaceSelector": _selector,
    "ipBlock": _ip_block,
}
_PEER = mapping("{podSelector: {}}", _PEER_KEYS)
_PORT = mapping(
    "{port: 443, protocol: TCP}",
    {
        "port": whole_number(1, 65535, 443),
        "endPort": whole_number(1, 65535, 8443),
        "protocol": choice("TCP", "UDP", "SCTP"),
    },
)
_egress = mapping(
    "{to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 443}]}",
    {
        "to": sequence("a list of peers", "[{podSelector: {}}]", _peer),
        "ports": sequence(
            "a list of ports",
            "[{port: 443}]",
            _port,
        ),
    },
)

_ingress = mapping(
    "{host: eden.example.org, class_name: nginx}",
    {
        "host": _name("a host name in lower case", "eden.example.org", DNS_NAME, 253),
        "class_name": _name("the name of an IngressClass", "nginx", DNS_NAME, 253, empty=True),
        "annotations": mapping_of(
            "a mapping of annotations to texts",
            "{example.org/auth: sso}",
            _label_key,
            text("text", "sso", empty=True),
        ),
        "tls_secret": _name("the name of a Secret", "eden-tls", DNS_NAME, 253, empty=True),
    },
)


def _ingress_or_none(variable: str, value: t.Any) -> list[Problem]:
    found = _ingress(variable, value)
    if not found and value and "host" not in value:
        found.append(Problem(member(variable, "host"), "is required", "", "{host: eden.example.org}"))
    return found


_affinity = mapping(
    "{podAntiAffinity: {}}",
    {
        "nodeAffinity": mapping(
            f"{{{_REQUIRED_NOW}: {{nodeSelectorTerms: []}}}}",
            {
                _REQUIRED_NOW: mapping(
                    "{nodeSelectorTerms: [{matchExpressions: []}]}",
                    {
                        "nodeSelectorTerms": sequence(
                            "a list of at least one term", "[{matchExpressions: []}]", _node_term, empty=False
                        )
                    },
                    ["nodeSelectorTerms"],
                ),
                _PREFERRED_NOW: sequence(
                    "a list of weighted terms",
                    "[{weight: 50, preference: {matchExpressions: []}}]",
                    mapping(
                        "{weight: 50, preference: {matchExpressions: []}}",
                        {"weight": _weight, "preference": _node_term},
                        ["weight", "preference"],
                    ),
                ),
            },
        ),
        "podAffinity": _pod_affinity,
        "podAntiAffinity": _pod_affinity,
    },
)

RULES: dict[str, Check] = {
    "eden_name": _name(
        "a name of 1 to 32 lower-case letters, digits and -, with a letter first and a letter or digit last",
        "eden",
        RELEASE_NAME,
        32,
    ),
    "eden_namespace": _namespace,
    "eden_manage_namespace": boolean(),
    "eden_kubeconfig": _short("the path of a kubeconfig", "~/.kube/config", LONGEST_PATH),
    "eden_context": _short("a context of the kubeconfig", "kind-eden", LONGEST_CONTEXT),
    "eden_image": _image("registry.example.org/eden:1.0.0"),
    "eden_image_pull_policy": _pull_policy,
    "eden_image_pull_secrets": _secret_names,
    "eden_postgres_image": _image("postgres:16.6-alpine"),
    "eden_postgres_image_pull_policy": _pull_policy,
    "eden_forgejo_image": _image("codeberg.org/forgejo/forgejo:11-rootless"),
    "eden_forgejo_image_pull_policy": _pull_policy,
    "eden_experiment_id": _name(
        "an experiment id (exp_ and 26 of the characters 0-9 a-h j k m n p-t v-z)",
        EXAMPLE_EXPERIMENT_ID,
        EXPERIMENT_ID,
        30,
        empty=True,
    ),
    "eden_experiment_config": _experiment_config,
    "eden_experiment_config_file": _short("the path of a YAML file", CONFIG_EXAMPLE, LONGEST_PATH),
    "eden_replicas": mapping(
        "{executor_host: 2}",
        {
            "task_store": whole_number(0, 1, 1),
            "orchestrator": whole_number(0, 1, 1),
            "ideator_host": whole_number(0, 99, 1),
            "executor_host": whole_number(0, 99, 1),
            "evaluator_host": whole_number(0, 99, 1),
            "web_ui": whole_number(0, 1, 1),
        },
    ),
    "eden_storage_class": _name("the name of a storage class", "standard", DNS_NAME, 253, empty=True),
    "eden_storage_sizes": mapping(
        "{postgres: 10Gi}",
        {
            "postgres": _STORAGE_SIZE,
            "forgejo": _STORAGE_SIZE,
            "orchestrator_repo": _STORAGE_SIZE,
            "executor_repo": _STORAGE_SIZE,
            "web_ui_repo": _STORAGE_SIZE,
            "artifacts": _STORAGE_SIZE,
            "blob": _STORAGE_SIZE,
        },
    ),
    "eden_node_selector": mapping_of(
        "a mapping of labels", "{kubernetes.io/os: linux}", _label_key, _label_value
    ),
    "eden_tolerations": sequence(
        "a list of tolerations", "[{key: dedicated, operator: Exists, effect: NoSchedule}]", _toleration
    ),
    "eden_affinity": _affinity,
    "eden_network_policies": boolean(),
    "eden_dns_peers": sequence(
        "a list of peers of a NetworkPolicy", "[{ipBlock: {cidr: 192.0.2.53/32}}]", _peer
    ),
    "eden_web_ui_peers": sequence(
        "a list of peers of a NetworkPolicy", "[{namespaceSelector: {matchLabels: {team: x}}}]", _peer
    ),
    "eden_worker_egress": sequence(
        "a list of egress rules of a NetworkPolicy", "[{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]", _egress
    ),
    "eden_ingress": _ingress_or_none,
    "eden_disruption_budgets": boolean(),
    "eden_max_unavailable": whole_number(0, 99, 1),
    "eden_resources": _resources,
    "eden_postgres_resources": _resources,
    "eden_forgejo_resources": _resources,
    "eden_existing_secret": _name("the name of a Secret", "eden-credentials", DNS_NAME, 253, empty=True),
    "eden_timeout": whole_number(1, 86400, 300),
    "eden_poll_interval": number_above_zero("a number of seconds", "1.0", 86400),
    "eden_log_level": choice("debug", "info", "warning", "error"),
    "eden_task_store_url": _url,
}

REQUIRED = {"eden_image": "registry.example.org/eden:1.0.0"}

__all__ = ["FACTS", "PREFIX", "REQUIRED", "RULES", "check", "checksum", "config_text", "read_file", "refusal"]
