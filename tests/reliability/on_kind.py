# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind cluster in the place of the thin rig: real pods, and the same experiments, kills and oracles.

The proxy stands in front of its API server. What goes to the task store is not seen: it passes through the
port-forward of the pods.
"""

from __future__ import annotations

import base64
import collections
import itertools
import os
import re
import ssl
import subprocess
import time
import typing as t
from pathlib import Path
from types import SimpleNamespace

import yaml
from kube import PATHS, Kube
from testbed import Testbed
from thin_rig import INSTANCE, PATIENCE, Experiment, Rig
from traffic import Traffic

TASK_STORE = f"{INSTANCE}-task-store-server"
PORT = 8080
STANDIN = "eden-standin:dev"


class KindTaskStore:
    """The task store of one namespace.

    Attributes:
        traffic: the requests to the API server, and none to the task store.
    """

    def __init__(self, testbed: Testbed, kube: Kube, namespace: str) -> None:
        self.traffic = Traffic()
        self._testbed = testbed
        self._kube = kube
        self._namespace = namespace
        self._forward: subprocess.Popen[str] | None = None
        self._server: tuple[str, int] | None = None

    @property
    def server(self) -> tuple[str, int] | None:
        """An address that leads to it, None while there is none."""
        if self._forward is None or self._forward.poll() is not None:
            self.stop()
            command = ["kubectl", "port-forward", "--namespace", self._namespace]
            self._forward = subprocess.Popen(
                [*command, f"service/{TASK_STORE}", f":{PORT}"],
                env=self._testbed.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert self._forward.stdout is not None
            found = re.match(r"Forwarding from ([\d.]+):(\d+) ->", self._forward.stdout.readline())
            self._server = (found[1], int(found[2])) if found else None
        return self._server

    @property
    def arguments(self) -> list[str]:
        """The arguments that it was started with."""
        found = self._kube.ask("GET", f"{PATHS['Deployment'].format(self._namespace)}/{TASK_STORE}")
        return list(found["spec"]["template"]["spec"]["containers"][0]["args"])

    def stop(self) -> None:
        """End the way to it."""
        if self._forward is not None:
            self._forward.terminate()
            self._forward.communicate()
        self._forward = self._server = None


class KindExperiment(Experiment):
    """An experiment on the kind cluster; its namespace goes with it."""

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        path = f"/api/v1/namespaces/{self.namespace}"
        if self.kube.find(path):
            self.kube.ask("DELETE", path)
        deadline = time.monotonic() + PATIENCE
        while self.kube.find(path):
            assert time.monotonic() < deadline, f"the namespace {self.namespace} stays"
            time.sleep(0.5)


class KindRig(Rig):
    """A kind cluster that ``tests/cluster/cluster up`` made, whose node has the image, while entered."""

    def __init__(self, directory: Path, testbed: Testbed) -> None:
        self.directory = directory
        context, server = _administrator(Path(testbed.kubeconfig), directory)
        kube = Kube(server, context)
        stores: dict[str, KindTaskStore] = {}

        def task_store(namespace: str) -> KindTaskStore:
            if namespace not in stores:
                stores[namespace] = KindTaskStore(testbed, kube, namespace)
            return stores[namespace]

        self.control_plane: t.Any = SimpleNamespace(url=server, context_for=lambda *_user: context)
        # No kubelet tells how many port-forwards are open; the processes that hold them are looked for.
        kubelet = SimpleNamespace(open_forwards=collections.Counter())
        self.node: t.Any = SimpleNamespace(kube=kube, task_store=task_store, kubelet=kubelet, problems=[])
        self._numbers = itertools.count(1)

    def __enter__(self) -> KindRig:
        return self

    def __exit__(self, *_error: object) -> None:
        self.node.kube.close()

    def experiment(self, namespace: str = "", user: tuple[str, tuple[str, ...]] = ("", ())) -> KindExperiment:
        """An experiment of which there is nothing yet."""
        found = KindExperiment(self, namespace or f"kind-{os.getpid()}-{next(self._numbers)}", user)
        found.variables["eden_image"] = os.environ.get("EDEN_IMAGE") or STANDIN
        return found


def _administrator(kubeconfig: Path, directory: Path) -> tuple[ssl.SSLContext, str]:
    """What a connection as the kubeconfig's user needs, and where it leads."""
    content = yaml.safe_load(kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cadata=_text(cluster["certificate-authority-data"]))
    for name in ("client-certificate", "client-key"):
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(_text(user[f"{name}-data"]))
    context.load_cert_chain(directory / "client-certificate", directory / "client-key")
    return context, cluster["server"]


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
