# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module credentials makes, keeps and refuses, without a cluster."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import typing as t

import pytest
import requests

from ansible_collections.eden.reference.plugins.module_utils._eden import credentials, environments
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._errors import ConflictError, MissingError
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import decoded
from ansible_collections.eden.reference.plugins.module_utils._module import Task

OURS = {"app.kubernetes.io/managed-by": "eden.reference"}
PARAMETERS: dict[str, t.Any] = {
    "namespace": "ns",
    "secret": "s",
    "keys": ["PASSWORD", "KEY"],
    "labels": OURS,
    "urls": [{"key": "URL", "user": "eden", "password_key": "PASSWORD", "address": "db:5432/eden"}],
    "bound": [{"key": "PASSWORD", "claim": "data", "advice": "Restore it."}],
    "readers": {"db": ["PASSWORD"], "forge": ["KEY"]},
    "digest_key": "KEY",
    "environments": {},
}


def secret(**values: str) -> dict[str, t.Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": "s", "resourceVersion": "7", "labels": OURS}
    return {"kind": "Secret", "metadata": metadata, "data": data}


class FakeCluster:
    """Holds one Secret and the names of claims; the first ``conflicts`` writes come too late."""

    def __init__(
        self, live: dict[str, t.Any] | None = None, claims: t.Sequence[str] = (), conflicts: int = 0
    ) -> None:
        self.live = live
        self.claims = claims
        self.conflicts = conflicts
        self.writes: list[dict[str, t.Any]] = []

    def read(self, kind: str, namespace: str, name: str) -> t.Any:
        return self.live if kind == "Secret" else name in self.claims or None

    def create(self, definition: dict[str, t.Any]) -> None:
        if self.conflicts:
            self.conflicts -= 1
            self.live = secret(PASSWORD="theirs", KEY="theirs")
            raise ConflictError("create", "Secret ns/s", 409, "AlreadyExists")
        self.writes.append(definition)
        self.live = definition

    replace = create

    def values(self) -> dict[str, str]:
        return decoded(self.live)


def completed(cluster: FakeCluster, check_mode: bool = False) -> tuple[dict[str, str], list[str]]:
    return credentials.completed(cluster, Task(PARAMETERS, check_mode))  # type: ignore[arg-type]


def test_present_keys_are_kept_and_foreign_ones_too() -> None:
    cluster = FakeCluster(secret(PASSWORD="p@ss", OTHER="x"))
    values, generated = completed(cluster)
    assert generated == ["KEY", "URL"]
    assert cluster.values()["PASSWORD"] == "p@ss"
    assert cluster.values()["OTHER"] == "x"
    assert values["URL"] == "postgresql://eden:p%40ss@db:5432/eden"
    assert cluster.writes[0]["metadata"]["resourceVersion"] == "7"


def test_lasting_conflict_is_reported() -> None:
    with pytest.raises(ConflictError):
        completed(FakeCluster(conflicts=99))


def test_claim_does_not_matter_while_the_password_is_there() -> None:
    assert completed(FakeCluster(secret(KEY="k", PASSWORD="p"), claims=["data"]))[1] == ["URL"]


PLAIN = "0123456789abcdef"
KEYS = (
    "EDEN_ADMIN_TOKEN",
    "EDEN_SESSION_SECRET",
    "EDEN_READONLY_PASSWORD",
    "POSTGRES_PASSWORD",
    "FORGEJO_REMOTE_PASSWORD",
    "FORGEJO_SECRET_KEY",
    "FORGEJO_INTERNAL_TOKEN",
)
EVERY = frozenset(KEYS)
INI = frozenset(KEYS[-2:])
HEADER = frozenset({"EDEN_ADMIN_TOKEN"}) | INI
LINE = HEADER | {"FORGEJO_REMOTE_PASSWORD"}
# A class of bytes, and the keys whose services cannot use it.
CLASSES: dict[str, tuple[bytes, frozenset[str]]] = {
    "plain": (PLAIN.encode(), frozenset()),
    "dash-first": (b"-" + PLAIN.encode(), frozenset()),
    "flag": (b"--log-level=debug", frozenset()),
    "colon": (b"user:" + PLAIN.encode(), frozenset()),
    "slashes": (b"a/b+c==.~_" + PLAIN.encode(), frozenset()),
    "dollar": (b"$(HOME)${HOME}$HOME", frozenset()),
    "newline-last": (PLAIN.encode() + b"\n", LINE | {"POSTGRES_PASSWORD"}),
    "newline-within": (b"01234567\n89abcdef", LINE | {"POSTGRES_PASSWORD"}),
    "carriage-return-last": (PLAIN.encode() + b"\r", LINE | {"POSTGRES_PASSWORD"}),
    "tab": (b"01234567\t89abcdef", LINE),
    "control": (b"01234567\x1b89abcdef", LINE),
    "delete": (b"01234567\x7f89abcdef", LINE),
    "blank-first": (b" " + PLAIN.encode(), HEADER),
    "blank-last": (PLAIN.encode() + b" ", HEADER),
    "quotes": (b"01234567\"'`", INI),
    "comment": (b"01234567#;", INI),
    "interpolation": (b"%(APP_NAME)s", INI),
    "backslash": (b"0123456789\\", INI),
    "umlaut": ("pässwörter".encode(), HEADER),
    "emoji": ("🚀🚀🚀🚀🚀🚀🚀🚀".encode(), HEADER),
    "byte-order-mark": (b"\xef\xbb\xbf" + PLAIN.encode(), HEADER),
    "nul": (b"01234567\x0089abcdef", EVERY),
    "latin-1": ("pässwörter".encode("latin-1"), EVERY),
    "surrogate": (b"01234567\xed\xa0\x80", EVERY),
    "short": (b"hunter2", frozenset({"FORGEJO_REMOTE_PASSWORD"})),
    "longer-than-255": (b"a" * 256, frozenset({"FORGEJO_REMOTE_PASSWORD"})),
    "sign-of-a-token": (b"x-oauth-basic", frozenset({"FORGEJO_REMOTE_PASSWORD"})),
    "longer-than-a-header": (b"a" * (credentials.MAX_LENGTH + 1), EVERY),
    "empty": (b"", EVERY),
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("key", KEYS)
def test_each_class_of_bytes_works_or_is_refused_by_the_name_of_the_key(key: str, name: str) -> None:
    value, refused = CLASSES[name]
    live = {"data": {key: base64.b64encode(value).decode()}}
    if key not in refused:
        assert credentials.usable(live, "ns", "s", [key], "")[key].encode() == value
        return
    with pytest.raises(CredentialsError) as error:
        credentials.usable(live, "ns", "s", [key], "Do this.")
    found = f"lacks {key}. " if name == "empty" else f"has values that their services cannot use: {key} "
    assert error.value.message.startswith(f"Secret ns/s {found}")
    assert not value or value.decode(errors="replace").strip() not in error.value.message


def test_what_is_accepted_arrives_through_the_environment_and_as_a_flag() -> None:
    accepted = [value for value, refused in CLASSES.values() if refused != EVERY]
    program = (
        "import argparse, os, sys\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--session-secret')\n"
        "for number in range(int(sys.argv[1])):\n"
        "    words = ['--session-secret=' + os.environ[f'VALUE_{number}']]\n"
        "    print(parser.parse_args(words).session_secret.encode().hex())"
    )
    values = {b"VALUE_%d" % number: value for number, value in enumerate(accepted)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(len(accepted))],
        env={**os.environb, **values, b"PYTHONUTF8": b"1"},
        capture_output=True,
        check=True,
    )
    assert [bytes.fromhex(line) for line in done.stdout.decode().split("\n")[:-1]] == accepted


def test_a_header_carries_what_is_accepted_for_the_admin_token() -> None:
    rule = credentials.RULES["EDEN_ADMIN_TOKEN"][0]
    for code in range(256):
        request = requests.Request(
            "GET", "http://localhost", headers={"Authorization": f"Bearer admin:x{chr(code)}x"}
        ).prepare
        if re.fullmatch(rule.pattern, chr(code)):
            assert (
                request().headers["Authorization"].encode("ascii").split(b" ", 1)[1] == b"admin:x%cx" % code
            )


def test_a_damaged_value_of_our_own_secret_is_not_overwritten() -> None:
    cluster = FakeCluster(secret(KEY="k", POSTGRES_PASSWORD="hunter2\n"))
    parameters = {**PARAMETERS, "keys": ["KEY", "POSTGRES_PASSWORD", "PASSWORD"]}
    with pytest.raises(
        CredentialsError, match=r"POSTGRES_PASSWORD contains a line break.*Restore POSTGRES_"
    ) as error:
        credentials.completed(cluster, Task(parameters))  # type: ignore[arg-type]
    assert error.value.data == {"unusable": ["POSTGRES_PASSWORD"]}
    assert "hunter2" not in error.value.message
    assert not cluster.writes


def test_digest_changes_for_the_readers_of_a_changed_key_only() -> None:
    values = {"PASSWORD": "a", "KEY": "k"}
    before = credentials.digests(values, PARAMETERS["readers"], "KEY")
    after = credentials.digests({**values, "PASSWORD": "b"}, PARAMETERS["readers"], "KEY")
    assert before["db"] != after["db"]
    assert before["forge"] == after["forge"]


def test_digest_cannot_be_tried_out_without_the_key() -> None:
    values = {"PASSWORD": "a"}
    assert (
        credentials.digests({**values, "KEY": "k"}, {"db": ["PASSWORD"]}, "KEY")
        != credentials.digests({**values, "KEY": "l"}, {"db": ["PASSWORD"]}, "KEY")
    )  # fmt: skip


@pytest.mark.parametrize("values", [{}, {"KEY": "k"}, {"PASSWORD": "p"}])
def test_digest_is_empty_while_a_key_is_missing(values: dict[str, str]) -> None:
    assert credentials.digests(values, {"db": ["PASSWORD"]}, "KEY") == {"db": ""}


def test_no_value_leaves_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()

    class Connected:
        def __enter__(self) -> FakeCluster:
            return cluster

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(credentials, "connected", lambda _options: Connected())
    answer = json.dumps(credentials.run(Task({**PARAMETERS, "state": "present"}, diff=True)))
    assert cluster.values()
    assert not [value for value in cluster.values().values() if value in answer]


class Environments:
    """A cluster with Secrets of the user."""

    def __init__(self, **secrets: dict[str, str]) -> None:
        self.secrets = secrets

    def read(self, _kind: str, _namespace: str, name: str) -> t.Any:
        return {"data": self.secrets[name]} if name in self.secrets else None


def test_a_changed_key_of_a_command_changes_the_digest_of_its_readers_only() -> None:
    readers = {"ideator-host": "llm", "executor-host": "gpu"}

    def digests(key: str = "key", **llm: str) -> dict[str, str]:
        return environments.digests(Environments(llm=llm, gpu={"A": "MQ=="}), "ns", readers, key)  # type: ignore[arg-type]

    before = digests(A="MQ==", B="Mg==")
    assert digests(B="Mg==", A="MQ==") == before
    assert set(before) == {"ideator-host/environment", "executor-host/environment"}
    after = digests(A="MQ==", B="Mw==")
    assert {name for name in before if before[name] != after[name]} == {"ideator-host/environment"}
    assert set(digests("other", A="MQ==", B="Mg==").values()).isdisjoint(before.values())
    assert set(digests("", A="MQ==").values()) == {""}


def test_a_secret_of_a_command_that_is_gone_is_named() -> None:
    with pytest.raises(MissingError, match=r"Secret ns/llm, which eden_workers\.ideator_host\.env_secret"):
        environments.digests(Environments(), "ns", {"ideator-host": "llm"}, "key")  # type: ignore[arg-type]
