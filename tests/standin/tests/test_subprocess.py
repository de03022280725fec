# SPDX-License-Identifier: GPL-3.0-or-later
"""`--mode subprocess`: hosts that run the experiment's own commands, good and bad ones."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from standin_api import Api
from standin_bench import Bench
from standin_commands import COMMIT, with_commands
from standin_processes import EXPERIMENT, SEED, Processes, worker_id
from test_experiment import EVENTS

from eden_service_common.git import GitError, Repository


def variants(bench: Bench) -> dict[str, dict[str, Any]]:
    """Slug of the idea to the variant that came of it."""
    api = bench.store.api
    slugs = {idea["idea_id"]: idea["slug"] for idea in api.ok("GET", "/ideas")}
    return {slugs[each["idea_id"]]: each for each in api.ok("GET", "/variants") if "idea_id" in each}


def add_ideas(bench: Bench, *slugs: str) -> None:
    worker = bench.store.mint("human")
    for slug in slugs:
        idea = {
            "idea_id": f"idea-{slug}", "experiment_id": EXPERIMENT, "slug": slug, "priority": 1,
            "parent_commits": [SEED], "artifacts_uri": "file:///nowhere/content.md", "state": "drafting",
            "created_at": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        worker.ok("POST", "/ideas", idea)
        worker.ok("POST", f"/ideas/{idea['idea_id']}/mark-ready")


def test_the_fixture_run_with_commands_ends_with_63_events(bench: Bench) -> None:
    stage = with_commands(bench)
    workers = [bench.store.mint(name) for name in "ixe"]
    started = [stage.ideator(workers[0]), stage.executor(workers[1]), stage.evaluator(workers[2])]
    orchestrator = stage.orchestrator()
    bench.wait_for_event("variant.integrated", 3)
    assert [service.stop() for service in (orchestrator, *started)] == [0, 0, 0, 0]
    assert Counter(event["type"] for event in bench.store.api.events()) == EVENTS

    made = variants(bench)
    assert len(made) == 3
    answers = []
    for slug, variant in made.items():
        show = ["show", f"{variant['branch']}:"]
        brief = json.loads(bench.forge.git(EXPERIMENT, show[0], show[1] + "brief.json"))
        idea = bench.store.api.ok("GET", f"/ideas/{variant['idea_id']}")
        path = Path(brief.pop("content_path"))
        assert path == stage.artifacts / "ideas" / idea["idea_id"] / "content.md"
        assert idea["artifacts_uri"] == path.as_uri()
        task_id = brief.pop("task_id")
        assert brief == {
            "variant_id": variant["variant_id"], "idea_id": idea["idea_id"], "idea_slug": slug,
            "parent_commits": [SEED], "branch": variant["branch"], "output_path": ".eden/outcome.json",
        }  # fmt: skip
        answer = workers[1].call("GET", f"/artifacts/{path.relative_to(stage.artifacts)}", root="/_reference")
        assert (answer.status, answer.content) == (200, path.read_bytes())
        answers.append(answer.content.decode())
        lines = bench.forge.git(EXPERIMENT, show[0], show[1] + "environment").splitlines()
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        expected = {
            "EDEN_TASK_JSON": ".eden/task.json",
            "EDEN_OUTPUT": ".eden/outcome.json",
            "EDEN_EXPERIMENT_DIR": str(stage.experiment),
            "EDEN_WORKER_ID": worker_id(workers[1]),
            "EDEN_WORKER_CREDENTIAL": (workers[1].bearer or "").partition(":")[2],
            "EDEN_REPO_DIR": str(bench.directory / "clones" / "executor"),
        }
        assert Path(variables.pop("EDEN_WORKTREE")).name == task_id
        assert {name: text for name, text in variables.items() if name.startswith("EDEN_")} == expected
        # The command inherits what the host has.
        assert {"HOSTS_OWN", "FORGEJO_REMOTE_PASSWORD"} <= variables.keys()
    # One process answered all three tasks, and knew what had been evaluated.
    assert len({answer.rpartition(" ")[2] for answer in answers}) == 1
    assert "'evaluation_schema', 'event', 'experiment_id', 'history', 'objective', 'task_id'" in answers[0]
    assert list((bench.directory / "worktrees").glob("*/*")) == []


# Slug of an idea to what the command does about it. What begins with x fails in the executor, what begins
# with e in the evaluator, where `v` errors the variant and `s` only the evaluation.
EXECUTION = rf"""{COMMIT}
slug=$(sed 's/.*"idea_slug": "\([^"]*\)".*/\1/' "$EDEN_TASK_JSON")
rm -r .eden; echo "$slug" > case; commit; mkdir .eden
case $slug in
    x-exit) made; exit 3 ;;
    x-signal) made; kill -KILL $$ ;;
    x-nothing) ;;
    x-directory) mkdir "$EDEN_OUTPUT" ;;
    x-malformed) outcome '{{"status": ' ;;
    x-list) outcome '[]' ;;
    x-binary) printf '\377' > "$EDEN_OUTPUT" ;;
    x-huge) head -c 3000000 /dev/zero | tr '\0' '[' > "$EDEN_OUTPUT" ;;
    x-error) outcome '{{"status": "error", "description": "did not work out"}}' ;;
    x-commit-missing) outcome '{{"status": "success"}}' ;;
    x-commit-unknown) outcome '{{"status": "success", "commit_sha": "{"0" * 40}"}}' ;;
    x-commit-option) outcome '{{"status": "success", "commit_sha": "--help"}}' ;;
    x-commit-parent) git reset -q --hard {SEED}; mkdir -p .eden; made ;;
    x-commit-noop) git reset -q --hard {SEED}; commit; mkdir -p .eden; made ;;
    x-commit-orphan) git checkout -q --orphan other; commit; made ;;
    x-hangs) trap '' TERM; echo $$ > "$EDEN_EXPERIMENT_DIR/pid"; while :; do sleep 0.1; done ;;
    names) touch -- --help "ünï côdé" -n; rm -r .eden; commit; mkdir .eden; made ;;
    noise) seq 20000; printf '\377\n'; seq 2000 >&2; made ;;
    background) sleep 5 & made ;;
    *) made ;;
esac
"""
EVALUATION = rf"""{COMMIT}
score() {{ outcome '{{"status": "success", "evaluation": {{"score": '"$1"'}}}}'; }}
case $(cat case) in
    es-exit) score 1; exit 3 ;;
    es-nothing) ;;
    es-malformed) outcome 'null' ;;
    es-empty) outcome '{{"status": "success", "evaluation": {{}}}}' ;;
    es-type) score '"high"' ;;
    es-name) outcome '{{"status": "success", "evaluation": {{"points": 1}}}}' ;;
    es-status) outcome '{{"status": "fine", "evaluation": {{"score": 1}}}}' ;;
    ev-error) outcome '{{"status": "error", "artifacts_uri": "file:///why"}}' ;;
    *) score 1 ;;
esac
"""
CASES = """
    x-exit x-signal x-nothing x-directory x-malformed x-list x-binary x-huge x-error x-commit-missing
    x-commit-unknown x-commit-option x-commit-parent x-commit-noop x-commit-orphan x-hangs
    es-exit es-nothing es-malformed es-empty es-type es-name es-status ev-error
    names noise background good
""".split()
FAULTS = {
    "executor": """subprocess_nonzero_exit subprocess_missing_outcome subprocess_malformed_outcome
        subprocess_unexpected subprocess_timeout outcome_description commit_invalid no_op_variant""",
    "evaluator": """subprocess_nonzero_exit subprocess_missing_outcome subprocess_malformed_outcome
        success_missing_evaluation evaluation_invalid""",
}


def test_a_bad_command_is_a_failed_task_and_the_host_goes_on(bench: Bench) -> None:
    config = "execution_task_deadline: 15\nbaseline: {enabled: false}\n"
    stage = with_commands(bench, config, execution=EXECUTION, evaluation=EVALUATION)
    hosts = {
        "executor": stage.executor(bench.store.mint("x")),
        "evaluator": stage.evaluator(bench.store.mint("e")),
    }
    orchestrator = stage.orchestrator()
    add_ideas(bench, *CASES)
    bench.wait_for_event("variant.integrated", 4)
    bench.wait_for_event("task.failed", len(CASES) - 4)
    assert [service.stop() for service in (orchestrator, *hosts.values())] == [0, 0, 0]

    found = {slug: variant["status"] for slug, variant in variants(bench).items()}
    expected = {"x": "error", "ev": "error", "es": "starting"}
    assert found == {slug: expected.get(slug.partition("-")[0], "success") for slug in CASES}
    errored = variants(bench)["ev-error"]
    assert (errored["artifacts_uri"], "evaluation" in errored) == ("file:///why", False)
    for name, host in hosts.items():
        messages = {json.loads(line)["message"] for line in host.lines if line.startswith("{")}
        assert {f"{name}_{fault}" for fault in FAULTS[name].split()} <= messages, host.output
        assert f"{name}_handler_unexpected" not in messages
    assert hosts["executor"].log("subprocess_sigkill")["role"] == "executor"
    with pytest.raises(ProcessLookupError):
        os.kill(int((stage.experiment / "pid").read_text()), 0)
    # Branches exist of what was submitted only.
    work = [name for name in bench.forge.branches(EXPERIMENT) if name.startswith("work/")]
    assert len(work) == len([slug for slug in CASES if not slug.startswith("x-")])
    assert list((bench.directory / "worktrees").glob("*/*")) == []


def test_sigterm_waits_for_the_command_of_the_task(bench: Bench) -> None:
    execution = f"{COMMIT}\nsleep 2; date > now; rm -r .eden; commit; mkdir .eden; made\n"
    stage = with_commands(bench, "baseline: {enabled: false}\n", execution=execution)
    add_ideas(bench, "slow", "next")
    orchestrator, executor = stage.orchestrator(), stage.executor(bench.store.mint("x"))
    bench.wait_for_event("variant.started")
    assert (executor.stop(), orchestrator.stop()) == (0, 0)
    states = Counter(task["state"] for task in bench.store.api.ok("GET", "/tasks?kind=execution"))
    assert states["pending"] == 1
    assert states["claimed"] == 0


def test_a_killed_host_leaves_a_worktree_that_the_next_one_removes(bench: Bench) -> None:
    stage = with_commands(bench, "baseline: {enabled: false}\n", execution="sleep 3\n")
    add_ideas(bench, "lost")
    worker = bench.store.mint("x")
    stage.orchestrator()
    executor = stage.executor(worker)
    bench.wait_for_event("variant.started")
    while not (left := list((bench.directory / "worktrees").glob("*/*/.eden"))):
        bench.store.api.ok("GET", "/events/subscribe?cursor=1000&timeout=0.1")
    executor.kill()
    foreign = left[0].parent.with_name("foreign")
    foreign.mkdir()
    again = stage.executor(worker)
    assert again.log("worktree_sweep_skipped")["path"] == str(foreign)
    assert again.stop() == 0
    assert [path.name for path in (bench.directory / "worktrees").glob("*/*")] == ["foreign"]
    (claimed,) = bench.store.api.ok("GET", "/tasks?kind=execution&state=claimed")
    assert claimed["claim"]["worker_id"] == worker_id(worker)


def test_a_worktree_that_was_lost_cannot_be_made_again(bench: Bench) -> None:
    repository = Repository(bench.directory / "seed")
    worktree = bench.directory / "worktrees" / "task"
    repository.add_worktree(worktree, SEED)
    shutil.rmtree(worktree)
    with pytest.raises(GitError, match="already registered worktree"):
        repository.add_worktree(worktree, SEED)


SAY = """\
import json, os, sys, time
def say(**message): print(json.dumps(message), flush=True)
def idea(**fields):
    say(**{"event": "idea", "task_id": task, "slug": "s", "priority": 1, "content": "c",
        "parent_commits": [os.environ["EDEN_BASE_COMMIT_SHA"]]} | fields)
print("warming up"); print("[]"); say(event="other"); say(event="ready")
for line in sys.stdin:
    task = json.loads(line)["task_id"]
    print("thinking", file=sys.stderr, flush=True)
"""
ERROR, STUCK, DONE = "failed", "claimed", "completed"


@pytest.mark.parametrize(
    ("body", "state", "message"),
    [
        ('say(event="ideation-done", task_id=task)', DONE, None),
        (
            'idea(artifacts_uri="file:///x", content=None); say(event="ideation-done", task_id=task)',
            DONE,
            None,
        ),
        ('say(event="ideation-error", task_id=task, reason="no")', ERROR, "ideator_ideate_error"),
        ("sys.exit(0)", ERROR, "ideator_subprocess_lost"),
        ("time.sleep(60)", ERROR, "ideator_subprocess_lost"),
        ('say(event="ideation-done", task_id="another")', ERROR, "ideator_subprocess_unexpected_error"),
        ('say(event="shrug", task_id=task)', ERROR, "ideator_subprocess_unexpected_error"),
        ('idea(priority="high"); say(event="ideation-done", task_id=task)', ERROR, "ideator_idea_invalid"),
        ('idea(content=" "); say(event="ideation-done", task_id=task)', ERROR, "ideator_idea_invalid"),
        # EDEN fails on its own check of the idea, and the claim stays for ever.
        (
            'idea(slug="Ünï"); say(event="ideation-done", task_id=task)',
            STUCK,
            "ideator_subprocess_unexpected_error",
        ),
    ],
    ids="none uri error exits hangs other-task other-event priority empty slug".split(),
)
def test_a_dialogue(body: str, state: str, message: str | None, bench: Bench) -> None:
    stage = with_commands(bench, "ideation_task_deadline: 2\n", ideation=SAY + f"    {body}\n")
    ideator = stage.ideator(bench.store.mint("i"))
    ideator.log("ideator_ready")
    operator = bench.store.mint("operator", "admins", "orchestrators")
    if state != STUCK:
        stage.orchestrator()
        bench.wait_for_event("task.completed" if state == DONE else "task.failed", 3)
    else:
        for name in ("ideation-0", "ideation-1"):
            task = {
                "task_id": name,
                "kind": "ideation",
                "state": "pending",
                "payload": {"experiment_id": EXPERIMENT},
            }
            operator.ok("POST", "/tasks", task | {"created_at": "x", "updated_at": "x"})
        bench.wait_for_event("task.claimed", 2)
    if message is not None:
        ideator.log(message)
    assert ideator.log("subprocess_stderr")["line"] == "thinking"
    assert ideator.stop() == 0
    states = Counter(task["state"] for task in bench.store.api.ok("GET", "/tasks?kind=ideation"))
    assert states == {state: 2 if state == STUCK else 3}


@pytest.mark.parametrize(
    ("ideation", "seconds", "failure"),
    [
        ("raise SystemExit(1)", "60", "exited before ready"),
        ("import time; time.sleep(60)", "0.5", "no stdout line within"),
    ],
    ids=["exits", "hangs"],
)
def test_a_command_that_does_not_start_ends_the_ideator_with_success(
    ideation: str, seconds: str, failure: str, bench: Bench
) -> None:
    stage = with_commands(bench, ideation=ideation)
    ideator = stage.ideator(bench.store.mint("i"), "--ideation-startup-deadline", seconds)
    assert ideator.exit_code() == 0
    assert ideator.log("ideator_subprocess_giving_up")["consecutive_failures"] == 5
    assert ideator.output.count("ideator_subprocess_startup_failed") == 5
    assert failure in ideator.output


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--artifact-url", "http://x/"], "both-or-neither"),
        (["--experiment-config", "<config>"], "missing required key 'execution_command'"),
        (["--experiment-config", "/nonexistent"], "FileNotFoundError"),
    ],
    ids=["half a pair", "no command", "no config"],
)
def test_what_keeps_a_host_from_starting(flags: list[str], text: str, bench: Bench, config: Path) -> None:
    service = with_commands(bench).executor(
        bench.store.mint("x"), *(flag.replace("<config>", str(config)) for flag in flags)
    )
    assert service.exit_code() == 1
    assert text in service.output


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("file.txt", "200"),
        ("deep/er/file.bin", "200"),
        ("none", "404 not-found"),
        ("deep", "404 not-found"),
        ("file.txt/more", "404 not-found"),
        ("huge", "413 reference-error/artifact-too-large"),
        ("link", "403 forbidden"),
        ("linked/file.bin", "403 forbidden"),
        ("../secret", "400 reference-error/invalid-path"),
        ("%2e%2e/secret", "400 reference-error/invalid-path"),
        ("deep//er/file.bin", "400 reference-error/invalid-path"),
        ("file.txt%00", "400 reference-error/invalid-path"),
        ("", "400 reference-error/invalid-path"),
    ],
)
def test_the_artifacts_of_the_reference_route(artifacts: Api, path: str, expected: str) -> None:
    answer = artifacts.call("GET", f"/artifacts/{path}", root="/_reference", X_Eden_Experiment_Id=None)
    assert " ".join(filter(None, [str(answer.status), answer.problem])) == expected, answer.content
    if answer.status == 200:
        assert answer.content == b"content"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    refused = artifacts.as_caller(None).call("GET", f"/artifacts/{path}", root="/_reference")
    assert (refused.status, refused.problem) == (401, "unauthorized")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Any:
    root, started = tmp_path_factory.mktemp("artifacts"), Processes()
    served = root / "served"
    (served / "deep" / "er").mkdir(parents=True)
    (root / "secret").write_text("secret")
    (served / "file.txt").write_text("content")
    (served / "deep" / "er" / "file.bin").write_text("content")
    (served / "huge").write_bytes(bytes((1 << 20) + 1))
    (served / "link").symlink_to("file.txt")
    (served / "linked").symlink_to("deep/er")
    store = started.task_store(":memory:", config, "--artifacts-dir", str(served))
    yield store.mint("reader")
    started.close()


def test_without_a_directory_there_are_no_artifacts(bench: Bench) -> None:
    answer = bench.store.api.call("GET", "/artifacts/x", root="/_reference")
    assert (answer.status, answer.problem) == (503, "reference-error/artifact-serving-disabled")
