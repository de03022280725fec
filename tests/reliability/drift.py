# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that another user deletes or changes: check mode names them, the run repairs them and no others."""

from __future__ import annotations

import copy
import random
import re
import typing as t

from kube import MERGE, PATHS, Object
from oracles import State, Verdict, identities_hold, state
from outcomes import Changes, predict, reported, require_refusal, run_as_predicted, stays_idle, texts, written
from pools import Pool, await_gone, await_none, path_of, remove, settled
from tampering import OTHER_MANAGER, OURS, Path, at, owned, tamper
from thin_rig import INSTANCE, Experiment
from trials import Trial

DRIFT = "an object drifted"
FOREIGN = "a foreign field"
FEATURE = "a feature turned off"
IMMUTABLE = "an immutable field changed"
CLAIM = "a claim deleted while a pod uses it"

EXPERIMENT = f"{INSTANCE}-experiment"
RESTORED = "eden.reference/restored"
# Jobs end of themselves, and Secrets have tests of their own.
KINDS = (
    "ConfigMap",
    "Deployment",
    "Ingress",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
)
KINDS += ("Service", "StatefulSet")

Damage = t.Callable[[Experiment, random.Random], None]

# What others may add to objects of ours, by kind.
ADDITIONS: dict[str, Object] = {
    "ConfigMap": {"data": {"of-another": "text"}},
    "Service": {"spec": {"sessionAffinity": "ClientIP"}},
    "Deployment": {"spec": {"template": {"metadata": {"annotations": {"example.com/restarted": "now"}}}}},
    "StatefulSet": {"spec": {"template": {"metadata": {"annotations": {"example.com/restarted": "now"}}}}},
}


def trials(pool: Pool, seed: int = 0) -> list[Trial]:
    """Every drift."""
    return [
        *drift_trials(pool, seed),
        *foreign_trials(pool),
        *feature_trials(pool),
        *immutable_trials(pool),
        *claim_trials(pool),
    ]


def drift_trials(pool: Pool, seed: int) -> list[Trial]:
    """Each object deleted, and each class of fields of it changed."""
    found = []
    for kind, name, live in _objects(pool):
        ways: dict[str, tuple[str, Damage]] = {}
        # Deleting the namespace deletes all, and a claim that is in use stays until its pod goes.
        if kind not in ("Namespace", "PersistentVolumeClaim"):
            ways["deleted"] = ("created", _deleted(kind, name))
        for part, roots in (
            ("label", (("metadata", "labels"),)),
            ("annotation", (("metadata", "annotations"),)),
            ("field", (("spec",), ("data",))),
        ):
            # A volume that exists is not changed, which preflight says.
            kept = part == "field" and (live.get("immutable") or kind == "PersistentVolumeClaim")
            if _below(live, roots) and not kept:
                ways[f"{part} changed"] = ("updated", _changed(kind, name, roots))
                ways[f"{part} removed"] = ("updated", _changed(kind, name, roots, remove=True))
        # The server wants all of these.
        if kind == "Ingress":
            ways.pop("field removed")
        for way, (outcome, damage) in ways.items():
            found.append(_drift_trial(pool, kind, name, way, outcome, damage, seed))
    return found


def foreign_trials(pool: Pool) -> list[Trial]:
    """Each object with something that another manager added: it is no drift, and stays."""
    found = []
    for kind, name, live in _objects(pool):
        additions: dict[str, Object] = {
            "label": {"metadata": {"labels": {"example.com/of-another": "label"}}},
            "annotation": {"metadata": {"annotations": {"example.com/of-another": "annotation"}}},
        }
        if kind in ADDITIONS and not live.get("immutable"):
            additions["field"] = ADDITIONS[kind]
        found += [_foreign_trial(pool, kind, name, what, addition) for what, addition in additions.items()]
    return found


def feature_trials(pool: Pool) -> list[Trial]:
    """Each feature turned off, and on again: its objects go and come, volumes and Secrets stay."""
    return [
        _feature_trial(pool, "eden_network_policies", False, r"NetworkPolicy .*"),
        _feature_trial(pool, "eden_disruption_budgets", False, r"PodDisruptionBudget .*"),
        _feature_trial(pool, "eden_ingress", {}, r"Ingress .*"),
        _feature_trial(
            pool, "eden_replicas", {"executor_host": 0}, rf"StatefulSet {INSTANCE}-executor-host-1"
        ),
    ]


def immutable_trials(pool: Pool) -> list[Trial]:
    """What the API server never lets change, after the object was recreated with another value."""
    return [
        Trial(IMMUTABLE, "the experiment's id", lambda _rig, _reference: _another_id(pool)),
        *(
            Trial(
                IMMUTABLE,
                f"{kind} {name} {'.'.join(path)}",
                lambda _rig, _reference, kind=kind, name=name, path=path, value=value: _another_value(
                    pool, kind, name, path, value
                ),
            )
            for kind, name, path, value in (
                ("Service", f"{INSTANCE}-postgres", ("spec", "clusterIP"), ""),
                ("StatefulSet", f"{INSTANCE}-orchestrator", ("spec", "podManagementPolicy"), "OrderedReady"),
                ("StatefulSet", f"{INSTANCE}-postgres", ("spec", "podManagementPolicy"), "OrderedReady"),
            )
        ),
    ]


def claim_trials(pool: Pool) -> list[Trial]:
    """A claim that goes with its pods, and one that is gone, are reported before the first write."""
    return [
        Trial(
            CLAIM, volume, lambda _rig, _reference, volume=volume, user=user: _claim_going(pool, volume, user)
        )
        for volume, user in (("artifacts", "web-ui"), ("blob", "task-store-server"))
    ]


def _objects(pool: Pool) -> list[tuple[str, str, Object]]:
    """The objects that an installation makes: kind, name in each experiment, and one of them."""
    with pool.borrowed(Verdict()) as experiment:
        namespace = experiment.kube.ask("GET", path_of(experiment, "Namespace", experiment.namespace))
        found = [("Namespace", "", namespace)]
        for kind in KINDS:
            for thing in experiment.kube.objects(kind, experiment.namespace):
                if any(entry["manager"] == OURS for entry in thing["metadata"]["managedFields"]):
                    found.append((kind, thing["metadata"]["name"], thing))
    return found


def _path(experiment: Experiment, kind: str, name: str) -> str:
    return path_of(experiment, kind, name or experiment.namespace)


def _title(experiment: Experiment, kind: str, name: str) -> str:
    return f"{kind} {name or experiment.namespace}"


def _deleted(kind: str, name: str) -> Damage:
    return lambda experiment, _dice: remove(experiment, kind, name or experiment.namespace)


def _changed(kind: str, name: str, roots: t.Sequence[Path], remove: bool = False) -> Damage:
    """Another value, or none, at a place that is drawn, for the first that the API server takes."""

    def damage(experiment: Experiment, dice: random.Random) -> None:
        path = _path(experiment, kind, name)
        places = _below(experiment.kube.ask("GET", path), roots)
        refusals = []
        for place in dice.sample(places, len(places)):
            refused = tamper(experiment.kube, path, place, remove)
            if not refused:
                return
            refusals += refused
        raise AssertionError(f"the API server takes no change of {kind} {name}: {refusals[-3:]}")

    return damage


def _below(live: Object, roots: t.Sequence[Path]) -> list[Path]:
    """The places that we applied below these."""
    return [path for path in owned(live) if any(path[: len(root)] == root for root in roots)]


def _drift_trial(
    pool: Pool, kind: str, name: str, way: str, outcome: str, damage: Damage, seed: int
) -> Trial:
    title = f"{kind} {name}".strip()

    def perform(_rig: t.Any, _reference: t.Any) -> Verdict:
        verdict = Verdict()
        with pool.borrowed(verdict) as experiment:
            before = settled(experiment)
            damage(experiment, random.Random(f"{seed} {title} {way}"))
            _repair(verdict, experiment, before, {_title(experiment, kind, name): outcome})
        return verdict

    return Trial(DRIFT, f"{title} {way}", perform)


def _repair(verdict: Verdict, experiment: Experiment, before: State, expected: Changes) -> None:
    """Check mode names the objects, the run writes these and no other, and all is as it was."""
    predicted = predict(verdict, experiment)
    expected |= dict.fromkeys(predicted.stopped, "updated")
    verdict.require(
        predicted.changes == expected, "drift", f"predicted are {predicted.changes} and not {expected}"
    )
    real = run_as_predicted(verdict, experiment, predicted)
    found = written(real.outcome)
    verdict.require(found == expected.keys(), "drift", f"the run wrote {sorted(found)} and not {expected}")
    stays_idle(verdict, experiment)
    verdict.compare(before, settled(experiment))
    identities_hold(verdict, experiment, state(experiment))


def _foreign_trial(pool: Pool, kind: str, name: str, what: str, addition: Object) -> Trial:
    title = f"{kind} {name}".strip()

    def perform(_rig: t.Any, _reference: t.Any) -> Verdict:
        verdict = Verdict()
        with pool.borrowed(verdict) as experiment:
            path = _path(experiment, kind, name)
            experiment.kube.ask("PATCH", f"{path}?{OTHER_MANAGER}", addition, MERGE)
            before = settled(experiment)
            predicted = predict(verdict, experiment)
            verdict.require(not predicted.changes, "drift", f"predicted are {predicted.changes}")
            stays_idle(verdict, experiment)
            verdict.compare(before, settled(experiment))
            # The object is repaired around it.
            _changed(kind, name, (("metadata", "labels"),))(experiment, random.Random(title))
            real = reported(experiment)
            verdict.outcomes.append(real.outcome)
            expected = {_title(experiment, kind, name): "updated"} | dict.fromkeys(real.stopped, "updated")
            verdict.require(real.changes == expected, "drift", f"the run changed {real.changes}")
            live = experiment.kube.ask("GET", path)
            verdict.require(_holds(live, addition), "drift", "what another manager had added is gone")
            experiment.kube.ask("PATCH", f"{path}?{OTHER_MANAGER}", _without(addition), MERGE)
        return verdict

    return Trial(FOREIGN, f"{title} {what}", perform)


def _holds(live: t.Any, part: t.Any) -> bool:
    if isinstance(part, dict):
        return isinstance(live, dict) and all(_holds(live.get(key), value) for key, value in part.items())
    return bool(live == part)


def _without(addition: t.Any) -> t.Any:
    """The patch that takes an addition out."""
    if isinstance(addition, dict):
        return {key: _without(value) for key, value in addition.items()}
    return None


def _feature_trial(pool: Pool, variable: str, off: t.Any, goes: str) -> Trial:
    def perform(_rig: t.Any, _reference: t.Any) -> Verdict:
        verdict = Verdict()
        with pool.borrowed(verdict) as experiment:
            before, variables = settled(experiment), dict(experiment.variables)
            gone = {name for name in before.objects if re.fullmatch(goes, name)}
            verdict.require(gone, "rig", f"there is nothing like {goes}")
            experiment.variables[variable] = off
            predicted = predict(verdict, experiment)
            real = run_as_predicted(verdict, experiment, predicted)
            verdict.require(
                real.changes == dict.fromkeys(gone, "deleted"), "drift", f"the run changed {real.changes}"
            )
            verdict.require(written(real.outcome) == gone, "drift", f"the run wrote {texts(real.outcome)}")
            stays_idle(verdict, experiment)
            left = settled(experiment).objects
            verdict.require(left.keys() == before.objects.keys() - gone, "drift", f"{sorted(left)} are left")
            experiment.variables = variables
            _repair(verdict, experiment, before, dict.fromkeys(gone, "created"))
        return verdict

    return Trial(FEATURE, variable, perform)


def _another_id(pool: Pool) -> Verdict:
    verdict = Verdict()
    with pool.borrowed(verdict) as experiment:
        before = settled(experiment)
        live = _recreated_with(
            experiment, "ConfigMap", EXPERIMENT, ("data", "experiment_id"), f"exp_{1:026d}"
        )
        require_refusal(
            verdict,
            reported(experiment),
            f"ConfigMap {experiment.namespace}/{EXPERIMENT} names the experiment exp_",
            "volumes",
            live["data"]["experiment_id"],
        )
        # The way out that is known here: the ConfigMap goes, and the claims say whose data they hold.
        experiment.kube.ask("DELETE", path_of(experiment, "ConfigMap", EXPERIMENT))
        _repair(verdict, experiment, before, {f"ConfigMap {EXPERIMENT}": "created"})
    return verdict


def _another_value(pool: Pool, kind: str, name: str, path: Path, value: str) -> Verdict:
    verdict = Verdict()
    with pool.borrowed(verdict) as experiment:
        before = settled(experiment)
        _recreated_with(experiment, kind, name, path, value)
        run = reported(experiment)
        verdict.outcomes.append(run.outcome)
        if run.outcome.status == 0:
            stays_idle(verdict, experiment)
        else:
            for part in (f"{kind} {experiment.namespace}/{name}", path[-1], "kubectl delete"):
                verdict.require(
                    part in run.message, "message", f"{part!r} is not in the message: {run.message}"
                )
            _deleted(kind, name)(experiment, random.Random())
            repaired = reported(experiment)
            verdict.outcomes.append(repaired.outcome)
            verdict.require(
                repaired.outcome.status == 0, "converges", f"the advice did not help: {repaired.message}"
            )
            stays_idle(verdict, experiment)
        verdict.compare(before, settled(experiment))
    return verdict


def _claim_going(pool: Pool, volume: str, user: str) -> Verdict:
    verdict, claim = Verdict(), f"{INSTANCE}-{volume}"
    with pool.borrowed(verdict) as experiment:
        before = settled(experiment)
        path = path_of(experiment, "PersistentVolumeClaim", claim)
        live = experiment.kube.ask("GET", path)
        experiment.kube.ask("DELETE", path)
        for arguments in ((), ("--check",)):
            words = f"PersistentVolumeClaim {experiment.namespace}/{claim} has been terminating since "
            require_refusal(verdict, reported(experiment, *arguments), words)
        for pod in experiment.kube.objects("Pod", experiment.namespace):
            if pod["metadata"]["labels"]["app.kubernetes.io/component"] == user:
                experiment.kube.ask("DELETE", path_of(experiment, "Pod", pod["metadata"]["name"]))
        await_gone(experiment.kube, path)
        for arguments in ((), ("--check",)):
            words = f"PersistentVolumeClaim {experiment.namespace}/{claim} does not exist: it had "
            require_refusal(verdict, reported(experiment, *arguments), words)
        # The way out: an empty one, and the word that the experiment can do without what was lost.
        confirmed = {RESTORED: live["metadata"]["labels"]["eden.reference/experiment-id"]}
        spec = {key: live["spec"][key] for key in ("accessModes", "resources")}
        body = {"metadata": {"name": claim, "annotations": confirmed}, "spec": spec}
        claims = PATHS["PersistentVolumeClaim"].format(experiment.namespace)
        experiment.kube.ask("POST", f"{claims}?{OTHER_MANAGER}", body)
        expected = before.objects[f"PersistentVolumeClaim {claim}"]["metadata"]
        expected["annotations"][RESTORED] = "EXPERIMENT"
        # Its pod has waited for it.
        await_none(
            lambda: [] if experiment.kube.ask("GET", path)["status"]["phase"] == "Bound" else [claim],
            "gets no volume",
        )
        _repair(verdict, experiment, before, {f"PersistentVolumeClaim {claim}": "updated"})
    return verdict


def _recreated_with(experiment: Experiment, kind: str, name: str, path: Path, value: str) -> Object:
    """The object, after it was deleted and recreated with another value."""
    live = experiment.kube.ask("GET", path_of(experiment, kind, name))
    remove(experiment, kind, name)
    body = {key: copy.deepcopy(part) for key, part in live.items() if key != "status"}
    body["metadata"] = {key: live["metadata"][key] for key in ("name", "labels", "annotations")}
    if kind == "Service":
        body["spec"].pop("clusterIPs")
    at(body, path[:-1])[path[-1]] = value
    experiment.kube.ask("POST", f"{PATHS[kind].format(experiment.namespace)}?{OTHER_MANAGER}", body)
    return live
