# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the API server for what plays a part in the rig; the collection has another."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import typing as t
from urllib.parse import urlsplit

Object = dict[str, t.Any]

# The API server closes a connection over which nothing came for 90 seconds.
IDLE_SECONDS = 30.0

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

# Of each kind that the collection may make: where its objects are, in a namespace.
PATHS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


def path_of(kind: str, namespace: str, name: str) -> str:
    """Where the API server has the object; a Namespace is in none."""
    return f"/api/v1/namespaces/{name}" if kind == "Namespace" else f"{PATHS[kind].format(namespace)}/{name}"


class KubeError(Exception):
    """The API server refused a request, whose status is ``status``."""

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        super().__init__(f"{method} {path}: {status} {body.decode(errors='replace')[:500]}")
        self.status = status


class Kube:
    """The API server, asked over connections that are kept until ``close``."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        address = urlsplit(server)
        self._address = (str(address.hostname), int(address.port or 443))
        self._context = context
        self._idle: list[tuple[float, http.client.HTTPSConnection]] = []
        self._watching: list[http.client.HTTPSConnection] = []
        self._closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections; a watch ends, and what is asked meanwhile keeps no connection."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in self._watching:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        for _since, connection in idle:
            connection.close()

    def ask(self, method: str, path: str, body: Object | None = None, kind: str = JSON) -> Object:
        """The answer; raises ``KubeError`` if it is a refusal."""
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Accept": "application/json", **({"Content-Type": kind} if content else {})}
        connection = self._idle_connection() or self._connect(60)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            text = response.read()
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        if response.status >= 300:
            raise KubeError(method, path, response.status, text)
        return dict(json.loads(text))

    def find(self, path: str) -> Object | None:
        """The object at the path, or None if there is none."""
        try:
            return self.ask("GET", path)
        except KubeError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def objects(self, kind: str, namespace: str) -> list[Object]:
        """The objects of a kind in the namespace."""
        return list(self.ask("GET", PATHS[kind].format(namespace)).get("items") or [])

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none."""
        return self.find(path_of(kind, namespace, name))

    def watch(self, path: str, version: str) -> t.Iterator[tuple[str, Object]]:
        """The changes after the version as ``(type, object)``, until the server or ``close`` ends it."""
        connection = self._connect(None)
        connection.connect()
        with self._lock:
            self._watching.append(connection)
        try:
            if self._closed:
                return
            connection.request("GET", f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=3600")
            for line in connection.getresponse():
                event = json.loads(line)
                yield event["type"], event["object"]
        except (OSError, http.client.HTTPException, ValueError):
            # What comes after the close may be anything.
            if not self._closed:
                raise
        finally:
            with self._lock:
                self._watching.remove(connection)
            connection.close()

    def _keep(self, connection: http.client.HTTPSConnection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _idle_connection(self) -> http.client.HTTPSConnection | None:
        """One that is still open."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return connection
            connection.close()

    def _connect(self, seconds: float | None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self._address, timeout=seconds, context=self._context)
