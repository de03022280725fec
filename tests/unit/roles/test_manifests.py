# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rendered manifests must hold, for every case of inputs."""

from __future__ import annotations

import json
import re
import typing as t

import kubernetes_validate
import pytest
import yaml
from manifest_cases import CASES, COMMIT, EXPERIMENT_ID, Manifests
from truth_table import COMPONENTS_OF_WORKERS, CONFIG_READERS, LASTING, READERS

from ansible_collections.eden.reference.plugins.module_utils._eden.trial import TRIAL_LABEL

OLDEST = (1, 27)
NEWEST = tuple(int(part) for part in kubernetes_validate.latest_version().split(".")[:2])
VERSIONS = [f"{OLDEST[0]}.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
VOLUMES = {"emptyDir", "configMap", "secret", "persistentVolumeClaim", "projected"}
WORKLOADS = ("StatefulSet", "Deployment", "Job")


@pytest.fixture(params=CASES)
def objects(request: pytest.FixtureRequest, manifests: dict[str, Manifests]) -> Manifests:
    """The objects of each case."""
    return manifests[request.param]


def pods(objects: Manifests) -> dict[str, dict[str, t.Any]]:
    """The pod template of each workload, by the workload's name."""
    return {
        item["metadata"]["name"]: item["spec"]["template"] for item in objects if item["kind"] in WORKLOADS
    }


def named(objects: Manifests, kind: str, name: str) -> dict[str, t.Any]:
    """One object."""
    return next(item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_fit_the_schema(objects: Manifests, version: str) -> None:
    for item in objects:
        kubernetes_validate.validate(item, version, strict=True)


def test_names_and_labels_fit_and_are_unique(objects: Manifests) -> None:
    keys = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(set(keys)) == len(keys)
    for item in objects:
        # Ten characters and a hyphen are what a controller adds for the label controller-revision-hash.
        longest = 52 if item["kind"] == "StatefulSet" else 63
        assert len(item["metadata"]["name"]) <= longest
        assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", item["metadata"]["name"])
        for value in (item["metadata"].get("labels") or {}).values():
            assert len(value) <= 63
            assert re.fullmatch("([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", value)


def test_every_object_says_whose_it_is(objects: Manifests) -> None:
    for item in objects:
        if item["kind"] != "Namespace":
            assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "eden.reference"
            assert item["metadata"]["labels"]["app.kubernetes.io/instance"]


def test_selectors_are_carried_and_pick_one_workload(objects: Manifests) -> None:
    templates = pods(objects)
    for item in objects:
        if item["kind"] in ("StatefulSet", "Deployment"):
            wanted = item["spec"]["selector"]["matchLabels"].items()
            picked = [name for name, pod in templates.items() if wanted <= pod["metadata"]["labels"].items()]
            assert picked == [item["metadata"]["name"]]
        if item["kind"] == "Service":
            wanted = item["spec"]["selector"].items()
            picked = [name for name, pod in templates.items() if wanted <= pod["metadata"]["labels"].items()]
            assert len(picked) <= 1


def test_pods_meet_pod_security_restricted(objects: Manifests) -> None:
    for pod in pods(objects).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        for volume in spec["volumes"]:
            known = {"emptyDir", "configMap", "projected", "secret", "persistentVolumeClaim"}
            assert set(volume) - {"name"} <= known


def test_containers_have_requests_and_services_a_startup_probe(objects: Manifests) -> None:
    for pod in pods(objects).values():
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        for container in pod["spec"]["containers"]:
            # The container `command` answers its host only.
            if container["name"] in LASTING:
                assert container["startupProbe"]["periodSeconds"] == 1
                assert container["startupProbe"]["failureThreshold"] in (300, 900)
                assert "initialDelaySeconds" not in json.dumps(container)


@pytest.mark.parametrize(
    ("case", "hosts"),
    [
        ("plain", {"ideator-host": 140, "executor-host": 620, "evaluator-host": 320}),
        # The deadlines of the experiment config.
        ("strings", {"ideator-host": 140, "executor-host": 21, "evaluator-host": 100020}),
    ],
)
def test_a_pod_has_the_time_that_its_longest_task_takes(
    case: str, hosts: dict[str, int], manifests: dict[str, Manifests]
) -> None:
    grace = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["spec"].get(
            "terminationGracePeriodSeconds"
        )
        for pod in pods(manifests[case]).values()
    }
    assert grace == {
        "postgres": 60,
        "forgejo": 30,
        "provision": None,
        "seed": None,
        "task-store-server": 30,
        "orchestrator": 60,
        "web-ui": 30,
        **hosts,
    }


def test_startup_follows_the_timeout_and_slow_is_not_dead(manifests: dict[str, Manifests]) -> None:
    for case, seconds in (("plain", 300), ("knobs", 900)):
        for pod in pods(manifests[case]).values():
            (container,) = pod["spec"]["containers"]
            if "startupProbe" in container:
                assert container["startupProbe"]["failureThreshold"] == seconds
            if "livenessProbe" in container:
                alive, ready = container["livenessProbe"], container["readinessProbe"]
                assert alive["timeoutSeconds"] > ready["timeoutSeconds"]
                assert alive["periodSeconds"] * alive["failureThreshold"] >= 60
    (forgejo,) = named(manifests["knobs"], "StatefulSet", "knobs-forgejo")["spec"]["template"]["spec"][
        "containers"
    ]
    assert forgejo["lifecycle"]["postStart"]["exec"]["command"][-1] == "900"


def test_postgres_is_ready_when_its_database_answers(manifests: dict[str, Manifests]) -> None:
    (container,) = named(manifests["plain"], "StatefulSet", "plain-postgres")["spec"]["template"]["spec"][
        "containers"
    ]
    command = container["readinessProbe"]["exec"]["command"][-1]
    assert '-d "$POSTGRES_DB"' in command
    assert "SELECT 1" in command


def test_each_pod_sees_the_keys_that_it_reads_and_no_other(manifests: dict[str, Manifests]) -> None:
    found: dict[str, set[str]] = {}
    for pod in pods(manifests["plain"]).values():
        for container in pod["spec"]["containers"]:
            assert "envFrom" not in container
            for variable in container.get("env", []):
                if "valueFrom" in variable:
                    component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
                    found.setdefault(component, set()).add(variable["valueFrom"]["secretKeyRef"]["key"])
    assert found == READERS


def test_pods_restart_for_what_they_read_and_nothing_else(manifests: dict[str, Manifests]) -> None:
    for pod in pods(manifests["plain"]).values():
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        if component in LASTING:
            reads = component in READERS
            annotations = pod["metadata"]["annotations"]
            assert ("eden.reference/credentials" in annotations) == reads
            assert annotations.get("eden.reference/credentials", component * 4) == component * 4
            assert ("eden.reference/experiment-config" in annotations) == (component in CONFIG_READERS)


def test_secrets_are_no_arguments(objects: Manifests) -> None:
    for pod in pods(objects).values():
        for container in pod["spec"]["containers"]:
            assert "$(" not in json.dumps([container.get("command"), container.get("args")])


def test_each_worker_pod_mounts_its_own_identity_only(objects: Manifests) -> None:
    secrets = []
    for pod in pods(objects).values():
        mounted = [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume]
        assert len(mounted) <= 1
        secrets += mounted
    assert len(secrets) == len(set(secrets))
    assert not [secret for secret in secrets if "operator" in secret]


def test_the_token_lies_where_its_service_looks(manifests: dict[str, Manifests]) -> None:
    workers = 0
    for pod in pods(manifests["plain"]).values():
        (container,) = pod["spec"]["containers"]
        flags = dict(
            flag.split("=", 1) for flag in container.get("args", []) if re.match(r"--[a-z-]+=", flag)
        )
        if "--worker-id" not in flags:
            continue
        workers += 1
        directory = "/var/lib/eden/credentials"
        # The web UI, alone, keeps its tokens by experiment.
        if "--credential-dir" in flags:
            directory = f"{flags['--credential-dir']}/{flags['--experiment-id']}"
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["credentials"] == directory
        assert mounts["identity"] == f"{directory}/{flags['--worker-id']}.token"
    assert workers == len(COMPONENTS_OF_WORKERS)


def test_replicas_are_workers_of_their_own(manifests: dict[str, Manifests]) -> None:
    objects = manifests["knobs"]
    ids = set()
    for replica in (1, 2, 3):
        executor = named(objects, "StatefulSet", f"knobs-executor-host-{replica}")
        assert executor["spec"]["replicas"] == 1
        (container,) = executor["spec"]["template"]["spec"]["containers"]
        ids |= {argument for argument in container["args"] if argument.startswith("--worker-id=")}
    assert len(ids) == 3
    assert not [
        item for item in objects if item["kind"] == "StatefulSet" and "web-ui" in item["metadata"]["name"]
    ]


def test_a_further_replica_changes_no_other(manifests: dict[str, Manifests]) -> None:
    def annotations(objects: Manifests, name: str) -> t.Any:
        return named(objects, "StatefulSet", name)["spec"]["template"]["metadata"]["annotations"]

    one, three = (annotations(manifests[case], f"{case}-evaluator-host-1") for case in ("plain", "knobs"))
    assert set(one) == set(three)


def test_knobs_reach_every_pod(manifests: dict[str, Manifests]) -> None:
    case = CASES["knobs"]
    for name, pod in pods(manifests["knobs"]).items():
        spec = pod["spec"]
        assert spec["nodeSelector"] == case["eden_node_selector"]
        assert spec["tolerations"] == case["eden_tolerations"]
        assert spec["affinity"] == case["eden_affinity"]
        assert spec["imagePullSecrets"] == [{"name": "first"}, {"name": "second"}]
        (container,) = spec["containers"]
        if name.endswith(("postgres", "forgejo")):
            assert container["image"] != case["eden_image"]
        else:
            assert container["image"] == case["eden_image"]
            assert container["imagePullPolicy"] == "Always"
            assert container["resources"] == case["eden_resources"]


def test_claims_name_class_size_and_experiment(manifests: dict[str, Manifests]) -> None:
    claims = {
        (item["metadata"]["name"], claim["metadata"]["name"]): claim
        for item in manifests["knobs"]
        if item["kind"] == "StatefulSet"
        for claim in item["spec"].get("volumeClaimTemplates", [])
    }
    claims["blob", ""] = named(manifests["knobs"], "PersistentVolumeClaim", "knobs-blob")
    assert claims["knobs-postgres", "data"]["spec"]["resources"]["requests"]["storage"] == "2Gi"
    for claim in claims.values():
        assert claim["spec"]["storageClassName"] == "fast"
        assert claim["metadata"]["labels"]["eden.reference/experiment-id"] == EXPERIMENT_ID


def test_clones_are_no_claims_and_limited(manifests: dict[str, Manifests]) -> None:
    limits = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: volume["emptyDir"]["sizeLimit"]
        for pod in pods(manifests["plain"]).values()
        for volume in pod["spec"]["volumes"]
        if volume["name"] == "repo"
    }
    assert limits == {"orchestrator": "5Gi", "executor-host": "5Gi", "web-ui": "5Gi"}


def test_each_claim_without_a_statefulset_is_provisioned_by_a_pod_like_its_service(
    manifests: dict[str, Manifests],
) -> None:
    placement = ("nodeSelector", "tolerations", "affinity", "securityContext", "imagePullSecrets")
    for case, claims in (("plain", {"plain-blob", "plain-artifacts"}), ("knobs", {"knobs-blob"})):
        objects = manifests[case]
        assert {
            item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"
        } == claims
        service = named(objects, "Deployment", f"{case}-task-store-server")["spec"]["template"]["spec"]
        binding = [pod["spec"] for name, pod in pods(objects).items() if f"{case}-provision-" in name]
        for spec in binding:
            assert {key: spec[key] for key in placement} == {key: service[key] for key in placement}
            assert spec["containers"][0]["image"] == service["containers"][0]["image"]
        assert {spec["volumes"][-1]["persistentVolumeClaim"]["claimName"] for spec in binding} == claims


def test_default_class_is_left_to_the_cluster(manifests: dict[str, Manifests]) -> None:
    assert "storageClassName" not in json.dumps(manifests["plain"])


def test_store_url_has_no_password(objects: Manifests) -> None:
    urls = re.findall(r"postgresql://[^\s\"]+", json.dumps(objects))
    assert urls
    assert all(":" not in url.removeprefix("postgresql://").partition("@")[0] for url in urls)


def test_seed_commit_reaches_who_needs_it(manifests: dict[str, Manifests]) -> None:
    with_commit = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for pod in pods(manifests["plain"]).values()
        if f"--base-commit-sha={COMMIT}" in pod["spec"]["containers"][0].get("args", [])
    }
    assert with_commit == {"task-store-server", "ideator-host", "web-ui"}


def test_existing_secret_is_the_one_that_pods_read(manifests: dict[str, Manifests]) -> None:
    names = set(re.findall(r'"secretKeyRef": \{"name": "([^"]+)"', json.dumps(manifests["knobs"])))
    assert names == {"given"}


def test_evictions_take_one_pod_of_a_service_at_a_time(objects: Manifests) -> None:
    budgets = [item["spec"] for item in objects if item["kind"] == "PodDisruptionBudget"]
    for name, pod in pods(objects).items():
        labels = pod["metadata"]["labels"]
        component = labels["app.kubernetes.io/component"]
        covering = [
            budget for budget in budgets if budget["selector"]["matchLabels"].items() <= labels.items()
        ]
        assert len(covering) == (component in LASTING), name
    # With a pod of a Job among its own, no budget allows any eviction.
    for budget in budgets:
        assert {"key": TRIAL_LABEL, "operator": "DoesNotExist"} in budget["selector"]["matchExpressions"]


def test_how_many_pods_evictions_take_is_an_input(manifests: dict[str, Manifests]) -> None:
    for case, number in (("plain", 1), ("knobs", 0)):
        budgets = [item["spec"] for item in manifests[case] if item["kind"] == "PodDisruptionBudget"]
        assert {budget["maxUnavailable"] for budget in budgets} == {number}


def test_ingress_leads_to_the_web_ui_where_it_is_wanted(manifests: dict[str, Manifests]) -> None:
    assert not [item for item in manifests["plain"] if item["kind"] == "Ingress"]
    ingress = named(manifests["knobs"], "Ingress", "knobs-web-ui")
    assert ingress["metadata"]["annotations"] == {"example.com/login": "sso"}
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": ["eden.example.com"], "secretName": "eden-tls"}]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = named(manifests["knobs"], "Service", path["backend"]["service"]["name"])
    assert rule["host"] == "eden.example.com"
    assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def test_namespace_is_labelled_only_if_it_is_managed(manifests: dict[str, Manifests]) -> None:
    labels = named(manifests["plain"], "Namespace", "plain")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not [item for item in manifests["knobs"] if item["kind"] == "Namespace"]


def test_strings_arrive_as_they_were_given(manifests: dict[str, Manifests]) -> None:
    objects, case = manifests["strings"], CASES["strings"]
    config = named(objects, "ConfigMap", "strings-experiment-config")["data"]["experiment-config.yaml"]
    # The checks' own text of the mapping, which keeps the characters.
    assert "🚀" in yaml.safe_load(config)["objective"]["expr"]
    for name, pod in pods(objects).items():
        spec = pod["spec"]
        assert spec["nodeSelector"] == case["eden_node_selector"], name
        assert spec["imagePullSecrets"] == [{"name": "null"}, {"name": "1e3"}]
        assert set(re.findall(r'"secretKeyRef": \{"name": "([^"]+)"', json.dumps(spec))) <= {"0x10"}
    for claim in [item for item in objects if item["kind"] == "PersistentVolumeClaim"]:
        assert claim["spec"]["storageClassName"] == "1e3"
    ingress = named(objects, "Ingress", "strings-web-ui")
    assert ingress["metadata"]["annotations"] == case["eden_ingress"]["annotations"]
    assert ingress["spec"]["ingressClassName"] == "off"
