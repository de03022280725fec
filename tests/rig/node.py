# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays the node of a thin control plane: its kubelet, the scheduler, and the binder of volumes.

The controllers are the real ones. A pod runs once what it mounts and reads is there. A Job's pod succeeds at
once unless a test lets it fail. A worker's needs a token that the task store accepts, and then does nothing.
For the task store's pod the stand-in really starts, with the arguments of the pod and a database (SQLite)
that outlives it.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import datetime
import http.client
import json
import subprocess
import sys
import threading
import typing as t
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from control_plane import ControlPlane, die_with_parent, stop
from fake_kubelet import NODE, FakeKubelet
from fault_proxy import FaultProxy
from kube import MERGE, PATHS, STRATEGIC, Kube, KubeError, Object
from traffic import Traffic
from truth_table import SEED_COMMIT

STANDIN = Path(__file__).resolve().parents[1] / "standin" / "src"
# What the playbook needs of kube-controller-manager.
CONTROLLERS = (
    "deployment-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
)
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
POD_IP = "127.0.0.1"
PORT = 8080
# What a Job's pod says that is to fail.
FAILURE = "fatal: unable to access the repository: the forge answers 502\n"
# Between two looks at what a pod waits for, and between two starts of a container that ended.
LOOK_SECONDS = 0.1
BACK_OFF_SECONDS = 0.5
# So long may what is under way take when the node ends.
ENDING_SECONDS = 10.0
# The API server gives up a patch that comes between too many others.
ATTEMPTS = 100

Key = tuple[str, str]


class NotYet(Exception):
    """A container cannot run: reason and message as a kubelet gives them; whether it had begun and ended."""

    def __init__(self, reason: str, message: str, ended: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.ended = ended


class TaskStore:
    """The stand-in's task store of one namespace: a process for each pod, a database for all of them.

    Attributes:
        traffic: the requests that come through port-forwards.
        arguments: those that the process was started with.
        tokens: every token that it has issued.
    """

    def __init__(self, directory: Path, traffic: Traffic, spawner: Executor) -> None:
        self.traffic = traffic
        self.arguments: list[str] = []
        self.tokens: set[str] = set()
        self._directory = directory
        self._spawner = spawner
        self._process: subprocess.Popen[str] | None = None
        self._proxy: FaultProxy | None = None

    def start(self, arguments: t.Sequence[str], environment: t.Mapping[str, str], config: str) -> int:
        """Start the process; the port of the proxy in front of it.

        Raises:
            NotYet: it ended; the message is what it said.
        """
        self.stop()
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "experiment-config.yaml").write_text(config)
        ours = {
            "--store-url": f"sqlite:///{self._directory / 'store.sqlite'}",
            "--experiment-config": str(self._directory / "experiment-config.yaml"),
            "--artifact-blob-dir": str(self._directory / "blob"),
            "--host": "127.0.0.1",
            "--port": "0",
        }
        self.arguments = list(arguments)
        given = [
            f"{flag}={ours.get(flag, value)}" if separator else flag
            for flag, separator, value in (argument.partition("=") for argument in arguments)
        ]
        # The process ends with the thread that starts it.
        self._process = self._spawner.submit(
            subprocess.Popen,
            [sys.executable, *given],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "PYTHONPATH": str(STANDIN), "PYTHONUNBUFFERED": "1"},
            preexec_fn=die_with_parent,
        ).result()
        port = self._port(self._process)
        self._proxy = FaultProxy("127.0.0.1", port, self.traffic)
        self._proxy.tokens = self.tokens
        self._proxy.__enter__()
        return self._proxy.port

    def stop(self) -> None:
        """End the process and what is in front of it."""
        if self._proxy:
            self._proxy.__exit__()
            self._proxy = None
        if self._process:
            stop(self._process)
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None

    @property
    def server(self) -> tuple[str, int] | None:
        """The address of the process itself, None while there is none."""
        return self._proxy.server if self._proxy else None

    def _port(self, process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("EDEN_TASK_STORE_LISTENING "):
                threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
                return int(line.rpartition("port=")[2])
        raise NotYet("CrashLoopBackOff", "".join(said)[-2000:], ended=True)


def _drain(stream: t.Iterable[str]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for _line in stream:
            pass


class Node:
    """The node, while entered.

    Attributes:
        kube: the API server, as the administrator.
        kubelet: what the API server reaches pods through.
        problems: what went wrong in the node itself: a test that finds something here cannot be trusted.
        missing_images: the images that its registry does not have.
        slow_images: the images whose pull does not end.
        failing_jobs: by namespace and component, how many more pods of Jobs fail.
        logs_of_jobs: by image, what the pods of Jobs log instead of the seed commit.
    """

    def __init__(self, control_plane: ControlPlane, directory: Path) -> None:
        self.kube = Kube(control_plane.url, control_plane.context_for("node", ("system:masters",)))
        self.kubelet = FakeKubelet(directory)
        self.problems: list[str] = []
        self.missing_images: set[str] = set()
        self.slow_images: set[str] = set()
        self.failing_jobs: collections.Counter[Key] = collections.Counter()
        self.logs_of_jobs: dict[str, str] = {}
        self._directory = directory
        # By which its threads are known.
        self._name = f"node {directory}"
        self._stores: dict[str, TaskStore] = {}
        self._logs: dict[Key, str] = {}
        self._seen: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._spawner = ThreadPoolExecutor(1)

    def __enter__(self) -> Node:
        self.kubelet.logs = lambda namespace, pod, _container: self._logs.get((namespace, pod), "")
        self.kubelet.__enter__()
        self._register()
        self._begin(self._follow)
        return self

    def __exit__(self, *_error: object) -> None:
        self._closed.set()
        for store in self._stores.values():
            store.stop()
        self._spawner.shutdown()
        self.kubelet.__exit__()
        self.kube.close()
        for thread in threading.enumerate():
            if thread.name == self._name:
                thread.join(ENDING_SECONDS)

    def _begin(self, target: t.Callable[..., None], *arguments: t.Any) -> None:
        """Do that beside all else; the node does not end before it."""
        threading.Thread(target=target, args=arguments, name=self._name, daemon=True).start()

    def task_store(self, namespace: str) -> TaskStore:
        """The task store of a namespace."""
        with self._lock:
            if namespace not in self._stores:
                self._stores[namespace] = TaskStore(self._directory / namespace, Traffic(), self._spawner)
            return self._stores[namespace]

    def _register(self) -> None:
        self.kube.ask("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.kubelet.port}},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self.kube.ask("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status}, STRATEGIC)
        storage = {
            "metadata": {"name": "rig", "annotations": {DEFAULT_CLASS: "true"}},
            "provisioner": "tests/rig",
            "allowVolumeExpansion": True,
        }
        self.kube.ask("POST", "/apis/storage.k8s.io/v1/storageclasses", storage)

    def _follow(self) -> None:
        """List and watch the pods in turn: the list repairs whatever ends a watch."""
        failures = 0
        while not self._closed.is_set():
            try:
                listed = self.kube.ask("GET", "/api/v1/pods")
                for pod in listed["items"]:
                    self._meet("MODIFIED", pod)
                for change, pod in self.kube.watch("/api/v1/pods", listed["metadata"]["resourceVersion"]):
                    if change == "ERROR":
                        break
                    self._meet(change, pod)
                    failures = 0
            except Exception as error:
                failures += 1
                if failures == ATTEMPTS:
                    self.problems.append(f"watch of the pods: {error!r}")
                    return
            self._closed.wait(LOOK_SECONDS)

    def _meet(self, change: str, pod: Object) -> None:
        """Begin what the state of a pod asks for, once."""
        metadata, phase = pod["metadata"], (pod.get("status") or {}).get("phase")
        if change == "DELETED":
            stage = ""
        elif metadata.get("deletionTimestamp"):
            stage = "end"
        elif not pod["spec"].get("nodeName"):
            stage = "bind"
        elif phase == "Pending":
            stage = "run"
        else:
            stage = ""
        if stage and (metadata["uid"], stage) not in self._seen:
            self._seen.add((metadata["uid"], stage))
            self._begin(self._do, stage, pod)

    def _do(self, stage: str, pod: Object) -> None:
        failure: Exception | None = None
        for _attempt in range(ATTEMPTS):
            try:
                {"bind": self._bind, "run": self._run, "end": self._end}[stage](pod)
                return
            except Exception as error:
                # Pods and namespaces are deleted at any moment.
                gone = isinstance(error, KubeError) and error.status == http.HTTPStatus.NOT_FOUND
                if gone or self._closed.wait(LOOK_SECONDS):
                    return
                failure = error
        self.problems.append(f"{stage} {pod['metadata']['name']}: {failure!r}")

    def _bind(self, pod: Object) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if self._need_pod(pod)["spec"].get("nodeName"):
            return
        while not all(self._bind_claim(namespace, claim) for claim in _claims(pod)):
            self._need_pod(pod)
            self._closed.wait(LOOK_SECONDS)
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"kind": "Node", "name": NODE},
        }
        self.kube.ask("POST", f"{_path(pod)}/binding", body)

    def _bind_claim(self, namespace: str, name: str) -> bool:
        path = f"{PATHS['PersistentVolumeClaim'].format(namespace)}/{name}"
        claim = self.kube.find(path)
        if claim is None or claim["metadata"].get("deletionTimestamp"):
            return False
        if (claim.get("status") or {}).get("phase") != "Bound":
            if not claim["spec"].get("volumeName"):
                volume = {"volumeName": f"pv-{claim['metadata']['uid']}"}
                self.kube.ask("PATCH", path, {"spec": volume}, MERGE)
            status = {"phase": "Bound", "capacity": claim["spec"]["resources"]["requests"]}
            self.kube.ask("PATCH", f"{path}/status", {"status": status}, MERGE)
        return True

    def _run(self, pod: Object) -> None:
        restarts = 0
        while not self._closed.is_set():
            try:
                self._start(pod)
            except NotYet as reason:
                restarts += reason.ended
                self._logs[_key(pod)] = reason.message
                self._report(pod, "Pending" if not restarts else "Running", _waiting(reason), restarts)
                self._closed.wait(BACK_OFF_SECONDS if reason.ended else LOOK_SECONDS)
            else:
                break
        if _is_job(pod):
            failed = self._fails(pod)
            image = pod["spec"]["containers"][0]["image"]
            said = self.logs_of_jobs.get(image, f"EDEN_REPO_SEEDED sha={SEED_COMMIT}\n")
            line = FAILURE if failed else said
            self._logs[_key(pod)] = line
            done = {
                "exitCode": int(failed),
                "reason": "Error" if failed else "Completed",
                "startedAt": _now(),
                "finishedAt": _now(),
            }
            self._report(pod, "Failed" if failed else "Succeeded", {"terminated": done}, restarts)
        else:
            self._report(pod, "Running", {"running": {"startedAt": _now()}}, restarts, ready=True)

    def _fails(self, pod: Object) -> bool:
        """Whether the pod of a Job is one of those that are to fail."""
        key = (pod["metadata"]["namespace"], _component(pod))
        with self._lock:
            fails = self.failing_jobs[key] > 0
            self.failing_jobs[key] -= fails
        return fails

    def _start(self, pod: Object) -> None:
        """Start the container; raises ``NotYet``."""
        self._need_pod(pod)
        namespace = pod["metadata"]["namespace"]
        container = pod["spec"]["containers"][0]
        if container["image"] in self.missing_images:
            raise NotYet("ErrImagePull", f"failed to resolve reference {container['image']}: not found")
        if container["image"] in self.slow_images:
            raise NotYet("ContainerCreating", "")
        self._need_volumes(pod)
        environment = self._environment(namespace, container)
        arguments = list(container.get("args") or [])
        if _component(pod) == "task-store-server" and not _is_job(pod):
            config = self._need("ConfigMap", namespace, _config_map(pod, "experiment-config"))
            store = self.task_store(namespace)
            # The container names Python itself first; Kubernetes expands nothing here.
            port = store.start(arguments[1:], environment, config["data"]["experiment-config.yaml"])
            self.kubelet.pod_targets[(namespace, pod["metadata"]["name"], PORT)] = ("127.0.0.1", port)
        elif worker := _flag(arguments, "--worker-id"):
            self._need_token(namespace, pod, worker, _flag(arguments, "--experiment-id"))

    def _need_pod(self, pod: Object) -> Object:
        """The pod as it is now; raises ``KubeError`` if it is no longer there, or on its way."""
        found = self.kube.ask("GET", _path(pod))
        metadata = found["metadata"]
        if metadata["uid"] != pod["metadata"]["uid"] or metadata.get("deletionTimestamp"):
            raise KubeError("GET", _path(pod), http.HTTPStatus.NOT_FOUND, b"")
        return found

    def _need(self, kind: str, namespace: str, name: str) -> Object:
        found = self.kube.get(kind, namespace, name)
        if found is None:
            raise NotYet("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')
        return found

    def _need_volumes(self, pod: Object) -> None:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or []:
            if "secret" in volume:
                self._need("Secret", namespace, volume["secret"]["secretName"])
            if "configMap" in volume:
                self._need("ConfigMap", namespace, volume["configMap"]["name"])

    def _environment(self, namespace: str, container: Object) -> dict[str, str]:
        values = {}
        for entry in container.get("env") or []:
            reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
            if reference is None:
                values[entry["name"]] = entry.get("value", "")
                continue
            data = self._need("Secret", namespace, reference["name"]).get("data") or {}
            if reference["key"] not in data:
                raise NotYet("CreateContainerConfigError", f"couldn't find key {reference['key']} in Secret")
            values[entry["name"]] = base64.b64decode(data[reference["key"]]).decode()
        return values

    def _need_token(self, namespace: str, pod: Object, worker: str, experiment: str) -> None:
        """What a worker does first: it asks who it is, and ends if that is refused."""
        (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "identity"]
        data = self._need("Secret", namespace, volume["secret"]["secretName"]).get("data") or {}
        token = base64.b64decode(data.get("token", "")).decode()
        status = who_am_i(self.task_store(namespace).server, experiment, worker, token)
        if status != http.HTTPStatus.OK:
            raise NotYet("CrashLoopBackOff", f"Unauthorized: whoami answered {status}\n", ended=True)

    def _report(self, pod: Object, phase: str, state: Object, restarts: int, ready: bool = False) -> None:
        """Tell the API server what became of the pod."""
        container = pod["spec"]["containers"][0]
        truth = "True" if ready else "False"
        conditions = [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Initialized", "status": "True"},
            {"type": "ContainersReady", "status": truth},
            {"type": "Ready", "status": truth},
        ]
        row = {
            "name": container["name"],
            "image": container["image"],
            "imageID": container["image"],
            "ready": ready,
            "started": ready,
            "restartCount": restarts,
            "state": state,
        }
        status = {
            "phase": phase,
            "podIP": POD_IP,
            "podIPs": [{"ip": POD_IP}],
            "startTime": _now(),
            "conditions": [{**entry, "lastTransitionTime": _now()} for entry in conditions],
            "containerStatuses": [row],
        }
        self.kube.ask("PATCH", f"{_path(pod)}/status", {"status": status}, MERGE)

    def _end(self, pod: Object) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if self.kubelet.pod_targets.pop((namespace, name, PORT), None):
            self.task_store(namespace).stop()
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        options["preconditions"] = {"uid": pod["metadata"]["uid"]}
        self.kube.ask("DELETE", _path(pod), options)


def who_am_i(server: tuple[str, int] | None, experiment: str, worker: str, token: str) -> int:
    """The status with which the task store answers that question, 0 for no answer."""
    if server is None:
        return 0
    connection = http.client.HTTPConnection(*server, timeout=60)
    headers = {"Authorization": f"Bearer {worker}:{token}", "X-Eden-Experiment-Id": experiment}
    try:
        connection.request("GET", f"/v0/experiments/{experiment}/whoami", headers=headers)
        response = connection.getresponse()
        told = json.loads(response.read() or b"{}")
    except (OSError, http.client.HTTPException, ValueError):
        return 0
    finally:
        connection.close()
    return response.status if told.get("worker_id", worker) == worker else int(http.HTTPStatus.FORBIDDEN)


def _waiting(reason: NotYet) -> Object:
    return {"waiting": {"reason": reason.reason, "message": reason.message[-500:]}}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(pod: Object) -> Key:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _path(pod: Object) -> str:
    return f"{PATHS['Pod'].format(pod['metadata']['namespace'])}/{pod['metadata']['name']}"


def _is_job(pod: Object) -> bool:
    return any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences") or [])


def _component(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get("app.kubernetes.io/component", ""))


def _claims(pod: Object) -> list[str]:
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or []
        if "persistentVolumeClaim" in volume
    ]


def _config_map(pod: Object, volume_name: str) -> str:
    (found,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == volume_name]
    return str(found["configMap"]["name"])


def _flag(arguments: t.Iterable[str], flag: str) -> str:
    return next((value for name, _equals, value in (a.partition("=") for a in arguments) if name == flag), "")
