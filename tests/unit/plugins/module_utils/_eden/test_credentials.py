# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module credentials makes, keeps and refuses, without a cluster."""

from __future__ import annotations

import base64
import json
import re
import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import credentials
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._errors import ConflictError
from ansible_collections.eden.reference.plugins.module_utils._module import Task

PARAMETERS: dict[str, t.Any] = {
    "namespace": "ns",
    "secret": "s",
    "keys": ["PASSWORD", "KEY"],
    "labels": {"a": "1"},
    "urls": [{"key": "URL", "user": "eden", "password_key": "PASSWORD", "address": "db:5432/eden"}],
    "bound": [{"key": "PASSWORD", "claim": "data", "advice": "Restore it."}],
    "readers": {"db": ["PASSWORD"], "forge": ["KEY"]},
    "digest_key": "KEY",
}


def secret(**values: str) -> dict[str, t.Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"kind": "Secret", "metadata": {"name": "s", "resourceVersion": "7"}, "data": data}


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
        return credentials.decoded(self.live or {})


def completed(cluster: FakeCluster, check_mode: bool = False) -> tuple[dict[str, str], list[str]]:
    return credentials.completed(cluster, Task(PARAMETERS, check_mode))  # type: ignore[arg-type]


def test_absent_secret_is_made_whole() -> None:
    cluster = FakeCluster()
    values, generated = completed(cluster)
    assert generated == ["KEY", "PASSWORD", "URL"]
    assert all(re.fullmatch("[0-9a-f]{64}", values[key]) for key in ("PASSWORD", "KEY"))
    assert values["URL"] == f"postgresql://eden:{values['PASSWORD']}@db:5432/eden"
    assert cluster.values() == values
    assert cluster.writes[0]["metadata"]["labels"] == {"a": "1"}


def test_complete_secret_is_left_alone() -> None:
    cluster = FakeCluster()
    made, _generated = completed(cluster)
    cluster.writes.clear()
    assert completed(cluster) == (made, [])
    assert not cluster.writes


def test_present_keys_are_kept_and_foreign_ones_too() -> None:
    cluster = FakeCluster(secret(PASSWORD="p@ss", OTHER="x"))
    values, generated = completed(cluster)
    assert generated == ["KEY", "URL"]
    assert cluster.values()["PASSWORD"] == "p@ss"
    assert cluster.values()["OTHER"] == "x"
    assert values["URL"] == "postgresql://eden:p%40ss@db:5432/eden"
    assert cluster.writes[0]["metadata"]["resourceVersion"] == "7"


def test_check_mode_writes_nothing_and_predicts_the_same() -> None:
    cluster = FakeCluster(secret(KEY="k"))
    values, generated = completed(cluster, check_mode=True)
    assert generated == ["PASSWORD", "URL"]
    assert values == {"KEY": "k"}
    assert not cluster.writes


def test_who_writes_first_wins() -> None:
    cluster = FakeCluster(conflicts=1)
    values, generated = completed(cluster)
    assert values["PASSWORD"] == "theirs"
    assert generated == ["URL"]


def test_lasting_conflict_is_reported() -> None:
    with pytest.raises(ConflictError):
        completed(FakeCluster(conflicts=99))


def test_lost_password_of_kept_data_is_not_made_up() -> None:
    cluster = FakeCluster(secret(KEY="k"), claims=["data"])
    with pytest.raises(
        CredentialsError, match=r"no PASSWORD, but PersistentVolumeClaim ns/data .* Restore it\."
    ):
        completed(cluster)
    assert not cluster.writes


def test_claim_does_not_matter_while_the_password_is_there() -> None:
    assert completed(FakeCluster(secret(KEY="k", PASSWORD="p"), claims=["data"]))[1] == ["URL"]


@pytest.mark.parametrize(
    ("live", "words"),
    [
        (None, "does not exist; it needs PASSWORD, KEY"),
        (secret(KEY="k"), "lacks PASSWORD"),
        (secret(KEY="", PASSWORD="p"), "lacks KEY"),
    ],
)
def test_verified_lists_what_is_missing(live: dict[str, t.Any] | None, words: str) -> None:
    cluster: t.Any = FakeCluster(live)
    with pytest.raises(CredentialsError, match=f"Secret ns/s {words}. Do this."):
        credentials.verified(cluster, "ns", "s", ["PASSWORD", "KEY"], "Do this.")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("hunter2\n", "begins or ends with a line break or a blank"),
        (" hunter2", "begins or ends with a line break or a blank"),
        ("\ufeffhunter2", "begins with a byte order mark"),
        ("hunter2\x00", "holds a control character"),
        ("hun\nter2", "holds a control character"),
    ],
)
def test_verified_refuses_values_of_no_use_and_does_not_tell_them(value: str, fault: str) -> None:
    cluster: t.Any = FakeCluster(secret(KEY="k", PASSWORD=value))
    with pytest.raises(CredentialsError) as error:
        credentials.verified(cluster, "ns", "s", ["PASSWORD", "KEY"], "Do this.")
    assert error.value.message.startswith(
        f"Secret ns/s has values that no service can use: PASSWORD {fault}. "
    )
    assert error.value.data == {"unusable": ["PASSWORD"]}
    assert "hunter" not in error.value.message


@pytest.mark.parametrize("value", ["p\u00e4ss w\u00f6rd", "a:b@c/d?e#f%", "0" * 64])
def test_verified_takes_any_other_value(value: str) -> None:
    cluster: t.Any = FakeCluster(secret(KEY=value))
    assert credentials.verified(cluster, "ns", "s", ["KEY"], "") == {"KEY": value}


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
