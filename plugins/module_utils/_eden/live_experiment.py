# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares a run with the experiment in the cluster: what is lost already, and what the run would break.

These are checks of preflight.
This module is private to the collection.
"""

from __future__ import annotations

import json
import re
import typing as t
from http import HTTPStatus
from urllib.parse import urlsplit

from ansible_collections.eden.reference.plugins.module_utils._collection import NAME, VERSION
from ansible_collections.eden.reference.plugins.module_utils._eden import credentials, experiment_config
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.comparison import set_by_others
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import decoded
from ansible_collections.eden.reference.plugins.module_utils._kube.storage import is_bound

if t.TYPE_CHECKING:
    from ansible_collections.eden.reference.plugins.module_utils._eden.preflight import (
        ClusterState,
        Experiment,
    )
    from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object

# With the experiment's id, it confirms that the data on a claim is that of the experiment.
RESTORED_ANNOTATION = f"{NAME}/restored"
# On the ConfigMap with the experiment's id, whose data is immutable.
VERSION_ANNOTATION = f"{NAME}/collection-version"
# On a pod template: the digest of the credentials that the pod reads.
DIGEST_ANNOTATION = f"{NAME}/credentials"
DATABASE, TASK_STORE = "postgres", "task-store-server"
PASSWORD = "POSTGRES_PASSWORD"
CONFIG_KEY = "experiment-config.yaml"
# The checksum of the files of the first commit, in the ConfigMap with that.
SEED_KEY = "files"
# Of the reason of a Deployment's condition, once its current pods have been available.
ROLLED_OUT = "NewReplicaSetAvailable"
MAX_SHOWN = 300


def check_version(state: ClusterState, experiment: Experiment) -> list[CollectionError]:
    """The problem of an experiment that a newer version of the collection has deployed."""
    live = state.objects[experiment.key("experiment")]
    if experiment.inputs["eden_allow_downgrade"] or not isinstance(live, dict):
        return []
    written = _annotation(live, VERSION_ANNOTATION)
    changed = set_by_others(live, "metadata", "annotations", VERSION_ANNOTATION)
    if changed or _numbers(written) <= _numbers(VERSION):
        return []
    return [
        CollectionError(
            f"Version {written} of {NAME} has deployed this experiment, and this is {VERSION}: it would "
            "overwrite and delete what it does not know. Install that version or a newer one "
            f"(ansible-galaxy collection install {NAME}:{written}), or set eden_allow_downgrade to true."
        )
    ]


def check_volumes_are_kept(
    state: ClusterState, experiment: Experiment, experiment_id: str
) -> list[CollectionError]:
    """The problems of volumes whose data was lost while the experiment exists.

    A claim is lost if it does not exist while an object does that is only created after it, or if it is newer
    than that object: StatefulSets create an empty claim of the same name.
    """
    problems: list[CollectionError] = []
    for volume in experiment.topology["volumes"]:
        witness = volume["created_before"]
        later = state.objects.get((witness["kind"], witness["name"])) if witness else None
        claim = state.objects["PersistentVolumeClaim", volume["name"]]
        if not isinstance(later, dict) or not (claim is None or isinstance(claim, dict)):
            continue
        since = str(later["metadata"].get("creationTimestamp", ""))
        made = str(claim["metadata"].get("creationTimestamp", "")) if claim else ""
        named = describe("PersistentVolumeClaim", experiment.namespace, volume["name"])
        if claim is None:
            problems.append(_loss(experiment, experiment_id, volume, f"{named} does not exist"))
        elif since < made and not _is_confirmed(claim, experiment_id):
            made_after = describe(witness["kind"], experiment.namespace, witness["name"])
            words = f"{named} was created at {made}, after {made_after} ({since})"
            problems.append(_loss(experiment, experiment_id, volume, words))
    return problems


def _is_confirmed(claim: Object, experiment_id: str) -> bool:
    # A deletion that is under way is another problem.
    return (
        "deletionTimestamp" in claim["metadata"] or _annotation(claim, RESTORED_ANNOTATION) == experiment_id
    )


def _loss(
    experiment: Experiment, experiment_id: str, volume: t.Mapping[str, str], words: str
) -> CollectionError:
    name, namespace = volume["name"], experiment.namespace
    return MissingError(
        f"{words}: it had {volume['content']}, and an empty volume must not silently take its place. "
        "Restore it from a backup or a snapshot, and confirm that: kubectl annotate persistentvolumeclaim "
        f"{name} --namespace {namespace} {RESTORED_ANNOTATION}={experiment_id}. {volume['without_backup']}"
    )


def check_schema(state: ClusterState, experiment: Experiment, config: str) -> list[CollectionError]:
    """The problem of an evaluation schema that differs from that of the database.

    The database has the schema with which its task store was first ready. The workers are registered after
    that. A config with which the task store has never been available says nothing.
    """
    live = state.objects[experiment.key("experiment-config")]
    task_store = state.objects.get(("Deployment", experiment.topology["components"][TASK_STORE]["name"]))
    registered = any(state.objects["Secret", name] for name in experiment.identity_secrets)
    if not registered or not isinstance(live, dict) or set_by_others(live, "data", CONFIG_KEY):
        return []
    if isinstance(task_store, dict) and not _has_been_available(task_store):
        return []
    before, after = _schema((live.get("data") or {}).get(CONFIG_KEY)), _schema(config)
    if before is None or after is None or before == after:
        return []
    return [
        InputError(
            f"The experiment config has the evaluation_schema {_shown(after)}, but that of the experiment is "
            f"{_shown(before)}. It cannot change: with another one the task store does not start. Set it "
            "back, or start a new experiment with another eden_name."
        )
    ]


def _has_been_available(deployment: Object) -> bool:
    """Whether the pods of the current template have been available."""
    status = deployment.get("status") or {}
    reasons = [condition.get("reason") for condition in status.get("conditions") or []]
    return bool(status.get("availableReplicas")) or ROLLED_OUT in reasons


def _schema(text: t.Any) -> t.Any:
    """The evaluation schema of a config; None if it cannot be read."""
    config, problems = experiment_config.parse(str(text or "").encode(), "")
    return config.get("evaluation_schema") if isinstance(config, dict) and not problems else None


def _shown(schema: t.Any) -> str:
    return json.dumps(schema, sort_keys=True, default=str)[:MAX_SHOWN]


def check_seed_files(state: ClusterState, experiment: Experiment) -> tuple[str, list[CollectionError]]:
    """The checksum of the files of the first commit, empty for none, and the problem of others.

    An empty ``eden_seed_dir`` leaves them as they are.
    """
    given = str(experiment.files.get("seed", {}).get("checksum", ""))
    key = experiment.key("seed")
    live = state.objects[key]
    if not isinstance(live, dict) or set_by_others(live, "data", SEED_KEY):
        return given, []
    data = live.get("data") or {}
    stored = str(data.get(SEED_KEY, ""))
    if given in ("", stored):
        return stored, []
    was = "from other files" if stored else "without files"
    back = "Set it back to the files as they were, or leave it empty" if stored else "Leave it empty"
    return stored, [
        InputError(
            f"The files in eden_seed_dir are not those of the first commit, which was made {was} (see "
            f"{describe(key[0], experiment.namespace, key[1])}), and all variants descend from it. {back}; "
            "for other files start a new experiment with another eden_name."
        )
    ]


def check_password(cluster: Cluster, state: ClusterState, experiment: Experiment) -> list[CollectionError]:
    """The problem of a database password that is not the one of the database.

    Postgres reads it only when it creates its database. The digest on its pods tells whether it is the same.
    """
    topology = experiment.topology
    name = topology["names"]["credentials"]
    database = state.objects.get(("StatefulSet", topology["components"][DATABASE]["name"]))
    claim = state.objects["PersistentVolumeClaim", topology["claims"][DATABASE]]
    digests, values = _digests(experiment, state.objects.get(("Secret", name)))
    changed = experiment.inputs["eden_database_password_changed"]
    if changed or not isinstance(database, dict) or not is_bound(claim) or not digests[DATABASE]:
        return []
    digest = _deployed_digest(database)
    if digest in ("", digests[DATABASE]):
        return []
    deployed = _secret_name(database) or name
    if deployed != name:
        old_digests, old = _digests(experiment, _read_secret(cluster, experiment.namespace, deployed))
        known = old_digests[DATABASE] == digest
        if known and old[PASSWORD] == values[PASSWORD]:
            return []
    else:
        # The digest of another component is the same only with the same key.
        known = any(
            digests.get(component) and digests[component] == _deployed_digest(live)
            for component, spec in topology["components"].items()
            for kind in ("StatefulSet", "Deployment")
            if isinstance(live := state.objects.get((kind, spec["name"])), dict)
        )
    return [_password_problem(experiment, deployed, name, known)]


def _password_problem(experiment: Experiment, deployed: str, name: str, known: bool) -> CollectionError:
    namespace, topology = experiment.namespace, experiment.topology
    url = urlsplit(topology["urls"][DATABASE])
    new, old = describe("Secret", namespace, name), describe("Secret", namespace, deployed)
    source = f"from {old}" if deployed != name else "when it was created"
    problem = (
        f"{new} has another {PASSWORD} than the one that the database got {source}, and the database keeps "
        "it: the task store could not log in any more."
        if known
        else f"Whether {PASSWORD} in {new} is that of the database, which got it {source}, cannot be told: "
        f"{topology['digest_key']}, with which digests of passwords are keyed, has changed too, or that "
        "Secret is gone."
    )
    return InputError(
        f"{problem} Put the password of the database into the Secret, or give its role the new one: kubectl "
        f"exec -it {topology['components'][DATABASE]['name']}-0 --namespace {namespace} -- psql -U "
        f"{url.username} {url.path[1:]}, then \\password. Once the two are the same, run with "
        "-e eden_database_password_changed=true."
    )


def _deployed_digest(workload: Object) -> str:
    """The digest on the pod template; empty if there is none, or others have changed it."""
    place = ("spec", "template", "metadata", "annotations", DIGEST_ANNOTATION)
    return "" if set_by_others(workload, *place) else _annotation(workload["spec"]["template"], place[-1])


def _digests(experiment: Experiment, secret: t.Any) -> tuple[dict[str, str], credentials.Values]:
    """The digests of a Secret's values by component, which are empty for missing values, and the values."""
    values = decoded(secret) if isinstance(secret, dict) else {}
    topology = experiment.topology
    return credentials.digests(values, topology["readers"], topology["digest_key"]), values


def _secret_name(workload: Object) -> str:
    """The Secret from which the pods read the password."""
    references = (
        variable.get("valueFrom", {}).get("secretKeyRef") or {}
        for container in workload["spec"]["template"]["spec"]["containers"]
        for variable in container.get("env") or []
    )
    return next((str(found["name"]) for found in references if found.get("key") == PASSWORD), "")


def _read_secret(cluster: Cluster, namespace: str, name: str) -> Object | None:
    """A Secret of an earlier run; None if it is gone, or the user may not read it any more."""
    try:
        return cluster.read("Secret", namespace, name)
    except ClusterError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise


def _annotation(live: Object, name: str) -> str:
    return str((live.get("metadata", {}).get("annotations") or {}).get(name, ""))


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version; none if it is not one."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else ()
