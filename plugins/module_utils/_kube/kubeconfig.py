# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the API server is and who asks: module options, ``K8S_AUTH_*``, kubeconfigs, a pod's service account.

The options and variables are those of ``kubernetes.core``, the fields of a kubeconfig those of kubectl. The
loader of the Python package ``kubernetes`` is not used: it writes keys to files, ignores ``as`` and the user
of a ``proxy-url``, and hides why an exec plugin failed.
This module is private to the collection.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ipaddress
import os
import typing as t
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

from ansible_collections.eden.reference.plugins.module_utils._collection import KUBECONFIG_ADVICE
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError

# Connecting to the cluster reports a missing package.
with contextlib.suppress(ImportError):
    import yaml
    from requests.utils import get_environ_proxies, select_proxy, should_bypass_proxies

Mapping = t.Mapping[str, t.Any]

CONNECTION_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "kubeconfig": {"type": "raw"},
    "context": {"type": "str"},
    "host": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "aliases": ["verify_ssl"]},
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"]},
    "client_cert": {"type": "path", "aliases": ["cert_file"]},
    "client_key": {"type": "path", "aliases": ["key_file"]},
    "proxy": {"type": "str"},
    "no_proxy": {"type": "str"},
    "proxy_headers": {
        "type": "dict",
        "options": {
            "proxy_basic_auth": {"type": "str", "no_log": True},
            "basic_auth": {"type": "str", "no_log": True},
            "user_agent": {"type": "str"},
        },
    },
    "persist_config": {"type": "bool"},
    "impersonate_user": {"type": "str"},
    "impersonate_groups": {"type": "list", "elements": "str"},
}

DEFAULT_KUBECONFIG = "~/.kube/config"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_CLUSTER_FIELDS: dict[str, type] = {
    "server": str,
    "tls-server-name": str,
    "insecure-skip-tls-verify": bool,
    "certificate-authority": str,
    "certificate-authority-data": str,
    "proxy-url": str,
    # Requests from here never ask for compression.
    "disable-compression": bool,
    "extensions": list,
}
_USER_FIELDS: dict[str, type] = {
    "client-certificate": str,
    "client-certificate-data": str,
    "client-key": str,
    "client-key-data": str,
    "token": str,
    "tokenFile": str,
    "as": str,
    "as-uid": str,
    "as-groups": list,
    "as-user-extra": dict,
    "username": str,
    "password": str,
    "auth-provider": dict,
    "exec": dict,
}
_CREDENTIALS = frozenset(_USER_FIELDS) - {"as", "as-uid", "as-groups", "as-user-extra"}
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_SECRETS = frozenset({"token", "password", "client-key-data", "client-secret", "id-token", "refresh-token"})


class _Unusable(Exception):
    """Why a kubeconfig is unusable; names fields, never their values."""


@dataclass(frozen=True)
class Access:
    """An API server and the user who connects to it.

    Attributes:
        cluster: the fields of a kubeconfig's cluster.
        user: the fields of a kubeconfig's user. Paths of both are absolute.
        source: where they were found, for messages.
        proxy: the URL of the proxy, empty for a direct connection.
        proxy_headers: arguments of ``urllib3.util.make_headers`` for the proxy.
    """

    cluster: Mapping
    user: Mapping = field(repr=False)
    source: str
    proxy: str = ""
    proxy_headers: Mapping = field(default_factory=dict, repr=False)

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.cluster["server"]).rstrip("/")

    def content(self, which: Mapping, name: str) -> bytes:
        """The bytes of ``name-data`` or of the file that ``name`` is; empty if neither is given."""
        data = which.get(f"{name}-data")
        if data:
            try:
                return base64.b64decode("".join(data.split()), validate=True)
            except (binascii.Error, ValueError):
                raise self.error(f"its {name}-data is not base64") from None
        if not which.get(name):
            return b""
        try:
            with open(which[name], "rb") as file:
                return file.read()
        except OSError as error:
            raise self.error(f"its {name} {which[name]} cannot be read ({error.strerror})") from error

    def error(self, reason: str) -> CollectionError:
        """The error for an unusable kubeconfig or unusable options."""
        return CollectionError(f"Could not use {self.source}: {reason}. {KUBECONFIG_ADVICE}")

    def impersonation(self) -> list[tuple[str, str]]:
        """The headers that impersonate another user."""
        extra = self.user.get("as-user-extra") or {}
        return [
            *([("Impersonate-User", self.user["as"])] if self.user.get("as") else []),
            *([("Impersonate-Uid", self.user["as-uid"])] if self.user.get("as-uid") else []),
            *(("Impersonate-Group", group) for group in self.user.get("as-groups") or []),
            *(
                ("Impersonate-Extra-" + quote(key, safe="!#$&'*+-.^_`|~"), value)
                for key, values in extra.items()
                for value in values
            ),
        ]


def find_access(options: Mapping, environment: t.Mapping[str, str] | None = None) -> Access:
    """The access that the options and the environment describe.

    An option takes precedence over its variable, and both over a kubeconfig or a service account. Without
    ``kubeconfig``, ``context`` or a ``host`` with credentials: ``KUBECONFIG``, the default kubeconfig, then
    the service account of the pod that this process runs in.

    Raises:
        CollectionError: nothing usable was found.
    """
    environment = os.environ if environment is None else environment
    given = given_options(options, environment)
    credentials = {
        name: given[option]
        for option, name in (
            ("api_key", "token"),
            ("username", "username"),
            ("password", "password"),
            ("client_cert", "client-certificate"),
            ("client_key", "client-key"),
        )
        if option in given
    }
    if "host" in given and credentials:
        access = Access({}, {}, "the connection options")
    else:
        access = _found(given.get("kubeconfig"), given.get("context", ""), environment)
    cluster, user = {**access.cluster}, {**access.user}
    if credentials:
        # With two identities in one request the API server would pick one.
        user = {name: value for name, value in user.items() if name not in _CREDENTIALS} | credentials
    if "host" in given:
        cluster["server"] = given["host"]
    if "ca_cert" in given:
        cluster = {**cluster, "certificate-authority": given["ca_cert"], "certificate-authority-data": ""}
    if "validate_certs" in given:
        cluster["insecure-skip-tls-verify"] = not given["validate_certs"]
    if "impersonate_user" in given or "impersonate_groups" in given:
        user = {name: value for name, value in user.items() if name in _CREDENTIALS}
        user |= {"as": given.get("impersonate_user"), "as-groups": given.get("impersonate_groups")}
    access = replace(access, cluster=cluster, user=user, proxy_headers=given.get("proxy_headers", {}))
    problem = _problem(access)
    if problem:
        raise access.error(problem)
    proxy = given.get("proxy") or cluster.get("proxy-url") or _proxy_of_environment(access.server)
    if proxy and given.get("no_proxy") and should_bypass_proxies(access.server, given["no_proxy"]):
        proxy = ""
    return replace(access, proxy=proxy)


def given_options(options: Mapping, environment: t.Mapping[str, str]) -> dict[str, t.Any]:
    """The connection options that are set, directly or by their ``K8S_AUTH_*`` variables."""
    given = {}
    for name, entry in CONNECTION_ARGUMENTS.items():
        value = options.get(name)
        if value is None or value == "":
            value = _of_environment(name, entry, environment)
        if value is not None and value != "" and value != {}:
            given[name] = value
    return given


def _of_environment(name: str, entry: Mapping, environment: t.Mapping[str, str]) -> t.Any:
    if "options" in entry:
        parts = {part: environment.get(f"K8S_AUTH_{name}_{part}".upper()) for part in entry["options"]}
        return {part: value for part, value in parts.items() if value}
    names = (name, *entry.get("aliases", ()))
    value = next((found for each in names if (found := environment.get(f"K8S_AUTH_{each}".upper()))), None)
    if value and entry["type"] == "bool":
        return value.lower() not in ("0", "false", "no")
    if value and entry["type"] == "list":
        return [item for item in value.split(",") if item]
    return value


def secrets_of(options: Mapping) -> set[str]:
    """The secrets in a kubeconfig that is given as a dictionary, which must not be shown."""

    def within(value: t.Any, secret: bool) -> t.Iterator[str]:
        if isinstance(value, dict):
            for key, part in value.items():
                yield from within(part, secret or key in _SECRETS)
            if isinstance(value.get("env"), list):
                yield from within([entry.get("value") for entry in value["env"]], True)
        elif isinstance(value, list):
            for part in value:
                yield from within(part, secret)
        elif secret and isinstance(value, str) and value:
            yield value

    return (
        set(within(options.get("kubeconfig"), False))
        if isinstance(options.get("kubeconfig"), dict)
        else set()
    )


def _found(kubeconfig: t.Any, context: str, environment: t.Mapping[str, str]) -> Access:
    named = kubeconfig or environment.get("KUBECONFIG", "")
    if isinstance(named, dict):
        return _access(lambda: [(named, os.getcwd())], "the dictionary given as kubeconfig", context)
    if not isinstance(named, str) or "\n" in named or named.lstrip().startswith("{"):
        raise CollectionError(
            f"Could not use the option kubeconfig: it is neither a path nor a dictionary. {KUBECONFIG_ADVICE}"
        )
    paths = [
        os.path.expandvars(os.path.expanduser(path))
        for path in (named or DEFAULT_KUBECONFIG).split(os.pathsep)
        if path
    ]
    present = [path for path in paths if os.path.exists(path)]
    if not present and not named and not context and environment.get("KUBERNETES_SERVICE_HOST"):
        return _of_pod(environment)
    if not present:
        raise CollectionError(
            f"Could not find a kubeconfig: {' and '.join(paths)} does not exist. {KUBECONFIG_ADVICE}"
        )
    return _access(lambda: [_file(path) for path in present], " and ".join(present), context)


def _of_pod(environment: t.Mapping[str, str]) -> Access:
    token, ca = (os.path.join(SERVICE_ACCOUNT, name) for name in ("token", "ca.crt"))
    if not os.path.exists(token):
        raise CollectionError(
            f"Could not find a cluster: KUBECONFIG is not set, {DEFAULT_KUBECONFIG} does not exist, and the "
            f"pod that this runs in has no service account token ({token}). {KUBECONFIG_ADVICE} "
            "Or give the pod a service account with automountServiceAccountToken: true."
        )
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(
        {"server": server, "certificate-authority": ca},
        {"tokenFile": token},
        "the service account of this pod",
    )


def _file(path: str) -> tuple[t.Any, str]:
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file), os.path.dirname(os.path.abspath(path))


def _access(load: t.Callable[[], list[tuple[t.Any, str]]], source: str, context: str) -> Access:
    source = f"the kubeconfig {source}" if not source.startswith("the ") else source
    source += f", context {context}" if context else ""
    empty = Access({}, {}, source)
    try:
        cluster, user = _selected(load(), context)
        return replace(empty, cluster=cluster, user=user)
    except _Unusable as error:
        raise empty.error(str(error)) from error
    except (yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        # The whole error would quote part of the file, which may contain a token.
        parts = [getattr(error, name, None) for name in ("context", "problem", "strerror", "reason")]
        words = ", ".join(filter(None, parts))
        raise empty.error(words or "it does not have the structure of a kubeconfig") from error


def _selected(documents: list[tuple[t.Any, str]], context: str) -> tuple[Mapping, Mapping]:
    """The cluster and the user of the context; a name is defined by the first file that has it."""
    merged: dict[str, dict[str, Mapping]] = {"clusters": {}, "users": {}, "contexts": {}}
    current = context
    for document, folder in documents:
        if document is None:
            continue
        current = current or document.get("current-context") or ""
        for kind, entries in merged.items():
            for entry in document.get(kind) or []:
                entries.setdefault(entry["name"], _absolute(entry[kind[:-1]] or {}, folder))
    if not current:
        raise _Unusable(
            "it is empty"
            if not any(merged.values())
            else "it has no current-context, and no context is given"
        )
    chosen = _entry(merged, "contexts", current)
    user = _entry(merged, "users", chosen["user"]) if chosen.get("user") else {}
    return (
        _typed(_entry(merged, "clusters", chosen.get("cluster")), _CLUSTER_FIELDS, "cluster"),
        _typed(user, _USER_FIELDS, "user"),
    )


def _entry(merged: t.Mapping[str, t.Mapping[str, Mapping]], kind: str, name: t.Any) -> Mapping:
    if name not in merged[kind]:
        known = ", ".join(map(str, merged[kind])) or "none"
        raise _Unusable(f"it has no {kind[:-1]} named {name}; it has {known}")
    return merged[kind][name]


def _absolute(entry: Mapping, folder: str) -> Mapping:
    """The entry with its relative paths made absolute."""
    paths: dict[str, t.Any] = {name: os.path.join(folder, entry[name]) for name in _PATHS if entry.get(name)}
    plugin = entry.get("exec")
    if plugin and "/" in plugin["command"]:
        paths["exec"] = {**plugin, "command": os.path.join(folder, plugin["command"])}
    return {**entry, **paths}


def _typed(entry: Mapping, fields: t.Mapping[str, type], kind: str) -> Mapping:
    words = {str: "a string", bool: "a boolean", list: "a list", dict: "a mapping"}
    for name, expected in fields.items():
        if entry.get(name) is not None and not isinstance(entry[name], expected):
            raise _Unusable(f"{name} of its {kind} is not {words[expected]}")
    return entry


def _problem(access: Access) -> str:
    """Why the access is unusable, or which setting would be ignored silently; empty if it is usable."""
    cluster, user = access.cluster, access.user
    try:
        server = urlsplit(str(cluster.get("server", "")))
        usable = server.scheme in ("http", "https") and server.hostname and server.port != 0
    except ValueError:
        usable = False
    if not usable:
        return "the server of its cluster is not an http or https URL such as https://192.0.2.1:6443"
    if server.username is not None:
        return "the URL of its server contains a user name: use a token or a certificate"
    if user.get("auth-provider"):
        return (
            f"its user has the auth-provider {user['auth-provider'].get('name')}, which is not supported: "
            "replace it with an exec plugin, such as kubelogin, or by a token"
        )
    for name in ("token", "username", "password", "as", "as-uid"):
        if not _is_one_line(user.get(name) or ""):
            return f"its {name} contains a line break, or another character that a header cannot carry"
    if not (user.get("token") or "").isascii():
        return "its token contains a character other than ASCII"
    if (user.get("as-uid") or user.get("as-groups") or user.get("as-user-extra")) and not user.get("as"):
        return "it impersonates groups, a uid or extra fields, but no user: set as, or impersonate_user"
    if user.get("token") and user.get("username"):
        return "its user has both a token and a username: remove one"
    if user.get("password") and not user.get("username"):
        return "its user has a password and no username"
    plugin = user.get("exec") or {}
    strings = [plugin.get("command", ""), *(plugin.get("args") or [])]
    strings += [entry.get(part) for entry in plugin.get("env") or [] for part in ("name", "value")]
    if not all(isinstance(each, str) for each in strings):
        return "the exec plugin of its user has args or env that are not strings"
    pair = [
        any(user.get(f"{name}{end}") for end in ("", "-data"))
        for name in ("client-certificate", "client-key")
    ]
    if pair[0] != pair[1]:
        return "its user has one of client-certificate and client-key: a certificate needs its key"
    return ""


def _is_one_line(text: str) -> bool:
    return text.isprintable() and text == text.strip()


def _proxy_of_environment(server: str) -> str:
    """The proxy from variables such as https_proxy; as for kubectl, never for this machine itself."""
    host = urlsplit(server).hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return "" if local else select_proxy(server, get_environ_proxies(server)) or ""


__all__ = ["CONNECTION_ARGUMENTS", "Access", "find_access", "given_options", "secrets_of"]
