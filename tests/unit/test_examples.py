# SPDX-License-Identifier: GPL-3.0-or-later
"""The experiments of examples/, whose commands a small host runs by EDEN's rules, without a cluster."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
import yaml
from environments import CHECKOUT

EXAMPLES = CHECKOUT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
KINDS = {"real": float, "integer": int, "text": str}
# What Debian has with git: a shell and its tools, and no interpreter.
PLAIN = ("sh", "git", "cat", "sed", "sleep")


class Host:
    """All three hosts of an experiment, and its repository."""

    def __init__(self, name: str, root: Path, **variables: str) -> None:
        self.directory = EXAMPLES / name / "experiment"
        self.config = yaml.safe_load((self.directory / ".eden/config.yaml").read_text())
        self.root, self.clone, self.tools = root, root / "clone", root / "bin"
        self.tools.mkdir()
        tools = PLAIN if name == "beside" else (*PLAIN, "python3")
        for tool in tools:
            found = os.path.realpath(sys.executable) if tool == "python3" else str(shutil.which(tool))
            (self.tools / tool).symlink_to(found)
        shutil.copytree(EXAMPLES / name / "start", root / "seed")
        self.git("init", "--quiet", str(root / "seed"), directory=root)
        self.git("add", "--all", directory=root / "seed")
        identity = ["-c", "user.name=seed", "-c", "user.email=seed@example.com"]
        self.git(*identity, "commit", "--quiet", "--message=seed", directory=root / "seed")
        self.base = self.git("rev-parse", "HEAD", directory=root / "seed")
        self.git("clone", "--quiet", "--bare", str(root / "seed"), str(self.clone), directory=root)
        self.variables = {
            "PATH": str(self.tools),
            "HOME": str(root),
            "EDEN_EXPERIMENT_DIR": str(self.directory),
            "EDEN_BASE_COMMIT_SHA": self.base,
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        self.history: list[dict[str, t.Any]] = []
        self.count = 0

    def git(self, *words: str, directory: Path) -> str:
        """What git prints."""
        return subprocess.run(
            ["git", *words], cwd=directory, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    @contextlib.contextmanager
    def ideator(self) -> t.Iterator[subprocess.Popen[str]]:
        """The long-lived command, which has said that it is ready."""
        process = subprocess.Popen(
            self.config["ideation_command"],
            shell=True,
            cwd=self.directory,
            env=self.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout
            assert json.loads(process.stdout.readline()) == {"event": "ready"}
            yield process
            process.communicate(timeout=10)
        assert process.returncode == 0

    def ideate(self, ideator: subprocess.Popen[str]) -> tuple[str, list[dict[str, t.Any]]]:
        """Ask one question: how the answer ends, and its ideas."""
        self.count += 1
        task = f"ideation-{self.count}"
        question = {
            "event": "ideation",
            "task_id": task,
            "experiment_id": "example",
            "objective": self.config["objective"],
            "evaluation_schema": self.config["evaluation_schema"],
            "history": self.history[:50],
        }
        assert ideator.stdin
        assert ideator.stdout
        ideator.stdin.write(json.dumps(question, sort_keys=True) + "\n")
        ideator.stdin.flush()
        ideas = []
        while True:
            answer = json.loads(ideator.stdout.readline())
            assert answer["task_id"] == task
            if answer["event"] != "idea":
                return answer["event"], ideas
            assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", answer["slug"])
            assert isinstance(answer["priority"], float)
            assert answer["parent_commits"] == [self.base]
            assert answer["content"].strip()
            ideas.append(answer)

    def task(self, role: str, commit: str, task: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run a command of one task in a worktree: its outcome."""
        worktree = self.root / "worktrees" / f"{role}-{self.count}"
        self.git("worktree", "add", "--quiet", "--detach", str(worktree), commit, directory=self.clone)
        (worktree / ".eden").mkdir()
        (worktree / ".eden/task.json").write_text(json.dumps(task, sort_keys=True))
        # The example's own pace is for a cluster.
        command = re.sub(r" 2$", " 0", self.config[f"{role}_command"])
        names = {"EDEN_TASK_JSON": ".eden/task.json", "EDEN_OUTPUT": ".eden/outcome.json"}
        subprocess.run(command, shell=True, cwd=worktree, check=True, env=self.variables | names, timeout=30)
        outcome: dict[str, t.Any] = json.loads((worktree / ".eden/outcome.json").read_text())
        self.git("worktree", "remove", "--force", str(worktree), directory=self.clone)
        assert outcome["status"] == "success"
        return outcome

    def evaluate(self, commit: str) -> dict[str, t.Any]:
        """Evaluate a commit, which then is in the history."""
        task = {
            "variant_commit_sha": commit,
            "evaluation_schema": self.config["evaluation_schema"],
            "objective": self.config["objective"],
            "output_path": ".eden/outcome.json",
        }
        found: dict[str, t.Any] = self.task("evaluation", commit, task)["evaluation"]
        kinds = {name: KINDS[kind] for name, kind in self.config["evaluation_schema"].items()}
        assert {name: type(value) for name, value in found.items()} == kinds
        entry = {"variant_id": f"variant-{self.count}", "status": "success", "commit_sha": commit}
        self.history.insert(0, entry | {"evaluation": found})
        return found

    def variant(self, idea: dict[str, t.Any]) -> dict[str, t.Any]:
        """Execute and evaluate an idea."""
        content = self.root / "content.md"
        content.write_text(idea["content"])
        task = {
            "idea_slug": idea["slug"],
            "variant_id": f"variant-{self.count}",
            "parent_commits": idea["parent_commits"],
            "content_path": str(content),
            "output_path": ".eden/outcome.json",
        }
        commit = self.task("execution", self.base, task)["commit_sha"]
        assert self.git("merge-base", self.base, commit, directory=self.clone) == self.base
        trees = [
            self.git("rev-parse", f"{found}^{{tree}}", directory=self.clone) for found in (self.base, commit)
        ]
        assert trees[0] != trees[1], "EDEN refuses a variant without a change"
        return self.evaluate(commit)

    def run(self) -> list[float]:
        """The scores of the seed and of all variants."""
        scores = [self.evaluate(self.base)["score"]]
        with self.ideator() as ideator:
            for _turn in range(self.config["ideation_policy"]["total"]):
                ended, ideas = self.ideate(ideator)
                assert (ended, len(ideas)) == ("ideation-done", 1)
                scores.append(self.variant(ideas[0])["score"])
        return scores


class Model(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server, whose model adds a word to the best sentence that it is shown."""

    sentence = "The quick brown fox jumps over the lazy dog today"
    asked: t.ClassVar[list[dict[str, t.Any]]] = []
    answers: t.ClassVar[dict[int, tuple[int, bytes]]] = {}

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
        sentence = " ".join(self.sentence.split()[: len(self.asked)])
        good = json.dumps({"choices": [{"message": {"role": "assistant", "content": sentence}}]})
        status, answer = self.answers.get(len(self.asked), (200, good.encode()))
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *_arguments: t.Any) -> None:
        """Be silent."""


@pytest.fixture
def model() -> t.Iterator[dict[str, str]]:
    """The variables of a Secret with the address of a model's server."""
    Model.asked.clear()
    Model.answers.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {
            "LLM_URL": f"http://127.0.0.1:{server.server_port}/v1",
            "LLM_MODEL": "small",
            "LLM_API_KEY": "key",
        }
        server.shutdown()
        thread.join()


def test_quadratic_improves(tmp_path: Path) -> None:
    scores = Host("quadratic", tmp_path).run()
    best = [max(scores[:count]) for count in range(1, len(scores) + 1)]
    assert len(scores) == 21
    assert scores[0] == -13
    assert len(set(best)) > 4, "the best score rises repeatedly"
    assert best[-1] > -1


def test_beside_needs_a_shell_and_git(tmp_path: Path) -> None:
    assert Host("beside", tmp_path).run() == [-((number - 42) ** 2) for number in (0, *range(7, 63, 7))]


def test_llm_shows_the_best_sentences_to_the_model(tmp_path: Path, model: dict[str, str]) -> None:
    scores = Host("llm", tmp_path, **model).run()
    assert max(scores) == scores[9] == 100 * 26 - 43
    assert {(asked["path"], asked["key"], asked["model"]) for asked in Model.asked} == {
        ("/v1/chat/completions", "Bearer key", "small")
    }
    contents = [asked["messages"][0]["content"] for asked in Model.asked]
    assert "The quick brown fox runs." in contents[0]
    assert "The quick brown fox jumps over the lazy dog" in contents[9]


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"down"),
        (200, b"no JSON"),
        (200, b"{}"),
        (200, b'{"choices": [{"message": {"content": null}}]}'),
    ],
)
def test_a_model_that_fails_costs_one_task(
    tmp_path: Path, model: dict[str, str], answer: tuple[int, bytes]
) -> None:
    Model.answers[1] = answer
    host = Host("llm", tmp_path, **model)
    with host.ideator() as ideator:
        assert host.ideate(ideator) == ("ideation-error", [])
        assert host.ideate(ideator)[0] == "ideation-done"


@pytest.mark.parametrize("name", NAMES)
def test_an_inventory_names_what_its_directory_has(name: str) -> None:
    text = (EXAMPLES / name / "inventory.yml").read_text()
    ((experiment, inputs),) = yaml.safe_load(text)["all"]["hosts"].items()
    assert experiment == name
    for variable in ("eden_experiment_dir", "eden_seed_dir"):
        assert Path(inputs[variable].replace("{{ inventory_dir }}", str(EXAMPLES / name))).is_dir()
    assert all(worker["mode"] == "subprocess" for worker in inputs["eden_workers"].values())
    page = (EXAMPLES / name / "README.md").read_text()
    assert f"ansible-playbook site.yml -i examples/{name}/inventory.yml" in page
