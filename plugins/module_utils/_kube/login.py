# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The credentials of a connection: a token, a password, a certificate, or those of an exec plugin.

This module is private to the collection.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import threading
import typing as t
from datetime import UTC, datetime

from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError

if t.TYPE_CHECKING:
    from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import Access, Mapping

PLUGIN_TIMEOUT = 60.0
MAX_OUTPUT = 500
_PLUGIN_API = "client.authentication.k8s.io/"
_PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"
_SECRET = re.compile(
    r"""(?ix)
    ((?:token|secret|passw(?:or)?d|key|credential)s?(?:\s*=\s*|["']\s*:\s*)["']?) [^\s"',}]+
    | ((?:passw(?:or)?d|secret)\s*:\s*) \S+
    | ((?:bearer|basic)\s+) \S+
    | eyJ[\w-]+\.[\w.-]*  # a JSON Web Token
    """
)
# Too long to be a word, and too mixed to be a path.
_RANDOM = re.compile(r"(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Z])(?=[\w+/=-]*[a-z])[\w+/=-]{32,}|\b[0-9a-f]{32,}\b")


class Credentials(t.NamedTuple):
    """Credentials for the API server."""

    authorization: str = ""
    certificate: bytes = b""
    key: bytes = b""

    def __repr__(self) -> str:
        return "Credentials(...)"


class _Ended(t.NamedTuple):
    """A program's exit code, None if it was killed because it took too long, and its output."""

    code: int | None
    stdout: str
    stderr: str


async def _run(command: t.Sequence[str], environment: t.Mapping[str, str]) -> _Ended:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    outputs = asyncio.ensure_future(process.communicate())
    _done, running = await asyncio.wait({outputs}, timeout=PLUGIN_TIMEOUT)
    if running:
        process.kill()
    stdout, stderr = (output.decode(errors="replace") for output in await outputs)
    return _Ended(None if running else process.returncode, stdout, stderr)


class Login:
    """Provides the credentials of an access; runs its exec plugin only if they are missing or expired."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._given: Credentials | None = None
        self._expires: datetime | None = None
        user = access.user
        has_own = any(
            user.get(name)
            for name in ("token", "tokenFile", "username", "client-certificate", "client-certificate-data")
        )
        # As for kubectl, a plugin runs only if there are no other credentials.
        self._plugin: Mapping = {} if has_own else user.get("exec") or {}

    @property
    def source(self) -> str:
        """Where the credentials come from, for messages."""
        if self._plugin:
            return f"the exec plugin {self._plugin.get('command')} of {self._access.source}"
        return self._access.source

    def current(self) -> Credentials:
        """The credentials for the next request.

        Raises:
            CollectionError: the exec plugin failed, or a file cannot be read.
        """
        with self._lock:
            expired = self._expires is not None and datetime.now(UTC) >= self._expires
            if self._given is None or expired:
                self._given = self._ask_plugin() if self._plugin else self._of_user()
            token_file = self._access.user.get("tokenFile")
            return self._given._replace(authorization=self._of_token_file()) if token_file else self._given

    def renewed(self, used: Credentials) -> Credentials | None:
        """Other credentials than the ones that were refused, if there are any."""
        with self._lock:
            if self._given == used:
                self._given = None
        renewed = self.current()
        return renewed if renewed != used else None

    def _of_user(self) -> Credentials:
        access, user = self._access, self._access.user
        authorization = f"Bearer {user['token']}" if user.get("token") else ""
        if user.get("username"):
            pair = f"{user['username']}:{user.get('password') or ''}"
            authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return Credentials(
            authorization, access.content(user, "client-certificate"), access.content(user, "client-key")
        )

    def _of_token_file(self) -> str:
        # Kubernetes rotates the tokens of service accounts, so it is read each time.
        path, token = self._access.user["tokenFile"], self._access.user.get("token") or ""
        try:
            with open(path, encoding="ascii") as file:
                token = file.read().strip() or token
        except (OSError, ValueError) as error:
            if not token:
                reason = getattr(error, "strerror", "") or "it is not ASCII"
                raise self._access.error(f"its tokenFile {path} cannot be read ({reason})") from error
        if not token or not token.isprintable():
            raise self._access.error(f"its tokenFile {path} holds no token")
        return f"Bearer {token}"

    def _ask_plugin(self) -> Credentials:
        document = _credential(self._run_plugin(), self._plugin.get("apiVersion", ""))
        status = document if isinstance(document, str) else document.get("status") or {}
        if isinstance(status, str):
            raise self._plugin_error(status)
        token = status.get("token") or ""
        certificate, key = (status.get(f"client{name}Data") or "" for name in ("Certificate", "Key"))
        if not token and not (certificate and key):
            raise self._plugin_error("it returned neither a token nor a certificate with its key")
        try:
            stamp = status.get("expirationTimestamp")
            self._expires = datetime.fromisoformat(stamp.replace("Z", "+00:00")) if stamp else None
        except (ValueError, AttributeError):
            raise self._plugin_error("its expirationTimestamp is not a time") from None
        return Credentials(f"Bearer {token}" if token else "", certificate.encode(), key.encode())

    def _run_plugin(self) -> str:
        plugin = self._plugin
        version = plugin.get("apiVersion")
        if version not in (f"{_PLUGIN_API}v1", f"{_PLUGIN_API}v1beta1"):
            raise self._plugin_error(
                f"its apiVersion is {version}: supported are {_PLUGIN_API}v1 and v1beta1"
            )
        if plugin.get("interactiveMode") == "Always":
            raise self._plugin_error("it has interactiveMode Always, and there is no terminal: log in first")
        settings = {entry["name"]: entry["value"] for entry in plugin.get("env") or []}
        try:
            ended = asyncio.run(
                _run(
                    [plugin["command"], *(plugin.get("args") or [])],
                    {**os.environ, **settings, "KUBERNETES_EXEC_INFO": json.dumps(self._plugin_input())},
                )
            )
        except OSError as error:
            hint = plugin.get("installHint")
            reason = f"it cannot be run ({error.strerror})"
            raise self._plugin_error(f"{reason}: {' '.join(hint.split())}" if hint else reason) from None
        if ended.code is None:
            shown = self._shown_output(ended.stderr)
            raise self._plugin_error(f"it did not end within {PLUGIN_TIMEOUT:.0f} s{shown}")
        if ended.code:
            raise self._plugin_error(f"it exited with code {ended.code}{self._shown_output(ended.stderr)}")
        return ended.stdout

    def _plugin_input(self) -> dict[str, t.Any]:
        spec: dict[str, t.Any] = {"interactive": False}
        if self._plugin.get("provideClusterInfo"):
            access, cluster = self._access, self._access.cluster
            ca = base64.b64encode(access.content(cluster, "certificate-authority")).decode()
            config = {entry["name"]: entry.get("extension") for entry in cluster.get("extensions") or []}.get(
                _PLUGIN_EXTENSION
            )
            spec["cluster"] = {
                name: value
                for name, value in {
                    "server": access.server,
                    "tls-server-name": cluster.get("tls-server-name"),
                    "insecure-skip-tls-verify": cluster.get("insecure-skip-tls-verify"),
                    "certificate-authority-data": ca,
                    "proxy-url": cluster.get("proxy-url"),
                    "disable-compression": cluster.get("disable-compression"),
                    "config": config,
                }.items()
                if value
            }
        return {"apiVersion": self._plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}

    def _shown_output(self, output: str) -> str:
        """The plugin's stderr on one line, with everything masked that may be a secret."""
        for entry in self._plugin.get("env") or []:
            if len(entry["value"]) > 3:
                output = output.replace(entry["value"], "***")
        output = _SECRET.sub(lambda found: f"{next(filter(None, found.groups()), '')}***", output)
        output = " ".join(_RANDOM.sub("***", output).split())
        return f": {output[-MAX_OUTPUT:]}" if output else ""

    def _plugin_error(self, reason: str) -> CollectionError:
        arguments = " (with arguments)" if self._plugin.get("args") else ""
        return CollectionError(
            f"Could not get credentials from {self.source}{arguments}: {reason.rstrip('.')}. Run the command "
            "by hand, or log in with it, until kubectl works with this kubeconfig, and run again."
        )


def _credential(output: str, version: str) -> dict[str, t.Any] | str:
    """The plugin's document, or why it is invalid; its content may be a token and is not shown."""
    try:
        document = json.loads(output)
        if document["kind"] == "ExecCredential" and document["apiVersion"] == version:
            return dict(document)
    except (ValueError, TypeError, LookupError):
        pass
    return f"its output is not an ExecCredential of {version}"


__all__ = ["Credentials", "Login"]
