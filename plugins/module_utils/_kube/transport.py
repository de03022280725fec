# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The transport to the API server, for requests and websockets: TLS, proxy and login.

The TLS context is created here, so that no certificate or key is ever written to a file, which a killed
process would leave behind.
This module is private to the collection.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import threading
import typing as t
from urllib.parse import unquote, urlsplit

from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError
from ansible_collections.eden.reference.plugins.module_utils._kube.login import Credentials, Login
from ansible_collections.eden.reference.plugins.module_utils._yaml import yaml_of_json

if t.TYPE_CHECKING:
    from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import Access

# Connecting to the cluster reports a missing package.
with contextlib.suppress(ImportError):
    import urllib3
    from urllib3._collections import HTTPHeaderDict

# Parallel requests. Each uses a connection, whose TLS handshake costs more than most requests.
PARALLEL = 4


class Transport:
    """Sends requests as the pool manager of urllib3 does, with the access's TLS, proxy and login."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.login = Login(access)
        self._lock = threading.Lock()
        # A certificate belongs to a connection, so a new certificate needs new connections.
        self._managers: dict[tuple[bytes, bytes], t.Any] = {}
        self._ca = access.content(access.cluster, "certificate-authority")

    def request(
        self, method: str, url: str, headers: t.Mapping[str, str] | None = None, **options: t.Any
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; after a 401, send it once more if there are new credentials."""
        if "yaml" in (headers or {}).get("Content-Type", "") and isinstance(options.get("body"), str):
            # The client sends JSON here, and the API server's YAML parser refuses surrogate pairs.
            options["body"] = yaml_of_json(options["body"])
        credentials = self.login.current()
        answer = self._request(credentials, method, url, headers, options)
        renewed = self.login.renewed(credentials) if answer.status == 401 else None
        if renewed is None:
            return answer
        answer.drain_conn()
        return self._request(renewed, method, url, headers, options)

    def _request(
        self,
        credentials: Credentials,
        method: str,
        url: str,
        headers: t.Mapping[str, str] | None,
        options: t.Mapping[str, t.Any],
    ) -> urllib3.BaseHTTPResponse:
        sent = HTTPHeaderDict(headers or {})
        for name, value in self.headers(credentials):
            # As bytes on the wire, a header is UTF-8 here.
            sent.add(name, value.encode().decode("latin-1"))
        answer: urllib3.BaseHTTPResponse = self._manager(credentials).request(
            method, url, headers=sent, **options
        )
        return answer

    def headers(self, credentials: Credentials) -> list[tuple[str, str]]:
        """The headers that identify the user."""
        login = [("Authorization", credentials.authorization)] if credentials.authorization else []
        return login + self.access.impersonation()

    def connect(self, credentials: Credentials, seconds: float | None) -> socket.socket:
        """A connected socket to the API server, through the proxy and with TLS, for a websocket.

        Raises:
            OSError, urllib3.exceptions.HTTPError: no connection.
        """
        server = urlsplit(self.access.server)
        pool = self._manager(credentials).connection_from_url(self.access.server)
        # This is how urllib3's own urlopen starts a connection.
        connection = pool._new_conn()
        connection.timeout = seconds
        try:
            if pool.proxy is None:
                connection.connect()
            elif server.scheme == "https":
                pool._prepare_proxy(connection)
            else:
                connection.set_tunnel(server.hostname, server.port or 80, headers=pool.proxy_headers)
                connection.connect()
        except BaseException:
            connection.close()
            raise
        connected: socket.socket = connection.sock
        connected.settimeout(seconds)
        return connected

    def clear(self) -> None:
        """Close all connections."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()

    def _manager(self, credentials: Credentials) -> t.Any:
        identity = (credentials.certificate, credentials.key)
        with self._lock:
            if identity not in self._managers:
                self._managers[identity] = self._new_manager(credentials)
            return self._managers[identity]

    def _new_manager(self, credentials: Credentials) -> t.Any:
        access = self.access
        options: dict[str, t.Any] = {
            "maxsize": PARALLEL,
            "retries": urllib3.Retry(0, redirect=3),
            "ssl_context": self._context(credentials),
        }
        if access.server.startswith("https:") and access.cluster.get("tls-server-name"):
            options["server_hostname"] = access.cluster["tls-server-name"]
        if not access.proxy:
            return urllib3.PoolManager(**options)
        try:
            proxy = urlsplit(access.proxy)
            address = f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
            user = (unquote(proxy.username or ""), unquote(proxy.password or ""))
            if proxy.scheme in ("socks5", "socks5h"):
                return _socks(address, user, options)
            headers = urllib3.util.make_headers(**access.proxy_headers)
            if proxy.username is not None:
                login = base64.b64encode(":".join(user).encode()).decode()
                headers["proxy-authorization"] = f"Basic {login}"
            if proxy.scheme == "https":
                options["proxy_ssl_context"] = self._context(Credentials(), also_public=True)
            if proxy.scheme not in ("http", "https") or not proxy.hostname:
                raise ValueError("it is not an http, https or socks5 URL")
            return urllib3.ProxyManager(address, proxy_headers=headers, **options)
        except (ImportError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise access.error(f"its proxy (proxy-url) cannot be used: {error}") from error

    def _context(self, credentials: Credentials, also_public: bool = False) -> ssl.SSLContext:
        """The TLS context, which verifies what kubectl verifies."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # urllib3 1 passes no IP address to ssl, and compares the names of a certificate itself.
        context.check_hostname = hasattr(urllib3, "BaseHTTPResponse")
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # As in kubectl: an intermediate may be the trusted certificate, and old authorities lack key
        # identifiers.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        try:
            if self.access.cluster.get("insecure-skip-tls-verify"):
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            elif self._ca:
                with _as_path(self._ca) as path:
                    context.load_verify_locations(path)
            if also_public or not self._ca:
                context.load_default_certs()
        except ssl.SSLError as error:
            raise self.access.error(
                f"its certificate-authority is not a PEM certificate ({error.reason})"
            ) from error
        if credentials.certificate:
            try:
                with _as_path(credentials.certificate) as certificate, _as_path(credentials.key) as key:
                    # OpenSSL would otherwise prompt for the passphrase of a key.
                    context.load_cert_chain(certificate, key, password=lambda: b"")
            except (ssl.SSLError, ValueError) as error:
                reason = getattr(error, "reason", None) or "the key has a passphrase"
                raise CollectionError(
                    f"Could not use the client certificate of {self.login.source}: {reason}. Check that the "
                    "certificate and the key are PEM, without a passphrase, and belong to each other."
                ) from error
        return context


def _socks(address: str, user: tuple[str, str], options: dict[str, t.Any]) -> t.Any:
    try:
        from urllib3.contrib.socks import SOCKSProxyManager
    except ImportError:
        raise ImportError("socks5 needs the Python package PySocks: pip install PySocks") from None
    # The proxy resolves the name of the API server, as for kubectl.
    address = address.replace("socks5://", "socks5h://")
    return SOCKSProxyManager(address, user[0] or None, user[1] or None, **options)


@contextlib.contextmanager
def _as_path(content: bytes) -> t.Iterator[str]:
    """A path from which the content can be read once, with no file behind it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem")
        os.write(descriptor, content)
    else:
        descriptor, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
    try:
        yield f"/dev/fd/{descriptor}"
    finally:
        os.close(descriptor)


__all__ = ["PARALLEL", "Transport"]
