# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One connection to the Kubernetes API: its requests, their time limits, their retries and their errors.

This module is private to the collection.
"""

from __future__ import annotations

import functools
import json
import time
import typing as t
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from ansible_collections.eden.reference.plugins.module_utils._collection import (
    FIELD_MANAGER,
    KUBECONFIG_ADVICE,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    ConflictError,
    UnreachableError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import (
    CONNECTION_ARGUMENTS,
    find_access,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.lease import (
    LOCK_OPTION,
    Lock,
    elapsed,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import classify
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import (
    KINDS,
    Kind,
    describe,
    kind_of,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.retry import (
    FIRST_DELAY,
    RetryBudget,
    is_retryable,
    retry_after,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.transport import PARALLEL, Transport

try:
    import urllib3
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.client.exceptions import ApiException
    from kubernetes.dynamic import DynamicClient
    from kubernetes.dynamic.exceptions import DynamicApiError
    from kubernetes.dynamic.resource import Resource
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

Object = dict[str, t.Any]
Objects = list[Object]


CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 15.0
# Messages of Python's ssl and of urllib3, whose exceptions are wrapped too often to check their types.
WRONG_CERTIFICATE = ("CERTIFICATE_VERIFY_FAILED", "doesn't match")
WRONG_PROXY_LOGIN = "Tunnel connection failed: 407"
RETRY_BUDGET = 60.0

CLUSTER_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    **CONNECTION_ARGUMENTS,
    "namespace": {"type": "str", "required": True},
    "lock": LOCK_OPTION,
}


class Cluster:
    """The objects of one Kubernetes cluster, as plain dicts.

    A request without an answer, or with one of 408, 429 and 5xx, is retried until ``retry_budget`` seconds
    have passed. That is safe for every verb here: reads, server-side apply, deletes, and creates of named
    objects, whose second attempt answers 409.

    Attributes:
        lock: what a run must hold to write; None if the caller needs none.
    """

    def __init__(
        self, client: t.Any, retry_budget: float = RETRY_BUDGET, sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        self.client = client
        self.retry_budget = retry_budget
        self.lock: Lock | None = None
        self._sleep = sleep
        self._date: tuple[datetime, float] | None = None
        # This discoverer keeps DynamicClient from asking the server which kinds it serves.
        self._dynamic = DynamicClient(client, discoverer=lambda _client, _cache: None)

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any], retry_budget: float = RETRY_BUDGET) -> Cluster:
        """A connection from the module options and ``K8S_AUTH_*``, see ``find_access``.

        Raises:
            CollectionError: the Python package is missing, or no usable access was found.
        """
        if IMPORT_ERROR is not None:
            raise CollectionError(
                f"The Python package 'kubernetes' cannot be imported ({IMPORT_ERROR}). "
                "Install it into the Python that runs ansible: pip install kubernetes."
            )
        cluster = cls(client_of(Transport(find_access(options))), retry_budget)
        cluster.lock = Lock.of(cluster, options)
        return cluster

    @property
    def address(self) -> str:
        """The URL of the API server."""
        return str(self.client.configuration.host)

    @property
    def transport(self) -> Transport:
        """The transport to the API server."""
        transport: Transport = self.client.rest_client.pool_manager
        return transport

    def now(self) -> datetime:
        """The time of the API server, by its last answer."""
        date, since = self._date or (datetime.now(UTC), elapsed())
        return date + timedelta(seconds=elapsed() - since)

    def hold_lock(self) -> None:
        """Take the lock, or make sure that this run still holds it; every write here does so by itself.

        Raises:
            LockedError: another run holds it, or has held it since this one looked at the cluster.
        """
        if self.lock:
            self.lock.hold()

    def version(self, timeout: float = READ_TIMEOUT) -> Object:
        """The answer of ``/version``: ``gitVersion``, ``major``…; an attempt takes ``timeout`` s."""
        return self._json(
            "read",
            f"the version of the API server {self.address}",
            self._dynamic.request,
            "get",
            "/version",
            _request_timeout=(CONNECT_TIMEOUT, timeout),
        )

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None if the server answers 404."""
        try:
            return self._json(
                "read",
                describe(kind, namespace, name),
                self._dynamic.get,
                resource_of(kind),
                name=name,
                namespace=namespace,
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
            self._dynamic.get,
            resource_of(kind),
            namespace=namespace,
            label_selector=labels or None,
            field_selector=fields or None,
        )
        items = [{"apiVersion": row.api_version, "kind": kind, **item} for item in answer.get("items") or []]
        return items, answer.get("metadata", {}).get("resourceVersion", "")

    def create(self, definition: Object, dry_run: bool = False) -> Object:
        """Create the object.

        Raises:
            ConflictError: it exists already.
        """
        return self._write("create", definition, self._dynamic.create, dry_run="All" if dry_run else None)

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        """Server-side apply, which takes over fields that others own; returns the server's object."""
        return self._write(
            "apply",
            definition,
            self._dynamic.server_side_apply,
            name=definition["metadata"]["name"],
            force_conflicts="true",
            dry_run="All" if dry_run else None,
        )

    def merge(self, definition: Object, patch: Object, dry_run: bool = False) -> Object:
        """Strategic merge patch of the object of that definition; returns the server's object."""
        return self._write(
            "patch",
            definition,
            self._dynamic.patch,
            name=definition["metadata"]["name"],
            body=patch,
            content_type="application/strategic-merge-patch+json",
            dry_run="All" if dry_run else None,
        )

    def replace(self, definition: Object) -> Object:
        """Replace the object that was read, at its ``resourceVersion``.

        Raises:
            ConflictError: it was changed meanwhile.
        """
        return self._write("replace", definition, self._dynamic.replace)

    def delete(self, kind: str, namespace: str, name: str, dry_run: bool = False) -> bool:
        """Delete the object and, in the background, what it owns; False if it was gone already."""
        if not dry_run:
            self._hold_lock_for(kind)
        try:
            self._json(
                "delete",
                describe(kind, namespace, name),
                self._dynamic.delete,
                resource_of(kind),
                name=name,
                namespace=namespace,
                propagation_policy="Background",
                dry_run="All" if dry_run else None,
            )
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    def delete_and_wait(self, live: Object) -> None:
        """Delete the object with its pods, and return when no object of that name with its uid is left.

        Raises:
            ClusterError: it is still there after ``retry_budget`` seconds.
        """
        metadata = live["metadata"]
        reference = (live["kind"], metadata.get("namespace", ""), metadata["name"])
        self.delete(*reference)
        deadline = time.monotonic() + self.retry_budget
        while (left := self.read(*reference)) and left["metadata"]["uid"] == metadata["uid"]:
            if time.monotonic() > deadline:
                raise ClusterError(
                    "delete", describe(*reference), 0, f"it is still there after {self.retry_budget:.0f} s"
                )
            self._sleep(FIRST_DELAY)

    def log(
        self, namespace: str, pod: str, container: str = "", lines: int = 0, previous: bool = False
    ) -> str:
        """The log of a container, its last ``lines`` lines if that is not 0."""
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
            self._dynamic.request,
            "get",
            resource_of("Pod").path(pod, namespace) + "/log",
            query_params=query,
            header_params={"Accept": "*/*"},
        )
        return answer.decode(errors="replace")

    def watch(
        self, kind: str, namespace: str, labels: str, resource_version: str, seconds: float
    ) -> t.Iterator[tuple[str, Object]]:
        """The changes since ``resource_version`` as ``(type, object)``, for at most ``seconds`` seconds.

        Ends early, without an error, if the stream breaks, cannot be read or has expired (410): the caller
        lists again.
        """
        row = KINDS[kind]
        try:
            answer = self._once(
                self._dynamic.get,
                resource_of(kind),
                namespace=namespace,
                watch="true",
                resource_version=resource_version,
                timeout_seconds=max(1, int(seconds)),
                _request_timeout=(CONNECT_TIMEOUT, seconds + 5),
                label_selector=labels or None,
            )
            for line in _lines(answer.stream(amt=None, decode_content=True)):
                event = json.loads(line)
                if event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
                    return
                yield event["type"], {"apiVersion": row.api_version, "kind": kind, **event["object"]}
        except (urllib3.exceptions.HTTPError, ApiException, DynamicApiError, ValueError, OSError):
            return

    def _write(
        self, action: str, definition: Object, call: t.Callable[..., t.Any], **parameters: t.Any
    ) -> Object:
        """Send the ``body``, by default the definition, to the object of the definition."""
        kind_of(definition)
        if not parameters.get("dry_run"):
            self._hold_lock_for(definition["kind"])
        metadata = definition["metadata"]
        namespace = metadata.get("namespace", "")
        # Makes an unknown field an error, which the server would drop silently.
        parameters["query_params"] = [("fieldValidation", "Strict")]
        return self._json(
            action,
            describe(definition["kind"], namespace, metadata.get("name", "")),
            call,
            resource_of(definition["kind"]),
            namespace=namespace,
            field_manager=FIELD_MANAGER,
            **{"body": definition, **parameters},
        )

    def _hold_lock_for(self, kind: str) -> None:
        """Hold the lock, which is in the namespace, to write an object in it."""
        if KINDS[kind].namespaced and kind != "Lease":
            self.hold_lock()

    def _json(
        self, action: str, target: str, call: t.Callable[..., t.Any], *arguments: t.Any, **parameters: t.Any
    ) -> Object:
        answer = self._send(action, target, call, *arguments, **parameters)
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
            f"the server at {self.address} is not a Kubernetes API server",
            advice=f"Check the address: kubectl version. {KUBECONFIG_ADVICE}",
        )

    def _send(
        self, action: str, target: str, call: t.Callable[..., t.Any], *arguments: t.Any, **parameters: t.Any
    ) -> bytes:
        """Send a request, retry it while that can help, and read the whole answer."""
        budget, delay = RetryBudget(self.retry_budget, self._sleep), FIRST_DELAY
        while True:
            since = budget.clock()
            try:
                return bytes(self._once(call, *arguments, **parameters).data)
            except DynamicApiError as error:
                self._note_date(error.headers)
                failure: ClusterError = self._refusal(action, target, error)
                wait = retry_after(getattr(error, "headers", None))
                if not may_succeed_later(failure):
                    raise failure from error
            except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = self._unreachable(action, target, error)
                wait = 0.0
                if _is_permanent(failure.message):
                    raise failure from error
            delay = budget.pause(failure, since, delay, wait)

    def _once(self, call: t.Callable[..., t.Any], *arguments: t.Any, **parameters: t.Any) -> t.Any:
        parameters.setdefault("_request_timeout", (CONNECT_TIMEOUT, READ_TIMEOUT))
        # DynamicClient appends to the list and fills the dict that it is given.
        parameters["query_params"] = list(parameters.get("query_params", ()))
        parameters["header_params"] = dict(parameters.get("header_params", {"Accept": "application/json"}))
        answer = call(*arguments, serialize=False, **parameters)
        self._note_date(answer.headers)
        return answer

    def _note_date(self, headers: t.Mapping[str, str] | None) -> None:
        # The header is required, but a proxy may have answered.
        with suppress(KeyError, TypeError, ValueError):
            self._date = parsedate_to_datetime((headers or {})["Date"]).replace(tzinfo=UTC), elapsed()

    def _refusal(self, action: str, target: str, error: DynamicApiError) -> ClusterError:
        return refusal(action, target, int(error.status or 0), error.reason, error.body, self.transport)

    def _unreachable(self, action: str, target: str, error: Exception) -> ClusterError:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        if any(words in reason for words in WRONG_CERTIFICATE):
            advice = (
                "Check certificate-authority and tls-server-name in the kubeconfig, or the option ca_cert: "
                "they must match the certificate of the API server."
            )
        elif WRONG_PROXY_LOGIN in reason:
            advice = (
                "Give the user and the password of the proxy in proxy-url, or in the option proxy_headers."
            )
        else:
            advice = "Check that the cluster runs and that the kubeconfig names it: kubectl version."
        return UnreachableError(
            action,
            target,
            0,
            f"no answer from the Kubernetes API at {self.address} ({reason})",
            advice=advice,
        )


@functools.cache
def resource_of(kind: str) -> Resource:
    """The kind as the client's own type, which has its paths."""
    row = KINDS[kind]
    return Resource(
        prefix="apis" if row.group else "api",
        group=row.group,
        api_version=row.api_version.rpartition("/")[2],
        kind=kind,
        namespaced=row.namespaced,
        name=row.plural,
    )


def client_of(transport: Transport) -> ApiClient:
    """The client of the Python package ``kubernetes``, with our transport."""
    configuration = Configuration()
    configuration.host = transport.access.server
    # The access already has the proxy of the environment.
    configuration.proxy = None
    client = ApiClient(configuration=configuration)
    client.rest_client.pool_manager = transport  # type: ignore[assignment]
    return client


@contextmanager
def connected(options: t.Mapping[str, t.Any], retry_budget: float = RETRY_BUDGET) -> t.Iterator[Cluster]:
    """A connection whose sockets are closed at the end; meanwhile a lock that this run holds is renewed."""
    cluster = Cluster.connect(options, retry_budget)
    try:
        with cluster.lock.kept() if cluster.lock else nullcontext():
            yield cluster
    finally:
        cluster.transport.clear()


def refusal(
    action: str, target: str, status: int, reason: t.Any, body: t.Any, transport: Transport
) -> ClusterError:
    """The error for an answer of the API server that is not a success, with advice."""
    document = _status(body)
    message = str(document.get("message") or "")
    causes = (document.get("details") or {}).get("causes") or ()
    found = classify(message, status, causes)
    advice = found.advice if found else ""
    if status == 401:
        advice = f"Renew the credentials of {transport.login.source}."
    kind = ConflictError if status == 409 else ClusterError
    error = kind(action, target, status, str(document.get("reason") or reason or ""), message, advice)
    error.refusal = found
    return error


def may_succeed_later(error: ClusterError) -> bool:
    """Whether the refused request may succeed a moment later."""
    if error.refusal and error.refusal.category == "invalid":
        return False
    return is_retryable(error.status) or bool(error.refusal and error.refusal.transient)


def _status(body: t.Any) -> Object:
    """The Status object that the server sent; the text of anything else becomes its message."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"message": " ".join(text.split())[:500]}


def _is_permanent(reason: str) -> bool:
    """Whether retrying cannot help: the certificate or the proxy's login is wrong."""
    return any(words in reason for words in (*WRONG_CERTIFICATE, WRONG_PROXY_LOGIN))


def _lines(chunks: t.Iterable[bytes]) -> t.Iterator[bytes]:
    pending = b""
    for chunk in chunks:
        *whole, pending = (pending + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())


__all__ = ["CLUSTER_ARGUMENTS", "FIELD_MANAGER", "PARALLEL", "Cluster", "Kind", "Object", "connected"]
