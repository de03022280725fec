# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that are lost, tampered with or swapped: what is broken is reissued, and nothing else."""

from __future__ import annotations

import itertools
import re
import secrets
import typing as t

from kube import PATHS, Object
from oracles import CREDENTIALS, Reference, State, Verdict, hashes, identities_hold, registry, state, tail
from outcomes import Report, predict, reported, require_refusal, run_as_predicted, stays_idle
from pools import Pool, await_no_pods, create_namespace, encoded, path_of, remove, settled, values
from thin_rig import INSTANCE, Experiment, Rig
from trials import Trial
from truth_table import GENERATED, WORKERS

IDENTITY = "identity Secret damaged"
MAIN = "credentials lost"
REINSTALL = "reinstalled over kept claims"
# What a reinstallation finds gone, in the order in which it is deleted.
REMOVED = (
    "StatefulSet",
    "Deployment",
    "Job",
    "Ingress",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "ConfigMap",
    "Secret",
)
# The pool's experiments may have Secrets of other trials, which are a user's own.
OURS = {"app.kubernetes.io/managed-by": "eden.reference"}
COMPONENTS = ("postgres", "task-store-server", "orchestrator", "web-ui")
# Well-formed, and of no worker.
UNKNOWN_WORKER = f"wkr_{0:026d}"

Damage = t.Callable[[Experiment], None]


def trials(pool: Pool) -> list[Trial]:
    """Every damage."""
    return [*identity_trials(pool), *main_trials(pool), *reinstall_trials(pool)]


def identity_trials(pool: Pool) -> list[Trial]:
    """Each identity Secret in each way, and each two of them together."""
    found = []
    for worker in WORKERS:
        for way, damage in (
            ("deleted", _delete(worker)),
            ("with another token", _put(worker, token=secrets.token_hex(32))),
            ("with half a token", _put(worker, token="0" * 32)),
            ("without a token", _put(worker, token="")),
            ("with the id of no worker", _put(worker, worker_id=UNKNOWN_WORKER)),
            ("with no id", _put(worker, worker_id="no id")),
        ):
            found.append(_identity_trial(pool, f"{worker} {way}", (worker,), damage))
    for one, other in itertools.combinations(WORKERS, 2):
        both = (one, other)
        found.append(_identity_trial(pool, f"{one} and {other} swapped", both, _swap(*both)))
        found.append(
            _identity_trial(pool, f"tokens of {one} and {other} swapped", both, _swap(*both, keys=("token",)))
        )
        found.append(_identity_trial(pool, f"{one} with a copy of {other}", (one,), _copy(other, one)))
    return found


def main_trials(pool: Pool) -> list[Trial]:
    """The credentials are gone while the volumes stay."""
    return [
        Trial(MAIN, "put back", lambda _rig, _reference: _lose_credentials(pool, _put_back)),
        Trial(MAIN, "replaced", lambda _rig, _reference: _lose_credentials(pool, _replace)),
        Trial(MAIN, "eden_existing_secret lacks keys", lambda rig, _reference: _lack_keys(rig)),
    ]


def reinstall_trials(pool: Pool) -> list[Trial]:
    """Everything is gone but claims and credentials, with the identity Secrets or without."""
    return [
        Trial(REINSTALL, "identities kept", lambda _rig, _reference: _reinstall(pool, True)),
        Trial(REINSTALL, "identities gone", lambda _rig, _reference: _reinstall(pool, False)),
    ]


def secret_of(worker: str) -> str:
    """The name of a worker's Secret."""
    return f"{INSTANCE}-{worker}-identity"


def _get(experiment: Experiment, name: str) -> Object:
    return experiment.kube.ask("GET", path_of(experiment, "Secret", name))


def _write(experiment: Experiment, name: str, texts_of: t.Mapping[str, str]) -> None:
    live = _get(experiment, name)
    experiment.kube.ask("PUT", path_of(experiment, "Secret", name), {**live, "data": encoded(texts_of)})


def _delete(worker: str) -> Damage:
    return lambda experiment: remove(experiment, "Secret", secret_of(worker))


def _put(worker: str, **texts_of: str) -> Damage:
    def damage(experiment: Experiment) -> None:
        name = secret_of(worker)
        _write(experiment, name, values(_get(experiment, name)) | texts_of)

    return damage


def _swap(one: str, other: str, keys: t.Collection[str] = ("token", "worker_id")) -> Damage:
    def damage(experiment: Experiment) -> None:
        first, second = (values(_get(experiment, secret_of(worker))) for worker in (one, other))
        _write(experiment, secret_of(one), first | {key: second[key] for key in keys})
        _write(experiment, secret_of(other), second | {key: first[key] for key in keys})

    return damage


def _copy(source: str, target: str) -> Damage:
    return lambda experiment: _write(
        experiment, secret_of(target), values(_get(experiment, secret_of(source)))
    )


def _identity_trial(pool: Pool, name: str, broken: t.Collection[str], damage: Damage) -> Trial:
    def perform(_rig: Rig, _reference: Reference) -> Verdict:
        verdict = Verdict()
        with pool.borrowed(verdict) as experiment:
            before, digests, templates = settled(experiment), hashes(experiment), _templates(experiment)
            damage(experiment)
            predicted = predict(verdict, experiment)
            real = run_as_predicted(verdict, experiment, predicted)
            hosts = [name for name, (worker, _text) in templates.items() if worker in broken]
            expected = {f"Secret {secret_of(worker)}": "reissued" for worker in broken}
            expected |= {f"StatefulSet {host}": "updated" for host in hosts}
            verdict.require(real.changes == expected, "secrets", f"{real.changes} in place of {expected}")
            _require_reissues(verdict, real, len(broken))
            after = _templates(experiment)
            restarted = sorted(host for host in templates if templates[host] != after.get(host))
            verdict.require(restarted == sorted(hosts), "secrets", f"the pods of {restarted} restart")
            for (secret, key), digest in digests.items():
                if secret not in map(secret_of, broken) or key == "worker_id":
                    kept = hashes(experiment).get((secret, key)) == digest
                    verdict.require(kept, "secrets kept", f"Secret {secret} has another {key}")
            _finish(verdict, experiment, before)
        return verdict

    return Trial(IDENTITY, name, perform)


def _templates(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """For each StatefulSet of a worker: the worker, and what its pods are made of."""
    found = {}
    for thing in experiment.kube.objects("StatefulSet", experiment.namespace):
        spec = thing["spec"]["template"]["spec"]
        for volume in spec["volumes"]:
            if volume["name"] == "identity":
                match = re.fullmatch(rf"{INSTANCE}-(.+)-identity", volume["secret"]["secretName"])
                assert match
                found[thing["metadata"]["name"]] = (match[1], str(thing["spec"]["template"]))
    return found


def _require_reissues(verdict: Verdict, run: Report, count: int) -> None:
    """So many tokens were reissued, and no worker was registered."""
    asked = [request.target for request in run.outcome.writes if request.side == "store"]
    again = [target for target in asked if target.endswith("/reissue-credential")]
    verdict.require(
        len(again) == len(set(again)) == len(asked) == count,
        "secrets",
        f"the task store was asked for {asked}",
    )


def _finish(verdict: Verdict, experiment: Experiment, before: State) -> None:
    """The experiment is what it was before, and stays so."""
    stays_idle(verdict, experiment)
    verdict.compare(before, settled(experiment))
    identities_hold(verdict, experiment, state(experiment))


def _lose_credentials(pool: Pool, repair: t.Callable[[Experiment, Object], None]) -> Verdict:
    verdict = Verdict()
    with pool.borrowed(verdict) as experiment:
        before, lost = settled(experiment), _get(experiment, CREDENTIALS)
        remove(experiment, "Secret", CREDENTIALS)
        for arguments in ((), ("--check",)):
            require_refusal(
                verdict,
                reported(experiment, *arguments),
                f"Secret {experiment.namespace}/{CREDENTIALS} has no POSTGRES_PASSWORD",
                f"PersistentVolumeClaim {experiment.namespace}/data-{INSTANCE}-postgres-0 holds data",
                "Nothing was changed.",
                "Either restore the Secret from a backup",
                "or give the role eden a new password inside the pod",
            )
        found = experiment.kube.get("Secret", experiment.namespace, CREDENTIALS)
        verdict.require(found is None, "secrets", "a Secret was made")
        repair(experiment, lost)
        run = reported(experiment)
        verdict.outcomes.append(run.outcome)
        verdict.require(run.outcome.status == 0, "converges", f"the repair did not help: {tail(run.outcome)}")
        experiment.variables.pop("eden_database_password_changed", None)
        verdict.require(repair is not _put_back or not run.changes, "secrets", f"it changed {run.changes}")
        _finish(verdict, experiment, before)
    return verdict


def _put_back(experiment: Experiment, lost: Object) -> None:
    """What a backup has."""
    body = {"metadata": {key: lost["metadata"].get(key) for key in ("name", "labels")}, "data": lost["data"]}
    experiment.kube.ask("POST", PATHS["Secret"].format(experiment.namespace), body)


def _replace(experiment: Experiment, lost: Object) -> None:
    """The Secret of a user who gave the database another password; kind shows that it accepts it."""
    new = {key: secrets.token_hex(32) for key in ("POSTGRES_PASSWORD", "FORGEJO_SECRET_KEY")}
    _put_back(experiment, {**lost, "data": encoded(new)})
    experiment.variables["eden_database_password_changed"] = True


def _lack_keys(rig: Rig) -> Verdict:
    verdict = Verdict()
    has = sorted(GENERATED)[::2]
    with rig.experiment() as experiment:
        create_namespace(experiment)
        body = {"metadata": {"name": "given"}, "data": encoded(dict.fromkeys(has, "0" * 64))}
        experiment.kube.ask("POST", PATHS["Secret"].format(experiment.namespace), body)
        experiment.variables["eden_existing_secret"] = "given"
        lacks = [key for key in GENERATED if key not in has]
        for arguments in ((), ("--check",)):
            expected = f"Secret {experiment.namespace}/given lacks "
            require_refusal(
                verdict, reported(experiment, *arguments), expected, "eden_existing_secret", *lacks
            )
    return verdict


def _reinstall(pool: Pool, keep_identities: bool) -> Verdict:
    verdict = Verdict()
    with pool.borrowed(verdict) as experiment:
        before = settled(experiment)
        found = registry(experiment)
        assert found is not None
        for kind in REMOVED:
            for thing in experiment.kube.objects(kind, experiment.namespace):
                name = thing["metadata"]["name"]
                kept = name == CREDENTIALS or (keep_identities and name.endswith("-identity"))
                if not kept and OURS.items() <= (thing["metadata"].get("labels") or {}).items():
                    remove(experiment, kind, name)
        for component in COMPONENTS:
            await_no_pods(experiment, component)
        run = reported(experiment)
        verdict.outcomes.append(run.outcome)
        verdict.require(run.outcome.status == 0, "converges", f"the run ended with: {tail(run.outcome)}")
        again = registry(experiment)
        same = again is not None and again.experiment_id == found.experiment_id
        verdict.require(same, "secrets", f"the experiment was {found.experiment_id}, and is {again}")
        _require_reissues(verdict, run, 0 if keep_identities else len(WORKERS))
        _finish(verdict, experiment, before)
    return verdict
