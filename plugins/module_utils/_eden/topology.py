# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Derives everything about an experiment from the catalogue of components and a few inputs.

The catalogue is ``roles/eden/vars/main/components.yml``, whose header describes its fields.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

from ansible_collections.eden.reference.plugins.module_utils._collection import (
    MANAGED_BY_LABEL,
    NAME,
    VERSION,
)

Catalogue = t.Mapping[str, t.Mapping[str, t.Any]]
Labels = dict[str, str]

MAX_NAME = 63
# A controller adds ten characters and a hyphen for the label controller-revision-hash.
MAX_STATEFULSET_NAME = MAX_NAME - 11
JOB = "Job"
USER = 1000
# Keys the digests of credentials. Never rotated, because it encrypts data in Forgejo.
DIGEST_KEY = "FORGEJO_SECRET_KEY"
# The modes of a host, and where its command runs in the latter.
SCRIPTED, SUBPROCESS = "scripted", "subprocess"
HOST, BESIDE = "host", "beside"
# The volume of the files that the hosts, the task store and the web UI share.
ARTIFACTS = "artifacts"
# The options of a host that its manifests need.
WORKER: dict[str, t.Any] = {
    "image": "",
    "image_pull_policy": "IfNotPresent",
    "resources": {},
    "node_selector": {},
    "tolerations": [],
    "runtime_class": "",
    "env_secret": "",
    "egress": [],
    "pass_credential": False,
}
# Objects that belong to no single component.
SHARED = (
    "credentials",
    "experiment",
    "experiment-config",
    "git-credential-helper",
    "forgejo-user",
    "postgres-start",
    "seed",
    "experiment-files",
    "seed-files",
    "commands",
)


class Inputs(t.NamedTuple):
    """The inputs that the topology depends on."""

    name: str
    replicas: t.Mapping[str, int] = {}
    storage_sizes: t.Mapping[str, str] = {}
    # Name of the user's own Secret with the credentials, if there is one.
    credentials: str = ""
    # Whether changed pods are tried in pods of their own.
    trial: bool = True
    # The options of the hosts, by their keys in eden_workers.
    workers: t.Mapping[str, t.Mapping[str, t.Any]] = {}


def topology(catalogue: Catalogue, inputs: Inputs) -> dict[str, t.Any]:
    """The topology, as the roles read it; see the filter's documentation.

    Raises:
        ValueError: a name that Kubernetes does not accept.
    """
    shares = is_subprocess_used(catalogue, inputs)
    catalogue = _effective(catalogue, inputs)
    instances = {component: _instances(catalogue, component, inputs) for component in catalogue}
    workloads = [instance for found in instances.values() for instance in found]
    workers = [worker for component in catalogue for worker in _workers(catalogue, component, inputs)]
    running = [component for component, spec in catalogue.items() if "kind" in spec]
    return {
        "names": {
            **{part: object_name(inputs.name, part) for part in (*SHARED, *running)},
            **({"credentials": inputs.credentials} if inputs.credentials else {}),
        },
        "labels": labels(inputs),
        "collection_version": VERSION,
        "selector": selector(inputs),
        "components": {
            component: {
                **_component(catalogue, component, inputs),
                "shares_artifacts": shares and ARTIFACTS in catalogue[component].get("volumes", {}),
                "instances": instances[component],
            }
            for component in running
        },
        "ports": {component: spec["port"] for component, spec in catalogue.items() if "port" in spec},
        "addresses": {
            component: _address(spec, component, inputs)
            for component, spec in catalogue.items()
            if "port" in spec
        },
        "urls": {
            component: str(spec["url"]).format(address=_address(spec, component, inputs))
            for component, spec in catalogue.items()
            if "port" in spec
        },
        "workers": workers,
        "identities": [
            {"name": worker["name"], "secret": worker["secret"], "labels": labels(inputs)}
            for worker in workers
        ],
        "groups": _groups(workers),
        "workloads": _by_phase(workloads),
        "edges": edges(catalogue),
        "readers": {
            component: list(spec["reads"]) for component, spec in catalogue.items() if "reads" in spec
        },
        "restarts": _restarts(catalogue, inputs),
        "credential_keys": sorted({key for spec in catalogue.values() for key in spec.get("reads", ())}),
        "digest_key": DIGEST_KEY,
        "claims": {claim["key"]: claim["name"] for claim in _claims(catalogue, inputs)},
        "own_claims": [
            claim
            for claim in _claims(catalogue, inputs)
            if not claim["workload"]
            and (count(catalogue[claim["component"]], inputs) or (shares and claim["volume"] == ARTIFACTS))
        ],
        "shares_artifacts": shares,
        "shared_node_selector": {
            label: value
            for spec in catalogue.values()
            if mode(spec, inputs) == SUBPROCESS
            for label, value in (_worker_options(spec, inputs).get("node_selector") or {}).items()
        },
        "volumes": [_volume(claim, catalogue, inputs) for claim in _claims(catalogue, inputs)],
        "objects": [
            *({"kind": workload["kind"], "name": workload["name"]} for workload in workloads),
            *(
                {"kind": "Service", "name": object_name(inputs.name, component)}
                for component, spec in catalogue.items()
                if "port" in spec
            ),
            *({"kind": "ConfigMap", "name": name} for name in _host_configmaps(catalogue, inputs)),
        ],
        "budgets": [component for component in running if catalogue[component]["kind"] != JOB],
    }


def object_name(release: str, *parts: str, longest: int = MAX_NAME) -> str:
    """The name of an object of the release."""
    name = "-".join((release, *parts))
    if len(name) > longest:
        raise ValueError(f"the name {name} is longer than {longest} characters")
    return name


def selector(inputs: Inputs, component: str = "", replica: int = 0) -> Labels:
    """The labels that select the pods of a component, or of one of its replicas."""
    return {
        "app.kubernetes.io/name": "eden",
        "app.kubernetes.io/instance": inputs.name,
        **({"app.kubernetes.io/component": component} if component else {}),
        **({f"{NAME}/replica": str(replica)} if replica else {}),
    }


def labels(inputs: Inputs, component: str = "", phase: str = "", replica: int = 0) -> Labels:
    """The labels of an object."""
    return {
        **selector(inputs, component, replica),
        "app.kubernetes.io/part-of": "eden",
        MANAGED_BY_LABEL: NAME,
        **({f"{NAME}/phase": phase} if phase else {}),
    }


def count(spec: t.Mapping[str, t.Any], inputs: Inputs) -> int:
    """How many replicas a component has."""
    limits = spec.get("replicas")
    if not limits:
        return 1
    given = _worker_options(spec, inputs).get("replicas")
    return int(inputs.replicas.get(limits["input"], limits["default"]) if given is None else given)


def _worker_options(spec: t.Mapping[str, t.Any], inputs: Inputs) -> t.Mapping[str, t.Any]:
    """The options of a host; those of other components are none."""
    return inputs.workers.get(spec.get("replicas", {}).get("input", ""), {})


def mode(spec: t.Mapping[str, t.Any], inputs: Inputs) -> str:
    """The mode of a host; of other components the empty string."""
    if "command" not in spec.get(SUBPROCESS, {}):
        return ""
    return str(_worker_options(spec, inputs).get("mode") or SCRIPTED)


def is_subprocess_used(catalogue: Catalogue, inputs: Inputs) -> bool:
    """Whether a host runs commands."""
    return any(mode(spec, inputs) == SUBPROCESS for spec in catalogue.values())


def _placement(spec: t.Mapping[str, t.Any], inputs: Inputs) -> str:
    """Where the command of a host runs; empty if it runs none."""
    if mode(spec, inputs) != SUBPROCESS:
        return ""
    options = _worker_options(spec, inputs)
    return str(options.get("placement") or (BESIDE if options.get("image") else HOST))


def _effective(catalogue: Catalogue, inputs: Inputs) -> Catalogue:
    """The catalogue with what commands add: to a host its own, to other components those of any host."""
    used = is_subprocess_used(catalogue, inputs)
    return {
        component: _added(spec, spec[SUBPROCESS])
        if SUBPROCESS in spec and used and mode(spec, inputs) in ("", SUBPROCESS)
        else spec
        for component, spec in catalogue.items()
    }


def _added(spec: t.Mapping[str, t.Any], more: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """An entry of the catalogue with further lists and mappings."""
    merged = dict(spec)
    for key, value in more.items():
        if isinstance(value, dict):
            merged[key] = {**spec.get(key, {}), **value}
        elif isinstance(value, list):
            merged[key] = [*spec.get(key, ()), *(entry for entry in value if entry not in spec.get(key, ()))]
    return merged


def _config(spec: t.Mapping[str, t.Any], component: str, inputs: Inputs) -> str:
    """The ConfigMap of the experiment config that a component reads: with a command, one of its own."""
    own = mode(spec, inputs) == SUBPROCESS
    return object_name(inputs.name, *((component, "config") if own else ("experiment-config",)))


def _host_configmaps(catalogue: Catalogue, inputs: Inputs) -> list[str]:
    """The ConfigMaps that only hosts with commands have."""
    hosts = {component: spec for component, spec in catalogue.items() if mode(spec, inputs) == SUBPROCESS}
    beside = any(_placement(spec, inputs) == BESIDE for spec in hosts.values())
    configs = [_config(spec, component, inputs) for component, spec in hosts.items()]
    return [*configs, *([object_name(inputs.name, "commands")] if beside else [])]


def edges(catalogue: Catalogue) -> list[dict[str, t.Any]]:
    """Which component connects to which, and to which port."""
    return [
        {"client": client, "server": server, "port": catalogue[server]["port"]}
        for client, spec in catalogue.items()
        for server in spec.get("connects_to", ())
    ]


def _address(spec: t.Mapping[str, t.Any], component: str, inputs: Inputs) -> str:
    return f"{object_name(inputs.name, component)}:{spec['port']}"


def _component(catalogue: Catalogue, component: str, inputs: Inputs) -> dict[str, t.Any]:
    """What the manifests of a component need."""
    spec = catalogue[component]
    phase = spec["phase"]
    variables = spec.get("variables", {})
    claims = {(claim["component"], claim["volume"]): claim["name"] for claim in _claims(catalogue, inputs)}
    claims |= {
        (component, volume): object_name(inputs.name, volume)
        for volume, details in spec.get("volumes", {}).items()
        if details.get("claim") == "shared"
    }
    return {
        "name": object_name(inputs.name, component),
        "kind": spec["kind"],
        "phase": phase,
        "package": _package(component),
        "labels": labels(inputs, component, phase),
        "selector": selector(inputs, component),
        "port": spec.get("port"),
        "port_name": urlsplit(spec.get("url", "")).scheme,
        "user": spec.get("user", USER),
        "replicas": count(spec, inputs),
        "grace": dict(spec.get("grace", {})),
        "environment": {variables.get(key, key): key for key in spec.get("reads", ())},
        "configmaps": list(spec.get("configmaps", ())),
        "requests": dict(spec["requests"]),
        "peers": spec.get("peers", ""),
        "egress": spec.get("egress", ""),
        "mode": mode(spec, inputs),
        "placement": _placement(spec, inputs),
        "image": str(_worker_options(spec, inputs).get("image") or ""),
        "worker": {key: _worker_options(spec, inputs).get(key) or value for key, value in WORKER.items()},
        "command": spec.get(SUBPROCESS, {}).get("command", ""),
        "config": _config(spec, component, inputs),
        "paths": {volume: details["path"] for volume, details in spec.get("volumes", {}).items()},
        "volumes": [
            {
                "name": volume,
                "path": details["path"],
                "size": "" if details.get("claim") == "shared" else _size(details, inputs),
                "source": details.get("claim", "node"),
                "claim": claims.get((component, volume), ""),
                "read_only": details.get("read_only", False),
            }
            for volume, details in spec.get("volumes", {}).items()
        ],
    }


def _package(component: str) -> str:
    """EDEN's Python package for a component."""
    return f"eden_{component.replace('-', '_')}"


def _restarts(catalogue: Catalogue, inputs: Inputs) -> dict[str, t.Any]:
    """What precedes the restart of a component, as the module ``apply`` takes it."""
    return {
        "selector": ",".join(f"{key}={value}" for key, value in labels(inputs).items()),
        "stages": {
            component: spec["stop_stage"] for component, spec in catalogue.items() if "stop_stage" in spec
        },
        "stops": {component: spec["stops"] for component, spec in catalogue.items() if "stops" in spec},
        "trials": {
            component: _trial(spec, component, inputs)
            for component, spec in catalogue.items()
            if "trial" in spec and inputs.trial
        },
    }


def _trial(spec: t.Mapping[str, t.Any], component: str, inputs: Inputs) -> dict[str, t.Any]:
    """What a pod of the component's new image runs before a running one is replaced."""
    trial = spec["trial"]
    command = [_package(component) if word == "{package}" else str(word) for word in trial["command"]]
    own = _own_fields(spec, inputs)
    return {**trial, "command": command, **({"own": own} if own else {})}


def _own_fields(spec: t.Mapping[str, t.Any], inputs: Inputs) -> list[str]:
    """The fields of a host's pod, and of the host's container, that its own options set."""
    options, placement = _worker_options(spec, inputs), _placement(spec, inputs)
    fields = {"nodeSelector": "node_selector", "tolerations": "tolerations"}
    if placement != BESIDE:
        fields |= {"resources": "resources"}
    if placement == HOST:
        fields |= {"image": "image", "imagePullPolicy": "image"}
    return [field for field, option in fields.items() if options.get(option)]


def _instances(catalogue: Catalogue, component: str, inputs: Inputs) -> list[dict[str, t.Any]]:
    """The workloads of a component: one per worker, and none for Jobs, whose names other roles choose."""
    spec = catalogue[component]
    if spec.get("kind", JOB) == JOB:
        return []
    workers = _workers(catalogue, component, inputs) if "identity" in spec else [None]
    return [
        {
            "kind": spec["kind"],
            "name": worker["workload"]["name"] if worker else object_name(inputs.name, component),
            "phase": spec["phase"],
            "component": component,
            "labels": labels(inputs, component, spec["phase"], worker["replica"] if worker else 0),
            "selector": selector(inputs, component, worker["replica"] if worker else 0),
            "worker": worker,
        }
        for worker in workers
    ]


def _workers(catalogue: Catalogue, component: str, inputs: Inputs) -> list[dict[str, t.Any]]:
    """The workers of a component: one for each replica, each with a Secret of its own."""
    spec = catalogue[component]
    if "identity" not in spec:
        return []
    return [_worker(spec, component, replica, inputs) for replica in range(1, count(spec, inputs) + 1)]


def _worker(spec: t.Mapping[str, t.Any], component: str, replica: int, inputs: Inputs) -> dict[str, t.Any]:
    numbered = f"{component}-{replica}"
    name = numbered if spec["identity"]["numbered"] else component
    # A component of at most one replica has no number in its name.
    several = spec.get("replicas", {}).get("max", 1) > 1
    workload = {
        "kind": spec.get("kind"),
        "name": object_name(inputs.name, numbered if several else component, longest=MAX_STATEFULSET_NAME),
        "phase": spec.get("phase"),
        "component": component,
    }
    return {
        "name": name,
        "component": component,
        "replica": replica,
        "workload": workload if "kind" in spec else None,
        "secret": object_name(inputs.name, name, "identity"),
        "groups": list(spec["identity"]["groups"]),
    }


def _groups(workers: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    members: dict[str, list[str]] = {}
    for worker in workers:
        for group in worker["groups"]:
            members.setdefault(group, []).append(worker["name"])
    return [{"name": group, "members": found} for group, found in members.items()]


def _by_phase(workloads: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, list[dict[str, str]]]:
    """The workloads as the rollout takes them, by the phase that makes them."""
    found: dict[str, list[dict[str, str]]] = {}
    for workload in workloads:
        entry = {key: workload[key] for key in ("kind", "name", "phase", "component")}
        found.setdefault(workload["phase"], []).append(entry)
    return found


def _claims(catalogue: Catalogue, inputs: Inputs) -> list[dict[str, str]]:
    """The claims of all volumes that own one; ``workload`` is the StatefulSet that creates it, if any."""
    return [
        {
            "key": details["size"],
            "component": component,
            "volume": volume,
            "size": _size(details, inputs),
            "access_mode": details.get("access_mode", ""),
            **_claim_name(component, volume, details, inputs),
        }
        for component, spec in catalogue.items()
        for volume, details in spec.get("volumes", {}).items()
        if details.get("claim", "shared") != "shared"
    ]


def _claim_name(component: str, volume: str, details: t.Mapping[str, str], inputs: Inputs) -> dict[str, str]:
    if details["claim"] == "own":
        return {"name": object_name(inputs.name, volume), "workload": ""}
    workload = object_name(inputs.name, component)
    return {"name": f"{volume}-{workload}-0", "workload": workload}


def _volume(claim: t.Mapping[str, str], catalogue: Catalogue, inputs: Inputs) -> dict[str, t.Any]:
    """A claim as preflight takes it."""
    spec = catalogue[claim["component"]]
    details = spec["volumes"][claim["volume"]]
    return {
        "name": claim["name"],
        "content": details["content"],
        "without_backup": details["without_backup"],
        "created_before": _created_before(spec, claim["component"], inputs),
        "workload": claim["workload"],
        "claim": claim["volume"] if claim["workload"] else claim["name"],
        "size": claim["size"],
        "variable": f"eden_storage_sizes.{claim['key']}",
    }


def _created_before(spec: t.Mapping[str, t.Any], component: str, inputs: Inputs) -> dict[str, str] | None:
    """An object that is created after the claims of a component; None while it needs no claim.

    A component that can have no replicas may be added at any time, and its workload comes after its claims.
    """
    if "min" in spec.get("replicas", {}) and not spec["replicas"]["min"]:
        workload = {"kind": spec["kind"], "name": object_name(inputs.name, component)}
        return workload if count(spec, inputs) else None
    return {"kind": "ConfigMap", "name": object_name(inputs.name, "seed")}


def _size(details: t.Mapping[str, str], inputs: Inputs) -> str:
    return str(inputs.storage_sizes.get(details["size"], details["default"]))
