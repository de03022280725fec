# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ensures the Secret with an experiment's credentials: generates missing keys, never changes existing ones.

Values stay inside this module. It returns only key names and keyed digests.
This module is private to the collection.
"""

from __future__ import annotations

import base64
import re
import secrets
import typing as t
from urllib.parse import quote

from ansible_collections.eden.reference.plugins.module_utils._eden import environments
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._errors import ConflictError
from ansible_collections.eden.reference.plugins.module_utils._kube.apply import hand_over_command
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.comparison import foreign_owner
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import (
    decoded,
    encoded,
    keyed_digest,
)
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "secret": {"type": "str", "required": True, "no_log": False},
    "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
    "advice": {"type": "str", "default": ""},
    "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "labels": {"type": "dict", "default": {}},
    "urls": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "user": {"type": "str", "required": True},
            "password_key": {"type": "str", "required": True, "no_log": False},
            "address": {"type": "str", "required": True},
        },
    },
    "bound": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "claim": {"type": "str", "required": True},
            "advice": {"type": "str", "required": True},
        },
    },
    "readers": {"type": "dict", "default": {}},
    "digest_key": {"type": "str", "required": True, "no_log": False},
    "environments": {"type": "dict", "default": {}},
}

# Another client may write between our read and our write, but hardly this often.
ATTEMPTS = 5
# Fits into an HTTP header and into an environment variable in any case.
MAX_LENGTH = 4096

Values = dict[str, str]


class Rule(t.NamedTuple):
    """The pattern that a whole value must match, and the problem of one that does not."""

    pattern: str
    problem: str


_INI = Rule(
    r"[A-Za-z0-9!$&()*+,./:<=>?@\[\]^_{|}~-]+",
    "contains a blank, a quote, one of # ; % \\ or a character other than ASCII, which Forgejo's INI file "
    "does not preserve",
)
# The rules of the services that read a key, in addition to those for all keys. The session secret is the key
# of an HMAC, and the read-only password an SQL string literal: both may be any text.
RULES: dict[str, tuple[Rule, ...]] = {
    "EDEN_ADMIN_TOKEN": (
        Rule(
            "[!-~]+", "contains a blank or another character than printable ASCII, unfit for an HTTP header"
        ),
    ),
    "POSTGRES_PASSWORD": (Rule(r"[^\r\n]+", "contains a line break, and initdb reads one line"),),
    "FORGEJO_REMOTE_PASSWORD": (
        Rule(
            r"[^\x00-\x1f\x7f]+",
            "contains a line break, a tab or another control character, and git reads one line",
        ),
        Rule(r".{8,255}", "is not 8 to 255 characters long, as Forgejo requires"),
        Rule(r"(?!x-oauth-basic$).+", "is the word that Forgejo reserves for tokens"),
    ),
    "FORGEJO_SECRET_KEY": (_INI,),
    "FORGEJO_INTERNAL_TOKEN": (_INI,),
}


def run(task: Task) -> dict[str, t.Any]:
    """Verify or complete the Secret; return key names and digests."""
    parameters = task.parameters
    namespace, name = parameters["namespace"], parameters["secret"]
    with connected(parameters) as cluster:
        generated: list[str] = []
        if parameters["state"] == "verified":
            values = verified(cluster, namespace, name, parameters["keys"], parameters["advice"])
        else:
            values, generated = completed(cluster, task)
        of_commands = environments.digests(
            cluster, namespace, parameters.get("environments") or {}, values.get(parameters["digest_key"], "")
        )
    answer: dict[str, t.Any] = {
        "changed": bool(generated),
        "secret": name,
        "generated": generated,
        "digests": digests(values, parameters["readers"], parameters["digest_key"]) | of_commands,
    }
    if task.diff and generated:
        before = sorted(set(values) - set(generated))
        header = describe("Secret", namespace, name)
        answer["diff"] = [
            {
                "before_header": header,
                "after_header": header,
                "before": {"keys": before},
                "after": {"keys": sorted({*before, *generated})},
            }
        ]
    return answer


def verified(cluster: Cluster, namespace: str, name: str, keys: t.Sequence[str], advice: str) -> Values:
    """The values of a Secret that has all keys.

    Raises:
        CredentialsError: it does not exist, or lacks keys, or has unusable values; all of them are listed.
    """
    return usable(cluster.read("Secret", namespace, name), namespace, name, keys, advice)


def usable(live: Object | None, namespace: str, name: str, keys: t.Sequence[str], advice: str) -> Values:
    """The values of a Secret that has all keys, with values that their services can use.

    Raises:
        CredentialsError: as for :func:`verified`.
    """
    values = decoded(live)
    missing = [key for key in keys if not values.get(key)]
    if missing:
        found = "lacks" if live else "does not exist; it needs"
        raise CredentialsError(
            f"{describe('Secret', namespace, name)} {found} {', '.join(missing)}. {advice}".rstrip(),
            missing=missing,
        )
    fail_if_unusable(
        live,
        namespace,
        name,
        keys,
        lambda _key: "Write it without a trailing line break: kubectl create secret generic --from-literal.",
    )
    return values


def fail_if_unusable(
    live: Object | None, namespace: str, name: str, keys: t.Sequence[str], advice: t.Callable[[str], str]
) -> None:
    """Refuse values that the services which read them cannot use. Empty ones count as missing.

    Raises:
        CredentialsError: lists the keys, their problems, and what to do; never a value.
    """
    data = ((live or {}).get("data") or {}).items()
    problems = {
        key: problem
        for key, value in data
        if key in keys and value and (problem := value_problem(key, value))
    }
    if problems:
        listed = "; ".join(f"{key} {problem}" for key, problem in problems.items())
        actions = " ".join(dict.fromkeys(map(advice, problems)))
        raise CredentialsError(
            f"{describe('Secret', namespace, name)} has values that their services cannot use: {listed}. "
            f"{actions}".rstrip(),
            unusable=sorted(problems),
        )


def value_problem(key: str, data: str) -> str:
    """Why the value of a key is unusable, without the value; empty if its service can use it.

    Every value is passed in an environment variable, which must be UTF-8 without NUL.
    """
    raw = base64.b64decode(data)
    try:
        value = raw.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    if "\0" in value:
        return "contains a NUL character, which an environment variable cannot"
    if len(raw) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} bytes"
    rules = RULES.get(key, ())
    return next((rule.problem for rule in rules if not re.fullmatch(rule.pattern, value, re.DOTALL)), "")


def completed(cluster: Cluster, task: Task) -> tuple[Values, list[str]]:
    """The values of our own Secret, and the keys that were generated.

    In check mode the generated values are not written and count as absent.

    Raises:
        CredentialsError: the Secret belongs to others, a missing key belongs to data that still exists, or a
            value is damaged.
    """
    parameters = task.parameters
    namespace, name = parameters["namespace"], parameters["secret"]
    conflict: ConflictError | None = None
    for _attempt in range(ATTEMPTS):
        live = cluster.read("Secret", namespace, name)
        fail_if_foreign(live, namespace, name)
        kept = decoded(live)
        missing = [key for key in parameters["keys"] if not kept.get(key)]
        fail_if_bound(cluster, namespace, name, missing, parameters["bound"])
        restoring = restoring_advice(namespace, name)
        fail_if_unusable(live, namespace, name, parameters["keys"], restoring)
        values = {**kept, **{key: secrets.token_hex(32) for key in missing}}
        values |= {rule["key"]: url(rule, values[rule["password_key"]]) for rule in parameters["urls"]}
        generated = sorted(key for key, value in values.items() if kept.get(key) != value)
        if not generated:
            return values, []
        if task.check_mode:
            return kept, generated
        try:
            write(cluster, live, namespace, name, parameters["labels"], values)
            return values, generated
        except ConflictError as error:
            conflict = error
    raise conflict or AssertionError("unreachable")


def fail_if_foreign(live: Object | None, namespace: str, name: str) -> None:
    """Refuse to add keys to a Secret of others.

    Raises:
        CredentialsError: with the alternatives.
    """
    owner = foreign_owner(live) if live else ""
    if owner:
        raise CredentialsError(
            f"{describe('Secret', namespace, name)} already exists, {owner}. It was not changed. Set "
            f"eden_existing_secret to {name} to use its values, or hand it over to have missing keys added: "
            f"{hand_over_command('Secret', namespace, name)}."
        )


def restoring_advice(namespace: str, name: str) -> t.Callable[[str], str]:
    """What to do about a damaged value of our own Secret, by its key."""
    return lambda key: (
        f"Restore {key} from a backup, or remove it to have a new value generated if no data depends on it: "
        f"kubectl patch secret {name} --namespace {namespace} --type=json "
        f"""-p '[{{"op": "remove", "path": "/data/{key}"}}]'."""
    )


def fail_if_bound(
    cluster: Cluster,
    namespace: str,
    name: str,
    missing: t.Sequence[str],
    bound: t.Sequence[t.Mapping[str, str]],
) -> None:
    """Refuse to generate a key while a claim exists whose data was written with the lost one.

    Raises:
        CredentialsError: with the alternatives.
    """
    for rule in bound:
        if rule["key"] in missing and cluster.read("PersistentVolumeClaim", namespace, rule["claim"]):
            raise CredentialsError(
                f"{describe('Secret', namespace, name)} has no {rule['key']}, but "
                f"{describe('PersistentVolumeClaim', namespace, rule['claim'])} holds data that was written "
                "with it; a new value would lock the service out of its own data. Nothing was changed. "
                f"{rule['advice']}",
                missing=[rule["key"]],
                claim=rule["claim"],
            )


def write(
    cluster: Cluster,
    live: Object | None,
    namespace: str,
    name: str,
    labels: t.Mapping[str, str],
    values: Values,
) -> None:
    """Create the Secret, or replace the one that was read.

    Raises:
        ConflictError: it was created or changed meanwhile.
    """
    data = encoded(values)
    if live is None:
        cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
                "type": "Opaque",
                "data": data,
            }
        )
    else:
        cluster.replace({**live, "data": {**(live.get("data") or {}), **data}})


def url(rule: t.Mapping[str, str], password: str) -> str:
    """A database URL with its password, for users and tools outside the pods."""
    return f"postgresql://{quote(rule['user'], safe='')}:{quote(password, safe='')}@{rule['address']}"


def digests(values: Values, readers: t.Mapping[str, t.Sequence[str]], digest_key: str) -> dict[str, str]:
    """Per reader, a digest of the values that it reads; empty while one of them is unknown.

    Keyed with the value of ``digest_key``, so that a pod's annotation cannot be used to guess a password.
    """
    secret = values.get(digest_key, "")
    return {
        reader: keyed_digest(secret, {key: values[key] for key in keys})
        if secret and all(map(values.get, keys))
        else ""
        for reader, keys in readers.items()
    }
