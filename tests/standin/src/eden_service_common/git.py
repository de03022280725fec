# SPDX-License-Identifier: GPL-3.0-or-later
"""A git repository, through the git command."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Variables that would point git at another repository than the one it is told.
_REDIRECTING = frozenset(
    "GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR GIT_CONFIG GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS"
    " GIT_DIR GIT_GRAFT_FILE GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE GIT_NAMESPACE GIT_NO_REPLACE_OBJECTS"
    " GIT_OBJECT_DIRECTORY GIT_PREFIX GIT_REPLACE_REF_BASE GIT_SHALLOW_FILE GIT_WORK_TREE".split()
)
ABSENT = "0" * 40


@dataclass(frozen=True)
class Identity:
    """Author and committer of a commit."""

    name: str
    email: str


class GitError(RuntimeError):
    """A git command failed; the text has the command and what git said."""


def run_git(
    arguments: Sequence[str], *, data: bytes | None = None, environment: dict[str, str] | None = None
) -> str:
    """Standard output of `git <arguments>`, stripped. Raises GitError."""
    inherited = {name: value for name, value in os.environ.items() if name not in _REDIRECTING}
    pinned = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    result = subprocess.run(
        ["git", *arguments],
        input=data or b"",
        capture_output=True,
        env=inherited | pinned | (environment or {}),
        check=False,
    )
    if result.returncode != 0:
        said = (result.stderr + result.stdout).decode("utf-8", "replace").strip()
        raise GitError(f"git {' '.join(arguments)} failed with {result.returncode}: {said}")
    return result.stdout.decode("utf-8", "replace").strip()


class Repository:
    """A bare repository at `path`. Methods raise GitError."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def init(cls, path: str | Path) -> Repository:
        """Create a bare repository whose branch is `main`."""
        Path(path).mkdir(parents=True, exist_ok=True)
        run_git(["init", "--quiet", "--bare", "--initial-branch=main", str(path)])
        return cls(path)

    @classmethod
    def synchronized(cls, path: str | Path, url: str, credential_helper: str | None) -> Repository:
        """The clone of `url` at `path`: made when absent, else brought up to date."""
        repository = cls(path)
        if (repository.path / "HEAD").is_file():
            repository.run("fetch", "--quiet", "--prune", "origin", "+refs/heads/*:refs/heads/*")
            return repository
        repository.path.parent.mkdir(parents=True, exist_ok=True)
        helper = ["-c", f"credential.helper={credential_helper}"] if credential_helper else []
        run_git([*helper, "clone", "--quiet", "--bare", url, str(path)])
        if credential_helper:
            repository.run("config", "credential.helper", credential_helper)
        return repository

    def run(
        self, *arguments: str, data: bytes | None = None, environment: dict[str, str] | None = None
    ) -> str:
        """Standard output of a git command in this repository."""
        options = ["-c", f"safe.directory={self.path}", "-c", "commit.gpgsign=false", "-C", str(self.path)]
        return run_git([*options, *arguments], data=data, environment=environment)

    def has_origin(self) -> bool:
        return "origin" in self.run("remote").split()

    def resolve(self, ref: str) -> str | None:
        """The sha that `ref` points at, None when there is no such ref."""
        try:
            return self.run("rev-parse", "--verify", "--quiet", ref)
        except GitError:
            return None

    def tree_of(self, commit: str) -> str:
        return self.run("rev-parse", "--verify", f"{commit}^{{tree}}")

    def has_commit(self, sha: str) -> bool:
        try:
            return self.run("cat-file", "-t", sha) == "commit"
        except GitError:
            return False

    def is_ancestor(self, commit: str, descendant: str) -> bool:
        try:
            self.run("merge-base", "--is-ancestor", commit, descendant)
        except GitError:
            return False
        return True

    def names(self, tree: str, directory: str) -> list[str]:
        """Names of the entries of `directory` in a tree, commit or ref."""
        paths = self.run("ls-tree", "--name-only", tree, f"{directory}/").splitlines()
        return [path.rsplit("/", 1)[1] for path in paths]

    def write_blob(self, content: bytes) -> str:
        return self.run("hash-object", "-w", "--stdin", data=content)

    def write_file_tree(self, name: str, blob: str) -> str:
        """A tree of one file."""
        return self.run("mktree", data=f"100644 blob {blob}\t{name}\n".encode())

    def write_tree_with(self, tree: str, path: str, blob: str) -> str:
        """The tree plus one file at `path`."""
        with tempfile.TemporaryDirectory(prefix="eden-git-index-") as directory:
            index = {"GIT_INDEX_FILE": f"{directory}/index"}
            self.run("read-tree", tree, environment=index)
            self.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", environment=index)
            return self.run("write-tree", environment=index)

    def write_tree_from(self, directory: str | Path) -> str:
        """The tree of the files in `directory`, without its `.git` and what it ignores."""
        with tempfile.TemporaryDirectory(prefix="eden-git-index-") as scratch:
            index = {"GIT_INDEX_FILE": f"{scratch}/index", "GIT_DIR": str(self.path.resolve())}
            source = str(Path(directory).resolve())
            run_git(
                ["-c", "safe.directory=*", "-C", source, "--work-tree=.", "add", "--all"], environment=index
            )
            return self.run("write-tree", environment=index)

    def commit(self, tree: str, parents: Sequence[str], message: str, author: Identity, date: str) -> str:
        """A commit by `author` at `date`, on no ref; returns its sha."""
        environment = {
            f"GIT_{role}_{field}": value
            for role in ("AUTHOR", "COMMITTER")
            for field, value in (("NAME", author.name), ("EMAIL", author.email), ("DATE", date))
        }
        options = [option for parent in parents for option in ("-p", parent)]
        return self.run("commit-tree", tree, *options, "-m", message, environment=environment)

    def create_ref(self, ref: str, sha: str) -> None:
        """Fails when the ref is already there."""
        self.run("update-ref", ref, sha, ABSENT)

    def delete_ref(self, ref: str, sha: str) -> None:
        """Fails when the ref is not at `sha`."""
        self.run("update-ref", "-d", ref, sha)

    def add_worktree(self, directory: Path, commit: str) -> None:
        """A detached checkout; fails when one is or was there and has not been removed."""
        directory.parent.mkdir(parents=True, exist_ok=True)
        self.run("worktree", "add", "--detach", str(directory.resolve()), commit)

    def remove_worktree(self, directory: Path) -> None:
        self.run("worktree", "remove", "--force", str(directory.resolve()))

    def fetch(self, ref: str) -> None:
        self.run("fetch", "--quiet", "origin", f"+{ref}:{ref}")

    def push(self, ref: str, *, only_if_absent: bool = False) -> None:
        lease = [f"--force-with-lease={ref}:{ABSENT}"] if only_if_absent else []
        self.run("push", "--quiet", *lease, "origin", f"{ref}:{ref}")

    def delete_remote(self, ref: str, sha: str) -> None:
        """Delete the ref of the remote; fails when it is not at `sha`."""
        self.run("push", "--quiet", f"--force-with-lease={ref}:{sha}", "origin", f":{ref}")

    def remote_refs(self, pattern: str) -> dict[str, str]:
        """Refs of the remote that match `pattern`, with their shas."""
        lines = self.run("ls-remote", "origin", pattern).splitlines()
        return {ref: sha for sha, ref in (line.split("\t") for line in lines)}
