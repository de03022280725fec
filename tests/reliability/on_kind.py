# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind cluster in the place of the thin rig: real pods, and the same experiments, kills and oracles.

The proxy stands in front of its API server. What goes to the task store is not seen: it passes through the
port-forward of the pods.
"""

from __future__ import annotations

import base64
import collections
import os
import secrets
import ssl
import typing as t
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import yaml
from bring_up import STANDIN
from kube import PATHS, Kube
from node import PORT
from outcomes import TASK_STORE
from pools import await_gone, path_of
from testbed import Testbed
from thin_rig import Experiment, Rig, Run
from traffic import Traffic


class KindTaskStore:
    """The task store of one namespace.

    Attributes:
        traffic: the requests to the API server, and none to the task store.
        tokens: those that it has issued are not seen here.
    """

    def __init__(self, testbed: Testbed, kube: Kube, namespace: str) -> None:
        self.traffic = Traffic()
        self.tokens: set[str] = set()
        self._testbed = testbed
        self._kube = kube
        self._namespace = namespace
        self._forward = ExitStack()
        self._server: tuple[str, int] | None = None

    @property
    def server(self) -> tuple[str, int] | None:
        """An address that leads to it, None while there is none."""
        if self._server is None:
            target = f"service/{TASK_STORE}"
            # There is none where kubectl finds no pod to lead to.
            with suppress(AssertionError):
                url = urlsplit(
                    self._forward.enter_context(self._testbed.port_forward(self._namespace, target, PORT))
                )
                self._server = (str(url.hostname), int(url.port or 0))
        return self._server

    @property
    def arguments(self) -> list[str]:
        """The arguments that it was started with."""
        found = self._kube.ask("GET", f"{PATHS['Deployment'].format(self._namespace)}/{TASK_STORE}")
        return list(found["spec"]["template"]["spec"]["containers"][0]["args"])

    def stop(self) -> None:
        """End the way to it."""
        self._forward.close()
        self._server = None


class KindExperiment(Experiment):
    """An experiment on the kind cluster; its namespace goes with it."""

    def start(self, *arguments: str, **options: str) -> Run:
        """Start ``ansible-playbook``; the pod that the oracles asked may go."""
        self.node.task_store(self.namespace).stop()
        return super().start(*arguments, **options)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        path = path_of(self, "Namespace", self.namespace)
        if self.kube.find(path):
            self.kube.ask("DELETE", path)
        await_gone(self.kube, path)


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

    def __enter__(self) -> KindRig:
        return self

    def __exit__(self, *_error: object) -> None:
        self.node.kube.close()

    def experiment(self, namespace: str = "", user: tuple[str, tuple[str, ...]] = ("", ())) -> KindExperiment:
        """An experiment of which there is nothing yet."""
        found = KindExperiment(self, namespace or f"kind-{secrets.token_hex(4)}", user)
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
