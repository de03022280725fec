# SPDX-License-Identifier: GPL-3.0-or-later
"""Seed a bare repository: `python -m eden_service_common.repo_init`.

The seed is one commit on `main` with a fixed author and date, so that its sha is the same on every run.
The sha is printed before the push: a line on standard output is no proof of a push, the exit code is.
"""

from __future__ import annotations

from pathlib import Path

from .cli import new_parser
from .git import Identity, Repository, run_git

_AUTHOR = Identity("EDEN Seed", "seed@eden.invalid")
_DATE = "2026-04-01T00:00:00+00:00"


def main(argv: list[str] | None = None) -> int:
    """Seed the repository, print its sha and push. Returns the exit code; raises GitError."""
    parser = new_parser("eden-repo-init", "Seed a bare git repository.")
    parser.add_argument("--repo-path", required=True, help="bare repository to create or inspect")
    parser.add_argument("--push-to", help="URL that main is pushed to")
    parser.add_argument("--credential-helper", help="git credential helper for --push-to")
    parser.add_argument(
        "--seed-from", help="directory whose files are the seed, instead of an empty .gitkeep"
    )
    args = parser.parse_args(argv)

    path = Path(args.repo_path)
    sha = Repository(path).resolve("refs/heads/main") if (path / "HEAD").exists() else None
    if sha is not None:
        print(f"EDEN_REPO_ALREADY_SEEDED sha={sha}", flush=True)
    else:
        print(f"EDEN_REPO_SEEDED sha={_seed(path, args.seed_from)}", flush=True)
    if args.push_to is not None:
        helper = ["-c", f"credential.helper={args.credential_helper}"] if args.credential_helper else []
        run_git([*helper, "-C", str(path), "push", args.push_to, "refs/heads/main:refs/heads/main"])
    return 0


def _seed(path: Path, source: str | None) -> str:
    if source is not None and not Path(source).is_dir():
        raise NotADirectoryError(f"--seed-from {source}: not a directory")
    repository = Repository.init(path)
    if source is None:
        tree = repository.write_file_tree(".gitkeep", repository.write_blob(b""))
    else:
        tree = repository.write_tree_from(source)
    sha = repository.commit(tree, [], "eden: seed", _AUTHOR, _DATE)
    repository.create_ref("refs/heads/main", sha)
    return sha


if __name__ == "__main__":
    raise SystemExit(main())
