# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision table of the identities: what was observed, and what is to be done."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import IdentityError
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import (
    INSTANCE_LABEL,
    GroupObservation,
    GroupStep,
    Observation,
    WorkerObservation,
    WorkerStep,
    decide,
    plan,
    plan_unseen,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import Group, Worker

OURS = "eden/one"


def wid(number: int) -> str:
    return f"wkr_{number:026d}"


def gid(number: int) -> str:
    return f"grp_{number:026d}"


def row(number: int, instance: str | None = OURS, name: str = "w") -> Worker:
    labels = {} if instance is None else {INSTANCE_LABEL: instance}
    return Worker(wid(number), name, labels, f"2026-04-0{number}T00:00:00Z")


def observed(**facts: t.Any) -> WorkerObservation:
    return dataclasses.replace(WorkerObservation(name="w", secret="id-w"), **facts)


COMPLETE = {"worker_id": wid(1), "has_token": True}
ID_ONLY = {"worker_id": wid(1)}
TOKEN_ONLY = {"has_token": True}


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        pytest.param({**COMPLETE, "bearer": wid(1)}, ("unchanged", 1), id="complete, accepted"),
        # Complete, and refused: by the id where its row is ours, else by the name.
        pytest.param(
            {**COMPLETE, "registered": row(1), "namesakes": (row(1),)}, ("reissued", 1), id="refused, ours"
        ),
        pytest.param(
            {**COMPLETE, "registered": row(1, None), "namesakes": (row(1, None),)},
            ("reissued", 1),
            id="refused, row has no label",
        ),
        pytest.param(
            {**COMPLETE, "registered": row(1), "namesakes": (row(1), row(2))},
            ("reissued", 1),
            id="refused, the id decides between two rows",
        ),
        pytest.param(
            {**COMPLETE, "registered": row(1, name="other")},
            ("minted", None),
            id="refused, row has another name",
        ),
        pytest.param(
            {**COMPLETE, "registered": row(1, name="other"), "namesakes": (row(2),)},
            ("reissued", 2),
            id="refused, row has another name, one of our name",
        ),
        pytest.param(
            {**COMPLETE, "registered": row(1, "eden/two"), "namesakes": (row(1, "eden/two"),)},
            ("minted", None),
            id="refused, row is another instance's",
        ),
        pytest.param({**COMPLETE}, ("minted", None), id="refused, id not registered, no row"),
        pytest.param(
            {**COMPLETE, "namesakes": (row(2),)},
            ("reissued", 2),
            id="refused, id not registered, one row of ours",
        ),
        pytest.param(
            {**COMPLETE, "bearer": wid(2), "registered": row(1), "namesakes": (row(1),)},
            ("reissued", 1),
            id="accepted as another worker",
        ),
        # An id without a token: that id if it is registered, whatever its row says.
        pytest.param(
            {**ID_ONLY, "registered": row(1), "namesakes": (row(1),)}, ("reissued", 1), id="id only"
        ),
        pytest.param(
            {**ID_ONLY, "registered": row(1), "namesakes": (row(1), row(2))},
            ("reissued", 1),
            id="id only decides between two rows",
        ),
        pytest.param(
            {**ID_ONLY, "registered": row(1, "eden/two", "other")},
            ("reissued", 1),
            id="id only, row of elsewhere",
        ),
        pytest.param({**ID_ONLY}, ("minted", None), id="id only, not registered, no row"),
        pytest.param(
            {**ID_ONLY, "namesakes": (row(2, None),)}, ("reissued", 2), id="id only, not registered, one row"
        ),
        # No id: by the name.
        pytest.param({}, ("minted", None), id="absent, no row"),
        pytest.param({"namesakes": (row(1),)}, ("reissued", 1), id="absent, one row of ours"),
        pytest.param({"namesakes": (row(1, None),)}, ("reissued", 1), id="absent, one row without label"),
        pytest.param(
            {"namesakes": (row(1, None), row(2))},
            ("reissued", 2),
            id="absent, ours goes before one without label",
        ),
        pytest.param(
            {"namesakes": (row(1, None), row(2), row(3, None))},
            ("reissued", 2),
            id="absent, ours goes before two without label",
        ),
        pytest.param(
            {"namesakes": (row(1, "eden/two"),)}, ("minted", None), id="absent, another instance's row"
        ),
        pytest.param(
            {"namesakes": (row(1, "eden/two"), row(2, "eden/three"), row(3, None))},
            ("reissued", 3),
            id="absent, other instances' rows and one without label",
        ),
        pytest.param({**TOKEN_ONLY}, ("minted", None), id="token only, no row"),
        pytest.param({**TOKEN_ONLY, "namesakes": (row(1),)}, ("reissued", 1), id="token only, one row"),
    ],
)
def test_decide(facts: dict[str, t.Any], step: tuple[t.Any, int | None]) -> None:
    verb, number = step
    assert decide(observed(**facts), OURS) == WorkerStep("w", verb, wid(number) if number else "")


@pytest.mark.parametrize(
    ("facts", "origin", "listed"),
    [
        pytest.param(
            {"namesakes": (row(1), row(2))}, "labelled eden.reference/instance=eden/one", [1, 2], id="ours"
        ),
        pytest.param(
            {"namesakes": (row(1), row(2), row(3, None))},
            "labelled",
            [1, 2],
            id="ours, and one without label",
        ),
        pytest.param(
            {"namesakes": (row(1, None), row(2, None))}, "without the label", [1, 2], id="without label"
        ),
        pytest.param(
            {**COMPLETE, "namesakes": (row(2), row(3))}, "labelled", [2, 3], id="refused, id not registered"
        ),
        pytest.param(
            {**ID_ONLY, "namesakes": (row(2), row(3))}, "labelled", [2, 3], id="id only, id not registered"
        ),
    ],
)
def test_decide_leaves_it_to_the_user(facts: dict[str, t.Any], origin: str, listed: list[int]) -> None:
    with pytest.raises(IdentityError) as caught:
        decide(observed(**facts), OURS)
    message = caught.value.message
    assert origin in message
    for number in listed:
        assert f"{wid(number)} registered 2026-04-0{number}T00:00:00Z" in message
    assert "Secret id-w, key worker_id" in message
    assert caught.value.data["candidates"] == [
        {"worker_id": wid(number), "registered_at": f"2026-04-0{number}T00:00:00Z"} for number in listed
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((), GroupStep("g", "", (), ("a", "b", "c"))),
        ((Group(gid(1), "g"),), GroupStep("g", gid(1), (), ("a", "b", "c"))),
        ((Group(gid(1), "g", (wid(1),)),), GroupStep("g", gid(1), (wid(1),), ("b", "c"))),
        (
            (Group(gid(1), "g", (gid(7), wid(1), wid(2))),),
            GroupStep("g", gid(1), (gid(7), wid(1), wid(2)), ("c",)),
        ),
    ],
)
def test_group(found: tuple[Group, ...], expected: GroupStep) -> None:
    workers = (
        observed(name="a", worker_id=wid(1), has_token=True, bearer=wid(1)),
        observed(name="b", worker_id=wid(2), has_token=True, bearer=wid(2)),
        observed(name="c"),
    )
    steps = plan(Observation(OURS, workers, (GroupObservation("g", ("a", "b", "c"), found),)))
    assert steps.groups == (expected,)
    assert steps.changes


@pytest.mark.parametrize(
    ("group_id", "add", "verb"),
    [("", ("a",), "created"), (gid(1), ("a",), "extended"), (gid(1), (), "unchanged")],
)
def test_group_verb(group_id: str, add: tuple[str, ...], verb: str) -> None:
    assert GroupStep("g", group_id, (), add).verb == verb


def test_two_groups_of_one_name() -> None:
    found = (Group(gid(1), "g", (), "2026-04-01T00:00:00Z"), Group(gid(2), "g"))
    with pytest.raises(IdentityError, match="2 with that name") as caught:
        plan(Observation(OURS, (), (GroupObservation("g", (), found),)))
    assert f"{gid(1)} created 2026-04-01T00:00:00Z" in caught.value.message
    assert f"{gid(2)} created at an unknown time" in caught.value.message


def test_nothing_to_do() -> None:
    worker = observed(**COMPLETE, bearer=wid(1))
    group = GroupObservation("g", ("w",), (Group(gid(1), "g", (wid(9), wid(1))),))
    steps = plan(Observation(OURS, (worker,), (group,)))
    assert not steps.changes
    assert (steps.workers[0].verb, steps.groups[0].verb) == ("unchanged", "unchanged")


def test_two_secrets_with_one_id() -> None:
    workers = (
        observed(name="a", secret="id-a", worker_id=wid(1), has_token=True, bearer=wid(1)),
        observed(name="b", secret="id-b", worker_id=wid(1), registered=row(1, name="a")),
    )
    with pytest.raises(IdentityError, match="a and b share the id") as caught:
        plan(Observation(OURS, workers, ()))
    assert caught.value.data["secrets"] == ["id-a", "id-b"]


def test_two_workers_to_mint_share_nothing() -> None:
    workers = (observed(name="a", secret="id-a"), observed(name="b", secret="id-b"))
    assert [step.verb for step in plan(Observation(OURS, workers, ())).workers] == ["minted", "minted"]


def unseen(*workers: WorkerObservation, members: tuple[str, ...] = ("a", "b")) -> tuple[list[str], GroupStep]:
    steps = plan_unseen(Observation(OURS, workers, (GroupObservation("g", members),)))
    assert steps.changes is any(step.verb != "unchanged" for step in (*steps.workers, *steps.groups))
    return [step.verb for step in steps.workers], steps.groups[0]


def test_unseen_registry_of_nothing() -> None:
    verbs, group = unseen(observed(name="a", **TOKEN_ONLY), observed(name="b"))
    assert verbs == ["minted", "minted"]
    assert (group.verb, group.add) == ("created", ("a", "b"))


def test_unseen_registry_that_the_secrets_vouch_for() -> None:
    verbs, group = unseen(observed(name="a", **COMPLETE), observed(name="b", **COMPLETE))
    assert verbs == ["unchanged", "unchanged"]
    assert (group.verb, group.add) == ("unchanged", ())


def test_unseen_registry_with_a_secret_gone_and_one_without_token() -> None:
    verbs, group = unseen(observed(name="a", **ID_ONLY), observed(name="b"))
    assert verbs == ["reissued", "minted"]
    assert (group.verb, group.add) == ("extended", ("b",))


ROWS = st.builds(
    row, st.integers(1, 5), st.sampled_from([None, OURS, "eden/two"]), st.sampled_from(["w", "other"])
)


@st.composite
def observations(draw: st.DrawFn) -> WorkerObservation:
    """What a Secret and a registry show, in which each id has one row."""
    rows = draw(st.lists(ROWS, unique_by=lambda worker: worker.worker_id))
    worker_id = draw(st.sampled_from(["", wid(1)]))
    has_token = draw(st.booleans())
    asked = bool(worker_id) and has_token
    bearer = draw(st.sampled_from(["", wid(1), wid(2)])) if asked else ""
    return observed(
        worker_id=worker_id,
        has_token=has_token,
        bearer=bearer,
        registered=next((found for found in rows if found.worker_id == worker_id), None),
        namesakes=tuple(found for found in rows if found.name == "w"),
    )


@given(observations())
def test_whatever_was_observed(worker: WorkerObservation) -> None:
    candidates = {found.worker_id: found for found in (worker.registered, *worker.namesakes) if found}
    instances = [found.labels.get(INSTANCE_LABEL) for found in worker.namesakes]
    try:
        step = decide(worker, OURS)
    except IdentityError:
        step = None
    if step is None:
        assert instances.count(OURS) > 1 or (OURS not in instances and instances.count(None) > 1)
    elif step.verb == "unchanged":
        assert step.worker_id == worker.worker_id == worker.bearer
    elif step.verb == "reissued":
        assert not (worker.worker_id and worker.bearer == worker.worker_id)
        instance = candidates[step.worker_id].labels.get(INSTANCE_LABEL, OURS)
        # Only an id that somebody wrote down without a token may lead to a row of another instance.
        assert instance == OURS or (step.worker_id == worker.worker_id and not worker.has_token)
    else:
        assert set(instances) <= {"eden/two"}
        assert step.worker_id == ""
