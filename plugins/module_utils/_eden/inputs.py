# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the collection's inputs, the variables whose names begin with ``eden_``.

Types, choices, defaults and required inputs come from the argument spec of the role ``eden``, the keys and
limits of replicas and volumes from its catalogue of components. The other rules are here. All problems are
reported at once, before anything is written; an unknown name is one of them.
This module is private to the collection.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import os
import pathlib
import re
import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.eden.reference.plugins.module_utils._eden import (
    experiment_config,
    files,
    inputs_experiment,
    kubernetes_types,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.ids import (
    COMMIT_SHA,
    EXAMPLE_EXPERIMENT_ID,
    EXPERIMENT_ID,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.inputs_experiment import (
    CONFIG_IN_DIRECTORY,
    DIRECTORY,
    HOSTS,
    SOURCE,
    WORKERS,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.kubernetes_types import amount
from ansible_collections.eden.reference.plugins.module_utils._eden.values import (
    SURROGATE,
    Problem,
    TemplatingFailure,
    check_string,
    is_integer,
    is_number,
    member,
    parts,
    shown,
    shown_with_kind,
    suggestion,
    unknown_key,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import InputError

Option = dict[str, t.Any]
Reader = t.Callable[[str], bytes]
# Returns None for a valid string, and otherwise the reason as a clause, empty if the rule is reason enough.
Check: t.TypeAlias = "t.Callable[[str], str | None]"

ROLE = pathlib.Path(__file__).parents[3] / "roles" / "eden"
PREFIX = "eden_"
# Published by the role eden, and by the phases for the phases that follow.
ROLE_FACTS = frozenset({"eden_topology", "eden_config", "eden_preflight"})
FACTS = ROLE_FACTS | {
    "eden_credentials",
    "eden_seed_commit",
    "eden_task_store",
    "eden_stopped",
    "eden_identities",
}
CONFIG, CONFIG_FILE = "eden_experiment_config", "eden_experiment_config_file"

# Names of Services begin with eden_name, and must not begin with a digit.
RELEASE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
STORAGE_SIZE = re.compile(r"(?=.*[1-9])[0-9]{1,9}(Mi|Gi|Ti)")
MAX_SIZE = 2**63
_LABEL = "[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?P<name>(?:{_HOST}(?::(?P<port>[0-9]{{1,5}}))?/)?{_PATH}(?:/{_PATH})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
MAX_IMAGE_NAME = 255
MAX_NAME = 253
MAX_STRING = 4096
MAX_REPORTED = 50

# Values that Ansible's filter bool accepts without a deprecation, in upper or lower case.
BOOLEANS = frozenset({"yes", "no", "true", "false", "on", "off", "1", "0"})
# Strings that Ansible's filters int and float read as the intended number.
NUMBERS = {
    "int": re.compile(r"0|[1-9][0-9]{0,17}"),
    "float": re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?"),
}

# Requests a second that the task store answers on one core: with argon2 for the token of each, and without.
TASK_STORE_RATE = 7
REMEMBERING_RATE = 200
# Requests of one poll that finds nothing to do; a host sends one.
POLL_REQUESTS = {"orchestrator": 14}
# Seconds after which EDEN's clients give up a request.
CLIENT_TIMEOUT = 30

CONFIG_RULE = "must name a YAML file on this machine with the experiment config"
CONFIG_EXAMPLE = "'{{ inventory_dir }}/experiment-config.yaml'"


@dataclass(frozen=True)
class StringRule:
    """A rule for a string, which continues "must be", with an example and a check."""

    words: str
    example: str
    check: Check = lambda value: None


@dataclass(frozen=True)
class Limits:
    """The bounds of a number, both included; with ``positive`` the lower one is not."""

    low: int
    high: int
    example: str
    positive: bool = False

    def words(self, kind: str) -> str:
        """The rule."""
        if self.positive:
            return f"must be a number greater than {self.low} and at most {self.high}"
        return f"must be {'an integer' if kind == 'int' else 'a number'} from {self.low} to {self.high}"

    def hold(self, value: t.Any) -> bool:
        """Whether a number is within the bounds."""
        return self.low <= value <= self.high and not (self.positive and value == self.low)


def _matches(pattern: re.Pattern[str], longest: int = MAX_NAME) -> Check:
    return lambda value: None if len(value) <= longest and pattern.fullmatch(value) else ""


def _at_most(longest: int) -> Check:
    return lambda value: None if len(value) <= longest else ""


def _check_namespace(value: str) -> str | None:
    if not DNS_LABEL.fullmatch(value):
        return ""
    return "which is a namespace of Kubernetes itself" if value.startswith("kube-") else None


def _check_image(value: str) -> str | None:
    if re.search(r"\s", value):
        return "which contains whitespace"
    if "://" in value:
        return "which is a URL"
    match = IMAGE.fullmatch(value)
    if match is None or len(match["name"]) > MAX_IMAGE_NAME or not 1 <= int(match["port"] or 1) <= 65535:
        return "which is not an image reference"
    if match["digest"]:
        return None
    if not match["tag"]:
        return "which has neither"
    return "which has the tag latest, whose content changes" if match["tag"] == "latest" else None


def _check_size(value: str) -> str | None:
    size = amount(value) if STORAGE_SIZE.fullmatch(value) else None
    return None if size is not None and size < MAX_SIZE else ""


def _check_url(value: str) -> str | None:
    try:
        url = urlsplit(value)
        host, port = url.hostname, url.port
    except ValueError:
        return "which is not a URL"
    if url.scheme not in ("http", "https"):
        return "which is not http or https"
    if url.username is not None or url.password is not None:
        return "which contains a user name"
    if "?" in value or "#" in value:
        return "which has a query or a fragment"
    if not host or port == 0 or not re.fullmatch(r"[!-~]{1,2048}", value) or not _is_host(host):
        return "which names no host"
    return None


def _check_path(value: str) -> str | None:
    if len(value) > MAX_STRING:
        return ""
    return "which leaves the directory" if ".." in pathlib.PurePosixPath(value).parts else None


def _is_host(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return len(value) <= MAX_NAME and DNS_NAME.fullmatch(value.lower().removesuffix(".")) is not None
    return True


def _image(example: str) -> StringRule:
    return StringRule(f"an image with a tag or a digest, such as {example}", example, _check_image)


def _dns_name(what: str, example: str) -> StringRule:
    return StringRule(f"the name of {what}", example, _matches(DNS_NAME))


_SIZE = StringRule("a size such as 10Gi (an integer and Mi, Gi or Ti)", "10Gi", _check_size)

# By the path of an input. An input without an entry has the rule of its type alone.
RULES: dict[str, StringRule | Limits] = {
    "eden_name": StringRule(
        "a name of 1 to 32 lower-case letters, digits and -, with a letter first and a letter or digit last",
        "eden",
        _matches(RELEASE_NAME),
    ),
    "eden_namespace": StringRule(
        "a DNS label of 1 to 63 lower-case letters, digits and -, with a letter or digit at both ends, "
        "and must not begin with kube-",
        "eden",
        _check_namespace,
    ),
    "eden_kubeconfig": StringRule(
        f"the path of a kubeconfig of at most {MAX_STRING} characters", "~/.kube/config", _at_most(MAX_STRING)
    ),
    "eden_context": StringRule(
        "a context of the kubeconfig of at most 1024 characters", "kind-eden", _at_most(1024)
    ),
    "eden_image": _image("registry.example.org/eden:1.0.0"),
    "eden_postgres_image": _image("docker.io/library/postgres:16.6-alpine"),
    "eden_forgejo_image": _image("codeberg.org/forgejo/forgejo:11-rootless"),
    "eden_image_pull_secrets": _dns_name("a Secret", "registry-credentials"),
    "eden_experiment_id": StringRule(
        "an experiment id (exp_ and 26 of the characters 0-9 a-h j k m n p-t v-z)",
        EXAMPLE_EXPERIMENT_ID,
        _matches(EXPERIMENT_ID),
    ),
    CONFIG_FILE: StringRule(
        f"the path of a YAML file of at most {MAX_STRING} characters", CONFIG_EXAMPLE, _at_most(MAX_STRING)
    ),
    "eden_experiment_dir": StringRule(
        f"the path of a directory on this machine, of at most {MAX_STRING} characters",
        "'{{ inventory_dir }}/experiment'",
        _at_most(MAX_STRING),
    ),
    "eden_seed_dir": StringRule(
        f"the path of a directory on this machine, of at most {MAX_STRING} characters",
        "'{{ inventory_dir }}/seed'",
        _at_most(MAX_STRING),
    ),
    "eden_experiment_source.image": _image("registry.example.org/experiment:1.0.0"),
    "eden_experiment_source.git": StringRule(
        "an http or https URL without credentials", "https://git.example.org/experiment.git", _check_url
    ),
    "eden_experiment_source.commit": StringRule(
        "the id of a commit, 40 or 64 lower-case hexadecimal digits", "1234567890" * 4, _matches(COMMIT_SHA)
    ),
    "eden_experiment_source.claim": _dns_name("a PersistentVolumeClaim", "experiment-files"),
    "eden_experiment_source.path": StringRule("a path without ..", "experiments/ranking", _check_path),
    "eden_storage_class": _dns_name("a storage class", "standard"),
    "eden_existing_secret": _dns_name("a Secret", "eden-credentials"),
    "eden_ingress.host": StringRule("a host name in lower case", "eden.example.org", _matches(DNS_NAME)),
    "eden_ingress.class_name": _dns_name("an IngressClass", "nginx"),
    "eden_ingress.tls_secret": _dns_name("a Secret", "eden-tls"),
    "eden_task_store_url": StringRule("an http or https URL", "https://eden.example.org:8080", _check_url),
    "eden_max_unavailable": Limits(0, 99, "1"),
    "eden_timeout": Limits(1, 86400, "300"),
    "eden_lock_timeout": Limits(0, 86400, "600"),
    "eden_poll_interval": Limits(0, 86400, "1.0", positive=True),
}
for _host in HOSTS:
    RULES |= {
        f"{WORKERS}.{_host}.image": _image("registry.example.org/commands:1.0.0"),
        f"{WORKERS}.{_host}.runtime_class": _dns_name("a RuntimeClass", "nvidia"),
        f"{WORKERS}.{_host}.env_secret": _dns_name("a Secret", "llm-keys"),
    }
ANY_STRING = StringRule(f"a string of at most {MAX_STRING} characters", "text", _at_most(MAX_STRING))
ANY_NUMBER = Limits(0, 2**31 - 1, "1")

# Inputs in the form of the Kubernetes API: the type in the client's words, and an example.
KUBERNETES_TYPES = {
    "eden_affinity": ("V1Affinity", "{podAntiAffinity: {}}"),
    "eden_tolerations": (
        "list[V1Toleration]",
        "[{key: dedicated, operator: Exists, effect: NoSchedule}]",
    ),
    "eden_node_selector": ("dict[str, str]", "{kubernetes.io/os: linux}"),
    "eden_web_ui_peers": (
        "list[V1NetworkPolicyPeer]",
        "[{namespaceSelector: {matchLabels: {team: x}}}]",
    ),
    "eden_dns_peers": (
        "list[V1NetworkPolicyPeer]",
        "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]",
    ),
    "eden_worker_egress": (
        "list[V1NetworkPolicyEgressRule]",
        "[{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]",
    ),
    "eden_ingress.annotations": ("dict[str, str]", "{example.org/auth: sso}"),
}

for _host in HOSTS:
    KUBERNETES_TYPES |= {
        f"{WORKERS}.{_host}.node_selector": KUBERNETES_TYPES["eden_node_selector"],
        f"{WORKERS}.{_host}.tolerations": KUBERNETES_TYPES["eden_tolerations"],
        f"{WORKERS}.{_host}.egress": KUBERNETES_TYPES["eden_worker_egress"],
    }
# Of inputs that are mappings, if their first key alone is none.
EXAMPLES = {
    "eden_experiment_source": "{claim: experiment-files}",
    WORKERS: "{executor_host: {replicas: 2}}",
    **{f"{WORKERS}.{host}": "{mode: subprocess}" for host in HOSTS},
}

# The former inputs of the phase roles, without their prefix.
_CONNECTION = "kubeconfig context timeout"
_PODS = (
    f"{_CONNECTION} image image_pull_policy image_pull_secrets resources node_selector tolerations affinity"
)
FORMER_INPUTS = {
    "infra_": f"{_PODS} postgres_image postgres_image_pull_policy postgres_resources postgres_storage_size "
    "forgejo_image forgejo_image_pull_policy forgejo_resources forgejo_storage_size blob_storage_size "
    "artifacts_storage_size storage_class",
    "seed_": _PODS,
    "task_store_": f"{_PODS} replicas log_level",
    "identities_": f"{_CONNECTION} task_store_url",
    "app_tier_": f"{_PODS} orchestrator_repo_storage_size executor_repo_storage_size "
    "web_ui_repo_storage_size poll_interval log_level task_store_url",
    "verify_": f"{_CONNECTION} task_store_url",
}


@functools.cache
def specification() -> dict[str, Option]:
    """The options of the inputs, by name."""
    spec = _yaml("meta/argument_specs.yml")["argument_specs"]["inputs"]["options"]
    keys = {"eden_replicas": "int", "eden_storage_sizes": "str"}
    known = {
        name: {
            path.rpartition(".")[2]: {"type": kind} for path in _catalogue_rules() if path.startswith(name)
        }
        for name, kind in keys.items()
    }
    return {
        name: {**option, "options": known[name]} if name in known else option for name, option in spec.items()
    }


@functools.cache
def components() -> dict[str, t.Any]:
    """The catalogue of components."""
    found: dict[str, t.Any] = _yaml("vars/main/components.yml")["__eden_components"]
    return found


def check(
    variables: t.Mapping[str, t.Any],
    read: Reader | None = None,
    pack: inputs_experiment.Pack = files.pack,
) -> list[Problem]:
    """All problems of the inputs.

    Args:
        variables: every variable of the host that :func:`concerns` the check, the inputs templated. A value
            whose template failed, or a part of one, is a :class:`TemplatingFailure`.
        read: returns the content of the file with the experiment config, or raises OSError.
        pack: :func:`files.pack`.
    """
    spec = specification()
    found = [_unknown(name) for name in variables if name not in spec and concerns(name)]
    for name, option in spec.items():
        if name in variables:
            found += _value_problems(name, option, variables[name])
        elif option.get("required"):
            found.append(Problem(name, "is required", "", _example(name)))
    valid = {name: variables[name] for name in variables if not _are_about(found, name)}
    if not _are_about(found, CONFIG_FILE, DIRECTORY):
        found += _config_file_problems(variables, read or read_file)
    broken = _are_about(found, CONFIG, CONFIG_FILE, DIRECTORY, SOURCE)
    config = {} if broken else experiment_config_of(variables, read)
    found += inputs_experiment.problems(valid, config, pack)
    return _without_inherited(variables, found)


def _are_about(found: t.Iterable[Problem], *names: str) -> bool:
    """Whether one of the problems is that of one of these inputs, or of a part of it."""
    return any(re.split(r"[./\[]", problem.variable)[0] in names for problem in found)


def fact_problems(names: t.Iterable[str]) -> list[Problem]:
    """The problems of variables that the user has set, and that would replace facts or be ignored."""
    return [
        Problem(name, "is not an input; the roles publish it: rename yours or leave it out", "", "")
        for name in sorted(FACTS.intersection(names))
    ]


def concerns(name: str) -> bool:
    """Whether a variable is an input, has the prefix of one, or is a former input of a phase role."""
    return (name.startswith(PREFIX) and name not in FACTS) or bool(_former(name))


def warnings(variables: t.Mapping[str, t.Any]) -> list[str]:
    """Warnings about valid inputs that the cluster or the task store may not satisfy."""
    return [*_rate_warnings(variables), *_policy_warnings(variables)]


def _rate_warnings(variables: t.Mapping[str, t.Any]) -> list[str]:
    """Warnings about a request rate that exceeds the capacity of the task store."""
    interval = float(variables.get("eden_poll_interval", specification()["eden_poll_interval"]["default"]))
    workers = variables.get(WORKERS) or {}
    of_workers = {host: worker["replicas"] for host, worker in workers.items() if "replicas" in worker}
    replicas = {**variables.get("eden_replicas", {}), **of_workers}
    polling = {
        name: int(replicas.get(component["replicas"]["input"], component["replicas"]["default"]))
        for name, component in components().items()
        if "replicas" in component and "identity" in component and "port" not in component
    }
    requests = sum(number * POLL_REQUESTS.get(name, 1) for name, number in polling.items())
    remembers = _is_true(variables.get("eden_remember_credentials", True))
    rate = REMEMBERING_RATE if remembers else TASK_STORE_RATE
    if requests / interval <= rate:
        return []
    return [
        f"{sum(polling.values())} workers that poll every {interval:g} s send {requests / interval:.0f} "
        f"requests a second; the task store answers about {rate} on one core, so that a poll takes longer "
        f"than its interval, and EDEN's services give up a request after {CLIENT_TIMEOUT} s. "
        f"Raise eden_poll_interval to {requests / rate:.1f} or lower eden_replicas"
        + (", or set eden_remember_credentials: true." if not remembers else ".")
    ]


def _is_true(value: t.Any) -> bool:
    return str(value).lower() in ("yes", "true", "on", "1")


def _policy_warnings(variables: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Connections that the inputs need and their network policies forbid."""
    if not _is_true(variables.get("eden_network_policies", True)):
        return
    yield from inputs_experiment.warnings(variables)
    enforced = "On a cluster that enforces network policies"
    if variables.get("eden_ingress") and not variables.get("eden_web_ui_peers"):
        yield (
            f"{enforced}, no ingress controller reaches the web UI, but one on its node: "
            "eden_ingress is set and eden_web_ui_peers is empty. Name the controller's pods there."
        )
    if variables.get("eden_dns_peers") == []:
        yield (
            f"{enforced}, no pod finds another by its name: eden_dns_peers is empty. "
            "Name the cluster's DNS servers there, or leave it out for the usual ones."
        )


def config_text(variables: t.Mapping[str, t.Any], read: Reader | None = None) -> str:
    """The text of the experiment config: the file as it is, or the mapping as YAML with sorted keys."""
    path = _config_path(variables)
    if path:
        return (read or read_file)(path).decode("utf-8")
    return experiment_config.dump(variables.get(CONFIG, specification()[CONFIG]["default"]))


def experiment_config_of(
    variables: t.Mapping[str, t.Any], read: Reader | None = None
) -> t.Mapping[str, t.Any]:
    """The experiment config, which is valid."""
    path = _config_path(variables)
    if path:
        return experiment_config.parse((read or read_file)(path), CONFIG_FILE)[0] or {}
    return variables.get(CONFIG, specification()[CONFIG]["default"]) or {}


def task_deadlines(config: t.Mapping[str, t.Any]) -> dict[str, float]:
    """The longest tasks that the experiment config names, in seconds, by their keys in it."""
    return {key: float(config[key]) for key in experiment_config.DEADLINES if config.get(key)}


def checksum(written: str) -> str:
    """The SHA-256 of a text, in hex."""
    return hashlib.sha256(written.encode()).hexdigest()


def refusal(found: t.Sequence[Problem], host: str) -> InputError:
    """The error that lists all problems, one on each line."""
    count = "One input" if len(found) == 1 else f"{len(found)} inputs"
    verb = "breaks" if len(found) == 1 else "break"
    reported = found[:MAX_REPORTED]
    lines = [problem.line for problem in reported]
    if len(found) > len(reported):
        lines.append(f"{len(found) - len(reported)} more problems are not listed.")
    return InputError(
        "\n".join([f"{count} of {_printable(host)} {verb} a rule; nothing was written.", *lines]),
        problems=[problem.as_result() for problem in reported],
    )


def read_file(path: str) -> bytes:
    """The content of a regular file, truncated if it is too large for any config.

    Raises:
        OSError: it does not exist, is not readable, or is not a regular file.
    """
    path = os.path.expanduser(path)
    with open(path, "rb", opener=_open_at_once) as file:
        if not os.path.isfile(path):
            raise OSError("it is not a regular file")
        return file.read(8 * experiment_config.MAX_SIZE)


def _open_at_once(path: str, flags: int) -> int:
    # A named pipe would otherwise wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _yaml(path: str) -> t.Any:
    return yaml_load((ROLE / path).read_text(encoding="utf-8"))


@functools.cache
def _catalogue_rules() -> dict[str, StringRule | Limits]:
    """The rules of replicas and sizes of volumes, by path."""
    rules: dict[str, StringRule | Limits] = {}
    for component in components().values():
        replicas = component.get("replicas")
        if replicas:
            limits = Limits(replicas["min"], replicas["max"], "1")
            rules[f"eden_replicas.{replicas['input']}"] = limits
            if replicas["input"] in HOSTS:
                rules[f"{WORKERS}.{replicas['input']}.replicas"] = limits
        volumes = (part.get("volumes", {}) for part in (component, component.get("subprocess", {})))
        for volume in (volume for found in volumes for volume in found.values() if "size" in volume):
            rules[f"eden_storage_sizes.{volume['size']}"] = _SIZE
    return rules


def _rule(path: str) -> t.Any:
    return RULES.get(path) or _catalogue_rules().get(path)


def _value_problems(name: str, option: Option, value: t.Any) -> list[Problem]:
    """The problems of one input; those of parts that failed to template or cannot be stored come first."""
    if isinstance(value, (dict, list)) and repr(value) == repr(option.get("default")):
        # Defaults are checked by a test; checking them here would load the models of Kubernetes' types.
        return []
    broken = _problems(name, option, value, name)
    rules = {problem.variable: problem for problem in broken}
    failed: list[Problem] = []
    for variable, part in parts(name, value):
        if isinstance(part, TemplatingFailure):
            other = Problem(variable, "must be a value or a valid template", "", "'{{ inventory_hostname }}'")
            rule = rules.get(variable, other)
            got = f"a template that failed: {part.reason}"
            failed.append(Problem(variable, rule.rule, got, rule.example))
        elif isinstance(part, str) and SURROGATE.search(part) and variable not in rules:
            words = "must not contain half of a surrogate pair, which no file can store"
            failed.append(Problem(variable, words, shown(variable, part), "'\\U0001F680'"))
    return failed or broken


def _problems(variable: str, option: Option, value: t.Any, path: str) -> list[Problem]:
    if path == CONFIG:
        return experiment_config.problems(value, variable) or experiment_config.dump_problems(value, variable)
    if path in KUBERNETES_TYPES:
        return kubernetes_types.problems(variable, value, *KUBERNETES_TYPES[path])
    if path.endswith(("resources.requests", "resources.limits")):
        return kubernetes_types.resource_problems(variable, value)
    kind = option["type"]
    if kind == "dict":
        return _mapping_problems(variable, option, value, path)
    if kind == "list":
        return _list_problems(variable, option, value, path)
    if kind == "bool":
        valid = isinstance(value, (bool, int, str)) and str(value).lower() in BOOLEANS
        got = shown_with_kind(variable, value)
        return [] if valid else [Problem(variable, "must be true or false", got, "true")]
    if kind in NUMBERS:
        return _number_problems(variable, kind, value, _rule(path) or ANY_NUMBER)
    return _string_problems(variable, option, value, path)


def _mapping_problems(variable: str, option: Option, value: t.Any, path: str) -> list[Problem]:
    known = option.get("options", {})
    example = EXAMPLES.get(path, "{}")
    if known and path not in EXAMPLES:
        example = f"{{{next(iter(known))}: {_example(f'{path}.{next(iter(known))}')}}}"
    if not isinstance(value, dict):
        keys = f" with the keys {', '.join(known)}" if known else ""
        return [Problem(variable, f"must be a mapping{keys}", shown_with_kind(variable, value), example)]
    found = [unknown_key(variable, key, known) for key in value if known and key not in known]
    for key, inner in known.items():
        if key in value:
            found += _problems(member(variable, key), inner, value[key], f"{path}.{key}")
        elif inner.get("required") and value:
            found.append(Problem(member(variable, key), "is required", "", example))
    return found


def _example(path: str) -> str:
    if path.endswith("resources.requests"):
        return "{cpu: 500m}"
    return str((_rule(path) or ANY_STRING).example)


def _list_problems(variable: str, option: Option, value: t.Any, path: str) -> list[Problem]:
    rule = _rule(path) or ANY_STRING
    example = f"[{rule.example}]"
    if not isinstance(value, list):
        return [Problem(variable, "must be a list", shown_with_kind(variable, value), example)]
    element = {"type": option["elements"], "required": True}
    found = []
    for index, part in enumerate(value):
        name = member(variable, index)
        found += _problems(name, element, part, path)
        if isinstance(part, str) and part in value[:index]:
            found.append(Problem(name, "must not be given twice", shown(name, part), rule.example))
    return found


def number(kind: str, value: t.Any) -> t.Any:
    """The number that a value of an int or float input stands for, or None."""
    if isinstance(value, str) and NUMBERS[kind].fullmatch(value):
        value = int(value) if kind == "int" else float(value)
    return value if (is_integer if kind == "int" else is_number)(value) else None


def _number_problems(variable: str, kind: str, value: t.Any, limits: Limits) -> list[Problem]:
    got = number(kind, value)
    if got is not None and limits.hold(got):
        return []
    words = shown(variable, value) if is_number(value) else shown_with_kind(variable, value)
    return [Problem(variable, limits.words(kind), words, limits.example)]


def _string_problems(variable: str, option: Option, value: t.Any, path: str) -> list[Problem]:
    choices = option.get("choices")
    rule = _rule(path) or ANY_STRING
    if choices:
        like = suggestion(value, choices, 0.6) if isinstance(value, str) else ""
        rule = StringRule(
            f"one of {', '.join(choices)}", like or choices[0], lambda v: None if v in choices else ""
        )
    may_be_empty = not option.get("required") and option.get("default") == ""
    words = f"must be {rule.words}{', or empty' if may_be_empty else ''}"
    if not isinstance(value, str):
        return [Problem(variable, words, shown_with_kind(variable, value), rule.example)]
    if not value and may_be_empty:
        return []
    start = value[: MAX_STRING + 1]
    # A URL may contain a password before the host.
    got = shown(variable, re.sub(r"//[^/]*@", "//***@", start))
    reason = check_string(start) or rule.check(start) if value else ""
    return (
        []
        if reason is None
        else [Problem(variable, words, ", ".join(filter(None, (got, reason))), rule.example)]
    )


def _unknown(name: str) -> Problem:
    former = _former(name)
    if former:
        rule = f"is no longer an input; set {former}, or rename the variable if it is not meant for EDEN"
        return Problem(name, rule, "", former)
    known = [known.removeprefix(PREFIX) for known in specification()]
    like = suggestion(name.removeprefix(PREFIX), known, 0.7)
    like = like and PREFIX + like
    hint = (
        f"did you mean {like}?"
        if like
        else "names that begin with eden_ are reserved for the inputs of eden.reference"
    )
    return Problem(_printable(name), f"is not an input; {hint}", "", like or next(iter(specification())))


def _former(name: str) -> str:
    """The input that replaces a former input of a phase role, which may be misspelled."""
    for prefix, names in FORMER_INPUTS.items():
        if name.startswith(prefix) and (like := suggestion(name.removeprefix(prefix), names.split(), 0.85)):
            if like.endswith("_storage_size"):
                return f"eden_storage_sizes.{like.removesuffix('_storage_size')}"
            return "eden_replicas.task_store" if like == "replicas" else f"{PREFIX}{like}"
    return ""


def _printable(name: str) -> str:
    """A name, short and in ASCII: users can choose any."""
    return name if len(name) <= MAX_NAME and name.isascii() and name.isprintable() else shown("", name)


def _without_inherited(variables: t.Mapping[str, t.Any], found: list[Problem]) -> list[Problem]:
    """The problems without that of eden_namespace if it only repeats that of its default, eden_name."""
    name = variables.get("eden_name")
    if name != variables.get("eden_namespace") or not any(p.variable == "eden_name" for p in found):
        return found
    return [problem for problem in found if problem.variable != "eden_namespace"]


def _config_path(variables: t.Mapping[str, t.Any]) -> str:
    """The file with the experiment config; empty if it is an input."""
    directory = variables.get(DIRECTORY)
    return os.path.join(directory, CONFIG_IN_DIRECTORY) if directory else variables.get(CONFIG_FILE) or ""


def _config_file_problems(variables: t.Mapping[str, t.Any], read: Reader) -> list[Problem]:
    default, given = (
        specification()[CONFIG]["default"],
        DIRECTORY if variables.get(DIRECTORY) else CONFIG_FILE,
    )
    path = _config_path(variables)
    others = [
        *([CONFIG_FILE] if given == DIRECTORY and variables.get(CONFIG_FILE) else []),
        *([CONFIG] if path and variables.get(CONFIG, default) != default else []),
    ]
    if others:
        return [Problem(given, f"excludes {other}: remove one of the two", "", "''") for other in others]
    if not path:
        return []
    if given == DIRECTORY:
        name, rule = f"{DIRECTORY}/{CONFIG_IN_DIRECTORY}", "must be a YAML file with the experiment config"
        example = "parallel_variants: 1"
    else:
        name, rule, example = CONFIG_FILE, CONFIG_RULE, CONFIG_EXAMPLE
    try:
        config, found = experiment_config.parse(read(path), name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [Problem(name, rule, f"{shown(name, path)} ({reason})", example)]
    if not found and not isinstance(config, dict):
        # The content may be a secret: it may be the wrong file.
        got = f"{shown(name, path)}, which does not contain a mapping"
        return [Problem(name, rule, got, example)]
    return found or experiment_config.problems(config, name)


__all__ = [
    "FACTS",
    "PREFIX",
    "ROLE_FACTS",
    "amount",
    "check",
    "checksum",
    "components",
    "concerns",
    "config_text",
    "experiment_config_of",
    "fact_problems",
    "number",
    "read_file",
    "refusal",
    "specification",
    "warnings",
]
