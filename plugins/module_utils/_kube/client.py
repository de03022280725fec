# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One connection to the Kubernetes API: its requests, their time limits, their retries and their errors.

This module is private to the collection.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
import typing as t
from contextlib import contextmanager
from urllib.parse import urlsplit

from ansible_collections.eden.reference.plugins.module_utils._collection import FIELD_MANAGER
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    ConflictError,
    UnreachableError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import (
    KINDS,
    Kind,
    describe,
    kind_of,
)

try:
    import urllib3
    import yaml
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException, kube_config, load_incluster_config, load_kube_config
    from kubernetes.dynamic import DynamicClient
    from kubernetes.dynamic.exceptions import DynamicApiError
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

Object = dict[str, t.Any]
Objects = list[Object]


CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 15.0
PATIENCE = 60.0
FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
LONGEST_RETRY_AFTER = 10.0
# Requests at a time. Each takes a connection, whose TLS costs more than what most requests ask.
PARALLEL = 4
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_files_lock = threading.Lock()
_users_of_files = 0

CLUSTER_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "namespace": {"type": "str", "required": True},
}


class Cluster:
    """The objects of one Kubernetes cluster, as plain dicts.

    A request that got no answer, or one of 408, 429 and 5xx, is sent again until ``patience`` seconds have
    passed. That is safe for every verb here: reads, server-side apply, deletes, and creates of named objects,
    whose second try answers 409.
    """

    def __init__(
        self, client: t.Any, patience: float = PATIENCE, sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        self.client = client
        self.patience = patience
        self._sleep = sleep
        # A discoverer of our own keeps DynamicClient from asking the server which kinds it serves.
        self._dynamic = DynamicClient(client, discoverer=lambda _client, _cache: None)

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any], patience: float = PATIENCE) -> Cluster:
        """A connection by the module options ``kubeconfig`` and ``context``.

        Without them: ``KUBECONFIG``, the default kubeconfig, then the service account of the pod around this.

        Raises:
            CollectionError: the Python package is missing, or no usable kubeconfig was found.
        """
        if IMPORT_ERROR is not None:
            raise CollectionError(
                f"The Python package 'kubernetes' cannot be imported ({IMPORT_ERROR}). "
                "Install it into the Python that runs ansible: pip install kubernetes."
            )
        configuration = Configuration()
        _load(configuration, options.get("kubeconfig") or None, options.get("context") or None)
        configuration.retries = urllib3.Retry(0, redirect=3)
        try:
            client = ApiClient(configuration=configuration)
        except (ImportError, OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise CollectionError(
                f"Could not prepare a connection to {configuration.host}: {_said(error)}. "
                "Check proxy-url and the certificates in the kubeconfig."
            ) from error
        return cls(client, patience)

    @property
    def address(self) -> str:
        """The URL of the API server."""
        return str(self.client.configuration.host)

    def version(self, timeout: float = READ_TIMEOUT) -> Object:
        """The answer of ``/version``: ``gitVersion``, ``major``, ``minor``…; a try takes ``timeout`` s."""
        target = f"the version of the API server {self.address}"
        return self._json("read", target, "GET", "/version", _request_timeout=(CONNECT_TIMEOUT, timeout))

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None where the server says 404."""
        try:
            return self._json(
                "read", describe(kind, namespace, name), "GET", KINDS[kind].path(namespace, name)
            )
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Objects:
        """The objects that match the selectors; each has ``kind`` and ``apiVersion``."""
        return self.list_with_version(kind, namespace, labels, fields)[0]

    def list_with_version(
        self, kind: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[Objects, str]:
        """The objects and the resource version to watch from."""
        row = KINDS[kind]
        answer = self._json(
            "list",
            f"{row.plural} in namespace {namespace}" if namespace else row.plural,
            "GET",
            row.path(namespace),
            **_selectors(labels, fields),
        )
        items = [{"apiVersion": row.api_version, "kind": kind, **item} for item in answer.get("items") or []]
        return items, answer.get("metadata", {}).get("resourceVersion", "")

    def create(self, definition: Object, dry_run: bool = False) -> Object:
        """Create the object.

        Raises:
            ConflictError: it exists already.
        """
        return self._write(
            "create",
            definition,
            "POST",
            name=False,
            field_manager=FIELD_MANAGER,
            dry_run="All" if dry_run else None,
        )

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        """Server-side apply, which takes over fields that others own; the object as the server holds it."""
        return self._write(
            "apply",
            definition,
            "PATCH",
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
            dry_run="All" if dry_run else None,
        )

    def merge(self, definition: Object, patch: Object, dry_run: bool = False) -> Object:
        """Strategic merge patch of the object of that definition; the object as the server holds it."""
        return self._write(
            "patch",
            definition,
            "PATCH",
            body=patch,
            content_type="application/strategic-merge-patch+json",
            field_manager=FIELD_MANAGER,
            dry_run="All" if dry_run else None,
        )

    def replace(self, definition: Object) -> Object:
        """Replace the object that was read, at its ``resourceVersion``.

        Raises:
            ConflictError: somebody changed it meanwhile.
        """
        return self._write("replace", definition, "PUT", field_manager=FIELD_MANAGER)

    def delete(self, kind: str, namespace: str, name: str) -> bool:
        """Delete the object and, in the background, what it owns; False where it was gone already."""
        try:
            self._json(
                "delete",
                describe(kind, namespace, name),
                "DELETE",
                KINDS[kind].path(namespace, name),
                propagation_policy="Background",
            )
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    def delete_and_wait(self, live: Object) -> None:
        """Delete the object with its pods, and return when no object of that name with its uid is left.

        Raises:
            ClusterError: it is still there after ``patience`` seconds.
        """
        metadata = live["metadata"]
        reference = (live["kind"], metadata.get("namespace", ""), metadata["name"])
        self.delete(*reference)
        deadline = time.monotonic() + self.patience
        while (left := self.read(*reference)) and left["metadata"]["uid"] == metadata["uid"]:
            if time.monotonic() > deadline:
                raise ClusterError(
                    "delete", describe(*reference), 0, f"it is still there after {self.patience:.0f} s"
                )
            self._sleep(FIRST_DELAY)

    def log(
        self, namespace: str, pod: str, container: str = "", lines: int = 0, previous: bool = False
    ) -> str:
        """The log of a container, its last ``lines`` lines where that is not 0."""
        query: list[tuple[str, t.Any]] = []
        if container:
            query.append(("container", container))
        if lines:
            query.append(("tailLines", lines))
        if previous:
            query.append(("previous", "true"))
        answer = self._send(
            "read the log of",
            describe("Pod", namespace, pod),
            "GET",
            KINDS["Pod"].path(namespace, pod) + "/log",
            query_params=query,
            header_params={"Accept": "*/*"},
        )
        return answer.decode(errors="replace")

    def watch(
        self, kind: str, namespace: str, labels: str, resource_version: str, seconds: float
    ) -> t.Iterator[tuple[str, Object]]:
        """The changes since ``resource_version`` as ``(type, object)``, for at most ``seconds`` seconds.

        Ends early, without an error, where the stream breaks, cannot be read or has expired (410): the caller
        lists again.
        """
        row = KINDS[kind]
        try:
            answer = self._once(
                "GET",
                row.path(namespace),
                None,
                watch=True,
                resource_version=resource_version,
                timeout_seconds=max(1, int(seconds)),
                _request_timeout=(CONNECT_TIMEOUT, seconds + 5),
                **_selectors(labels, ""),
            )
            for line in _lines(answer.stream(amt=None, decode_content=True)):
                event = json.loads(line)
                if event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
                    return
                yield event["type"], {"apiVersion": row.api_version, "kind": kind, **event["object"]}
        except (urllib3.exceptions.HTTPError, ApiException, DynamicApiError, ValueError, OSError):
            return

    def _write(
        self,
        action: str,
        definition: Object,
        method: str,
        name: bool = True,
        body: Object | None = None,
        **parameters: t.Any,
    ) -> Object:
        """Send the ``body``, by default the definition, to where the object of the definition is."""
        kind = kind_of(definition)
        metadata = definition["metadata"]
        namespace = metadata.get("namespace", "")
        # A field that the server does not know is an error, where it would drop it silently.
        parameters["query_params"] = [("fieldValidation", "Strict")]
        return self._json(
            action,
            describe(definition["kind"], namespace, metadata.get("name", "")),
            method,
            kind.path(namespace, metadata["name"] if name else ""),
            definition if body is None else body,
            **parameters,
        )

    def _json(
        self,
        action: str,
        target: str,
        method: str,
        path: str,
        body: Object | None = None,
        **parameters: t.Any,
    ) -> Object:
        answer = self._send(action, target, method, path, body, **parameters)
        try:
            document = json.loads(answer)
        except ValueError:
            document = None
        if isinstance(document, dict):
            return document
        raise UnreachableError(
            action,
            target,
            0,
            f"what answers at {self.address} is no Kubernetes API",
            advice="Check that the kubeconfig names an API server: kubectl version.",
        )

    def _send(
        self,
        action: str,
        target: str,
        method: str,
        path: str,
        body: Object | None = None,
        **parameters: t.Any,
    ) -> bytes:
        """Send a request, again while that helps, and read the whole answer."""
        deadline = time.monotonic() + self.patience
        delay = FIRST_DELAY
        while True:
            try:
                return bytes(self._once(method, path, body, **parameters).data)
            except DynamicApiError as error:
                failure: ClusterError = _refusal(action, target, error)
                wait = _retry_after(error)
                if failure.status not in RETRIED_STATUSES:
                    raise failure from error
            except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = _unreachable(action, target, self.address, error)
                wait = 0.0
            except ConfigException as error:
                raise CollectionError(
                    f"Could not {action} {target}: the kubeconfig's credentials failed: {error}."
                ) from error
            delay = min(LONGEST_DELAY, random.uniform(FIRST_DELAY, delay * 3))
            pause = max(delay, wait)
            if time.monotonic() + pause > deadline:
                raise failure
            self._sleep(pause)

    def _once(self, method: str, path: str, body: Object | None, **parameters: t.Any) -> t.Any:
        parameters.setdefault("_request_timeout", (CONNECT_TIMEOUT, READ_TIMEOUT))
        # DynamicClient appends to the list and fills the dict that it is given.
        parameters["query_params"] = list(parameters.get("query_params", ()))
        parameters["header_params"] = dict(parameters.get("header_params", {"Accept": "application/json"}))
        return self._dynamic.request(method.lower(), path, body=body, serialize=False, **parameters)


@contextmanager
def connected(options: t.Mapping[str, t.Any], patience: float = PATIENCE) -> t.Iterator[Cluster]:
    """A connection whose sockets are closed at the end, and whose certificates are in no file then."""
    with _certificate_files():
        cluster = Cluster.connect(options, patience)
        try:
            yield cluster
        finally:
            cluster.client.rest_client.pool_manager.clear()


@contextmanager
def _certificate_files() -> t.Iterator[None]:
    """The files into which the client writes what a kubeconfig embeds, keys among it.

    The client removes them when Python exits; ansible's workers end without that. All connections of a
    process share the files, so the last one removes them.
    """
    global _users_of_files
    with _files_lock:
        _users_of_files += 1
    try:
        yield
    finally:
        with _files_lock:
            _users_of_files -= 1
            if _users_of_files == 0 and IMPORT_ERROR is None:
                kube_config._cleanup_temp_files()


def _load(configuration: t.Any, kubeconfig: str | None, context: str | None) -> None:
    chosen = kubeconfig or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    in_pod = os.environ.get("KUBERNETES_SERVICE_HOST")
    if (
        not kubeconfig
        and not context
        and in_pod
        and not any(os.path.exists(path) for path in chosen.split(os.pathsep))
    ):
        load_incluster_config(client_configuration=configuration)
        return
    try:
        load_kube_config(
            config_file=chosen, context=context, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, OSError, ValueError, ImportError, yaml.YAMLError) as error:
        raise _unusable(chosen, context, _said(error)) from error
    except (TypeError, AttributeError, LookupError) as error:
        raise _unusable(chosen, context, "it has not the form of a kubeconfig") from error
    fault = _fault(configuration)
    if fault:
        raise _unusable(chosen, context, fault)


def _fault(configuration: t.Any) -> str:
    """What is wrong with the server's address or with the token; the client would raise or tell it."""
    try:
        server = urlsplit(configuration.host)
        usable = server.scheme in ("http", "https") and server.hostname and server.port != 0
    except ValueError:
        usable = False
    if not usable:
        return "the server of its cluster is no http or https URL such as https://192.0.2.1:6443"
    if server.username is not None:
        return "the URL of its server holds a user name, where a token or a certificate belongs"
    # The client has had several names for the one token.
    tokens = [str(token) for token in configuration.api_key.values()]
    if not all(token.isascii() and token.isprintable() and token == token.strip() for token in tokens):
        return "its token holds a line break, or another character that a token never has"
    return ""


def _unusable(chosen: str, context: str | None, reason: str) -> CollectionError:
    return CollectionError(
        f"Could not read a kubeconfig from {chosen}"
        + (f", context {context}" if context else "")
        + f": {reason}. Set eden_kubeconfig (and eden_context), or KUBECONFIG, to one that kubectl takes, "
        "such as ~/.kube/config."
    )


def _said(error: Exception) -> str:
    """What an error says on one line, without the part of the file that it quotes: that may hold a token."""
    return re.sub(r"\{.*\}", "{...}", " ".join(str(error).split())).rstrip(".")


def _selectors(labels: str, fields: str) -> dict[str, t.Any]:
    return {
        **({"label_selector": labels} if labels else {}),
        **({"field_selector": fields} if fields else {}),
    }


def _lines(chunks: t.Iterable[bytes]) -> t.Iterator[bytes]:
    pending = b""
    for chunk in chunks:
        *whole, pending = (pending + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())


def _status(error: DynamicApiError) -> tuple[str, str]:
    """The reason and the message of the Status object that the server sent, as far as it sent one."""
    try:
        body = json.loads(error.body or "")
        return body.get("reason") or error.reason, body.get("message") or ""
    except (TypeError, ValueError, AttributeError):
        body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
        return str(error.reason or ""), body[:500]


def _refusal(action: str, target: str, error: DynamicApiError) -> ClusterError:
    reason, said = _status(error)
    status = int(error.status or 0)
    advice = {
        401: "Renew the credentials of the kubeconfig.",
        403: "Ask for the missing right, or use a kubeconfig that has it.",
    }.get(status, "")
    kind = ConflictError if status == 409 else ClusterError
    return kind(action, target, status, reason, said, advice)


def _unreachable(action: str, target: str, address: str, error: Exception) -> ClusterError:
    reason = getattr(error, "reason", None) or error
    return UnreachableError(
        action,
        target,
        0,
        f"no answer from the Kubernetes API at {address} ({reason})",
        advice="Check that the cluster runs and that the kubeconfig names it: kubectl version.",
    )


def _retry_after(error: DynamicApiError) -> float:
    headers = getattr(error, "headers", None) or {}
    try:
        return min(LONGEST_RETRY_AFTER, max(0.0, float(headers.get("Retry-After", 0))))
    except (TypeError, ValueError):
        return 0.0


__all__ = ["CLUSTER_ARGUMENTS", "FIELD_MANAGER", "Cluster", "Kind", "Object", "connected"]
