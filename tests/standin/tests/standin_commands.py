# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment with commands of its own, and hosts that run them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from standin_api import Api
from standin_bench import Bench
from standin_processes import CONFIG, SEED, Service

COMMANDS = """\
ideation_command: exec python3 "${EDEN_EXPERIMENT_DIR}/ideation.py"
execution_command: . "${EDEN_EXPERIMENT_DIR}/execution.sh"
evaluation_command: . "${EDEN_EXPERIMENT_DIR}/evaluation.sh"
"""
IDEATION = """\
import json, os, sys

def say(**message):
    print(json.dumps(message), flush=True)

say(event="ready")
for line in sys.stdin:
    dispatch = json.loads(line)
    task = dispatch["task_id"]
    history = sorted(len(entry["evaluation"]) for entry in dispatch["history"])
    content = f"{dispatch['objective']['direction']} {sorted(dispatch)} {history} {os.getpid()}"
    print("not for the host")
    say(event="idea", task_id=task, slug=f"{task}-p0", priority=1,
        parent_commits=[os.environ["EDEN_BASE_COMMIT_SHA"]], content=content + "\\n")
    say(event="ideation-done", task_id=task)
"""
# What the first lines of both scripts define is there for the cases of tests.
COMMIT = """\
commit() {
    git add -A
    git -c user.name=user -c user.email=user@eden.invalid commit -q --allow-empty -m work
}
outcome() { printf '%s' "$1" > "$EDEN_OUTPUT"; }
made() { outcome "{\\"status\\": \\"success\\", \\"commit_sha\\": \\"$(git rev-parse HEAD)\\"}"; }
"""
EXECUTION = f"""\
{COMMIT}
cp "$EDEN_TASK_JSON" brief.json; env > environment; rm -r .eden; commit; mkdir .eden; made
"""
EVALUATION = f"""\
{COMMIT}
outcome '{{"status": "success", "evaluation": {{"score": 0.5}}}}'
"""


@dataclass
class CommandBench:
    """A bench whose hosts run the commands in `experiment`."""

    bench: Bench
    experiment: Path
    artifacts: Path

    def _flags(self, kind: str, name: str) -> list[str]:
        worktrees = [] if kind == "ideation" else ["--worktrees-dir", str(self.bench.directory / "worktrees")]
        clone = [] if kind == "ideation" else self.bench.clone_flags(name)
        return [
            "--mode", "subprocess", "--experiment-config", str(self.bench.config),
            "--experiment-dir", str(self.experiment), f"--{kind}-shutdown-deadline", "1", *worktrees, *clone,
        ]  # fmt: skip

    def ideator(self, worker: Api, *flags: str) -> Service:
        env_file = self.bench.directory / "ideation.env"
        env_file.write_text(f"# of the test\n\nEDEN_BASE_COMMIT_SHA={SEED}\nEDEN_REPO_DIR=/elsewhere\n")
        return self.bench.start(
            "eden_ideator_host", worker, *self._flags("ideation", "ideator"),
            "--artifacts-dir", str(self.artifacts), "--ideation-env-file", str(env_file), *flags,
        )  # fmt: skip

    def executor(self, worker: Api, *flags: str) -> Service:
        return self.bench.start(
            "eden_executor_host",
            worker,
            *self._flags("execution", "executor"),
            *flags,
            env={"HOSTS_OWN": "1"},
        )

    def evaluator(self, worker: Api, *flags: str) -> Service:
        return self.bench.start(
            "eden_evaluator_host", worker, *self._flags("evaluation", "evaluator"), *flags
        )

    def orchestrator(self) -> Service:
        worker = self.bench.store.mint("orchestrator", "orchestrators")
        return self.bench.orchestrator(worker, "--max-quiescent-iterations", "0")


def with_commands(bench: Bench, config: str = "", **scripts: str) -> CommandBench:
    """The bench with a new task store, whose config has the commands; `scripts` replace the usual ones."""
    experiment, artifacts = bench.directory / "experiment", bench.directory / "artifacts"
    experiment.mkdir()
    artifacts.mkdir()
    for name, text in {
        "ideation": IDEATION,
        "execution": EXECUTION,
        "evaluation": EVALUATION,
        **scripts,
    }.items():
        (experiment / f"{name}{'.py' if name == 'ideation' else '.sh'}").write_text(text)
    bench.store.service.stop()
    bench.config = experiment / "config.yaml"
    bench.config.write_text(CONFIG + COMMANDS + config)
    url = f"sqlite:///{bench.directory}/commands.db"
    flags = ("--base-commit-sha", SEED, "--artifacts-dir", str(artifacts))
    bench.store = bench.processes.task_store(url, bench.config, *flags)
    return CommandBench(bench, experiment, artifacts)
