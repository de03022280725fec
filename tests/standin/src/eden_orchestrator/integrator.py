# SPDX-License-Identifier: GPL-3.0-or-later
"""Integration of a successful variant: a squash commit on a variant/* branch, recorded in the task store."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

from eden_service_common.client import Client, Document, NotFound, ServerError, TransportError
from eden_service_common.git import GitError, Identity, Repository

_MANIFESTS = ".eden/variants"


class IntegrationError(RuntimeError):
    """The variant cannot be integrated as it is."""


class Integrator:
    """Writes the variant/* branches of a repository, and of its origin when it has one."""

    def __init__(self, client: Client, repository: Repository, author: Identity) -> None:
        self._client = client
        self._repository = repository
        self._author = author

    def integrate(self, variant: Document) -> None:
        """Integrate a variant in state success. Raises IntegrationError, GitError or what the client raises.

        When the task store refuses, the branch is deleted again; when its answer is lost, it stays.
        """
        variant_id = variant["variant_id"]
        slug = self._client.idea(variant["idea_id"])["slug"]
        ref = f"refs/heads/variant/{variant_id}-{slug}"
        published = self._repository.has_origin()
        if published and "branch" in variant:
            with suppress(GitError):
                self._repository.fetch(f"refs/heads/{variant['branch']}")
        commit = self._squash(variant, slug)
        self._repository.create_ref(ref, commit)
        if published:
            self._push(ref, commit)
        try:
            self._client.integrate(variant_id, commit)
        except TransportError:
            raise
        except ServerError:
            if published:
                self._repository.delete_remote(ref, commit)
            self._repository.delete_ref(ref, commit)
            raise

    def delete_orphans(self) -> list[str]:
        """Delete the variant/* branches of origin whose variant the task store has not integrated."""
        deleted: list[str] = []
        if not self._repository.has_origin():
            return deleted
        for ref, commit in self._repository.remote_refs("refs/heads/variant/*").items():
            if self._is_orphan(ref, commit):
                with suppress(GitError):
                    self._repository.delete_remote(ref, commit)
                    deleted.append(ref)
        return deleted

    def _is_orphan(self, ref: str, commit: str) -> bool:
        try:
            self._repository.fetch(ref)
            variant_ids = self._repository.names(commit, _MANIFESTS)
        except GitError:
            return False
        if len(variant_ids) != 1:
            return False
        try:
            return "variant_commit_sha" not in self._client.variant(variant_ids[0])
        except NotFound:
            return True
        except (ServerError, TransportError):
            return False

    def _squash(self, variant: Document, slug: str) -> str:
        """The commit on top of the variant's parents: the tree of the worker's commit and the manifest."""
        repository, variant_id = self._repository, variant["variant_id"]
        missing = [
            name for name in ("commit_sha", "branch", "evaluation", "completed_at") if name not in variant
        ]
        if missing:
            raise IntegrationError(f"variant {variant_id!r} has no {', '.join(missing)}")
        worker_commit = variant["commit_sha"]
        tip = repository.resolve(f"refs/heads/{variant['branch']}")
        if tip is None or not repository.is_ancestor(worker_commit, tip):
            raise IntegrationError(
                f"variant {variant_id!r}: {worker_commit!r} is not on branch {variant['branch']!r} ({tip!r})"
            )
        for parent in variant["parent_commits"]:
            if not repository.is_ancestor(parent, worker_commit):
                raise IntegrationError(
                    f"variant {variant_id!r}: parent {parent!r} is no ancestor of {worker_commit!r}"
                )
        self._client.validate_evaluation(variant["evaluation"])
        if variant_id in repository.names(worker_commit, _MANIFESTS):
            raise IntegrationError(
                f"variant {variant_id!r}: the worker's tree already has {_MANIFESTS}/{variant_id}"
            )
        path = f"{_MANIFESTS}/{variant_id}/evaluation.json"
        blob = repository.write_blob(_manifest(variant))
        tree = repository.write_tree_with(repository.tree_of(worker_commit), path, blob)
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
        return repository.commit(
            tree, variant["parent_commits"], f"variant: {variant_id} {slug}", self._author, date
        )

    def _push(self, ref: str, commit: str) -> None:
        """Push a new branch; one that the remote took although the push failed counts as pushed."""
        try:
            self._repository.push(ref, only_if_absent=True)
        except GitError:
            landed = None
            with suppress(GitError):
                landed = self._repository.remote_refs(ref).get(ref)
            if landed != commit:
                self._repository.delete_ref(ref, commit)
                raise


def _manifest(variant: Document) -> bytes:
    required = ("variant_id", "idea_id", "commit_sha", "parent_commits", "evaluation", "completed_at")
    names = [*required, *(name for name in ("artifacts_uri", "description") if name in variant)]
    document = {name: variant[name] for name in names}
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
