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

from ansible_collections.eden.reference.plugins.module_utils.eden import experiment_config
from ansible_collections.eden.reference.plugins.module_utils.eden.ids import (
    EXAMPLE_EXPERIMENT_ID,
    EXPERIMENT_ID,
)
from ansible_collections.eden.reference.plugins.module_utils.eden.values import (
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
from ansible_collections.eden.reference.plugins.module_utils.errors import InputError

PREFIX = "eden_"

# Set by the phases for the phases that follow.
FACTS = frozenset({"eden_seed_commit", "eden_identities"})

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
            found += unresolved(name, variables[name]) or rule(name, variables[name])
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
    lines = [problem.line for problem in found]
    return InputError(
        "\n".join([f"{count} of {host} {verb} a rule; nothing was written.", *lines]),
        problems=[problem.as_result() for problem in found],
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


def unresolved(variable: str, value: t.Any) -> list[Problem]:
    """The parts of a value that could not be worked out."""
    if isinstance(value, Unresolved):
        return [Problem(variable, f"could not be worked out: {value.reason}")]
    if isinstance(value, dict):
        return [problem for key, part in value.items() for problem in unresolved(member(variable, key), part)]
    if isinstance(value, list):
        return [
            problem
            for index, part in enumerate(value)
            for problem in unresolved(member(variable, index), part)
        ]
    return []


def _unknown(name: str) -> Problem:
    like = suggestion(name, RULES)
    hint = (
        f"did you mean {like}?"
        if like
        else "the names that begin with eden_ are kept for the inputs of eden.reference"
    )
    # The name is the user's and may be anything.
    return Problem(name if name.isascii() and name.isprintable() else ascii(name), f"is not an input; {hint}")


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
        return [Problem(variable, "excludes eden_experiment_config: leave one of the two out")]
    try:
        content = read(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [Problem(variable, CONFIG_RULE, f"{shown(variable, path)} ({reason})", CONFIG_EXAMPLE)]
    _text, config, found = experiment_config.parse(content, variable)
    return found or experiment_config.problems(config, variable)


def _name(wanted: str, example: str, pattern: re.Pattern[str], longest: int, *, empty: bool = False) -> Check:
    return text(
        wanted,
        example,
        lambda value: len(value) <= longest and pattern.fullmatch(value) is not None,
        empty=empty,
    )


def _namespace(variable: str, value: t.Any) -> list[Problem]:
    found = _NAMESPACE(variable, value)
    if not found and value.startswith("kube-"):
        return [
            Problem(
                variable,
                "must not be a namespace of Kubernetes itself (kube-…)",
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
    return STORAGE_SIZE.fullmatch(value) is not None and int(value[:-2]) > 0


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
        value in known or (("/" in value or value.startswith("hugepages-")) and _is_label_key(value))
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
        )
        for key in requests
        if key in limits and (amount(requests[key]) or 0) > (amount(limits[key]) or 0)
    ]


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
    try:
        return "/" in value and bool(ipaddress.ip_network(value))
    except ValueError:
        return False


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
_secret_name = _name("the name of a Secret", "registry-credentials", DNS_NAME, 253)
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
        "tolerationSeconds": whole_number(0, None, 300),
    },
)

_plain = text("text", "linux", empty=True)
_weight = whole_number(1, 100, 50)


def _expressions(operators: tuple[str, ...]) -> Check:
    example = "[{key: kubernetes.io/os, operator: In, values: [linux]}]"
    return sequence(
        "a list of expressions",
        example,
        mapping(
            example,
            {
                "key": _label_key,
                "operator": choice(*operators),
                "values": sequence("a list of texts", "[linux]", _plain),
            },
            ["key", "operator"],
        ),
    )


_node_expressions = _expressions(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
_node_term = mapping(
    "{matchExpressions: []}", {"matchExpressions": _node_expressions, "matchFields": _node_expressions}
)
_selector = mapping(
    "{matchLabels: {app: eden}}",
    {
        "matchLabels": mapping_of("a mapping of labels", "{app: eden}", _label_key, _label_value),
        "matchExpressions": _expressions(("In", "NotIn", "Exists", "DoesNotExist")),
    },
)
_texts = sequence("a list of texts", "[eden]", _plain)
_pod_term = mapping(
    "{topologyKey: kubernetes.io/hostname}",
    {
        "labelSelector": _selector,
        "namespaceSelector": _selector,
        "namespaces": _texts,
        "topologyKey": _label_key,
        "matchLabelKeys": _texts,
        "mismatchLabelKeys": _texts,
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
_peer = mapping(
    "{podSelector: {}}",
    {
        "podSelector": _selector,
        "namespaceSelector": _selector,
        "ipBlock": mapping(
            "{cidr: 192.0.2.0/24}",
            {"cidr": _cidr, "except": sequence("a list of address ranges", "[192.0.2.1/32]", _cidr)},
            required=["cidr"],
        ),
    },
)
_egress = mapping(
    "{to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 443}]}",
    {
        "to": sequence("a list of peers", "[{podSelector: {}}]", _peer),
        "ports": sequence(
            "a list of ports",
            "[{port: 443}]",
            mapping(
                "{port: 443, protocol: TCP}",
                {
                    "port": whole_number(1, 65535, 443),
                    "endPort": whole_number(1, 65535, 8443),
                    "protocol": choice("TCP", "UDP", "SCTP"),
                },
            ),
        ),
    },
)

_ingress = mapping(
    "{host: eden.example.org, class_name: nginx}",
    {
        "host": _name("a host name in lower case", "eden.example.org", DNS_NAME, 253),
        "class_name": _name("the name of an IngressClass", "nginx", DNS_NAME, 253, empty=True),
        "annotations": mapping_of(
            "a mapping of annotations to texts", "{example.org/auth: sso}", _label_key, _plain
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
    "eden_kubeconfig": text("the path of a kubeconfig", "~/.kube/config", empty=True),
    "eden_context": text("a context of the kubeconfig", "kind-eden", empty=True),
    "eden_image": _image("registry.example.org/eden:1.0.0"),
    "eden_image_pull_policy": _pull_policy,
    "eden_image_pull_secrets": sequence("a list of names of Secrets", "[registry-credentials]", _secret_name),
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
    "eden_experiment_config_file": text("the path of a YAML file", CONFIG_EXAMPLE, empty=True),
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
    "eden_poll_interval": number_above_zero("a number of seconds", "1.0"),
    "eden_log_level": choice("debug", "info", "warning", "error"),
    "eden_task_store_url": _url,
}

REQUIRED = {"eden_image": "registry.example.org/eden:1.0.0"}

__all__ = ["FACTS", "PREFIX", "REQUIRED", "RULES", "check", "checksum", "config_text", "read_file", "refusal"]
