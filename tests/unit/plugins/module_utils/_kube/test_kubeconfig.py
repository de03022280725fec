# SPDX-License-Identifier: GPL-3.0-or-later
"""What options, variables and every field of a kubeconfig do, for requests and for the port-forward."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import requests
import yaml
from certificates import Authority
from tls_server import Seen, TlsServer, http_proxy, serving, socks_proxy

from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, CollectionError
from ansible_collections.eden.reference.plugins.module_utils._kube import kubeconfig as module
from ansible_collections.eden.reference.plugins.module_utils._kube import login, transport
from ansible_collections.eden.reference.plugins.module_utils._kube.client import connected
from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import (
    CONNECTION_ARGUMENTS,
    Access,
    find_access,
    given_options,
    secrets_of,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.port_forward import forwarded

Object = dict[str, t.Any]

V1 = "client.authentication.k8s.io/v1"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def document(cluster: Object, user: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


class World:
    """A server, its files, and kubeconfigs that reach it."""

    def __init__(self, folder: Path, server: TlsServer, port: int, authority: Authority) -> None:
        self.folder = folder
        self.server = server
        self.url = f"https://127.0.0.1:{port}"
        self.authority = authority
        self.client = authority.client("jo", ())
        self.ca = authority.pair.certificate

    def kubeconfig(self, cluster: Object | None = None, user: Object | None = None) -> Object:
        trusted = {"server": self.url, "certificate-authority-data": encoded(self.ca)}
        wanted = {key: value for key, value in {**trusted, **(cluster or {})}.items() if value is not None}
        return document(wanted, {"token": "sesame"} if user is None else user)

    def file(self, content: str | bytes, name: str) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def plugin(self, script: str, **fields: t.Any) -> Object:
        """An exec plugin of these shell commands."""
        path = Path(self.file(f"#!/bin/sh\n{script}\n", "plugin"))
        path.chmod(0o700)
        return {"exec": {"apiVersion": V1, "command": str(path), "interactiveMode": "Never", **fields}}

    def ask(self, **options: t.Any) -> list[Seen]:
        """All requests of a read and of a port-forward with these options."""
        self.server.seen.clear()
        with connected(options, 0) as cluster:
            cluster.version()
            with forwarded(cluster, "ns", "store", 8080) as session:
                assert session.get("http://store/", timeout=5).text == "ok"
        assert "/portforward" in self.server.seen[-1].path
        return self.server.seen


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("K8S_AUTH_", "KUBE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def world(tmp_path: Path) -> t.Iterator[World]:
    authority = Authority("ca")
    server = TlsServer(tmp_path, authority)
    with serving(server.handler) as port:
        yield World(tmp_path, server, port, authority)


def credential(**status: t.Any) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


def key_data(world: World) -> Object:
    return {"clientKeyData": world.client.key.decode()}


class Case(t.NamedTuple):
    """A field of the cluster or of the user, and the requests that it makes."""

    field: str
    cluster: t.Callable[[World], Object]
    user: t.Callable[[World], Object]
    expected: t.Callable[[Seen], t.Any]


def bearer(seen: Seen) -> bool:
    return seen.values("authorization") == ["Bearer sesame"]


def nothing(_world: World) -> Object:
    return {}


def token(_world: World) -> Object:
    return {"token": "sesame"}


def client_files(world: World) -> Object:
    world.client.write(world.folder, "jo")
    return {"client-certificate": "jo.crt", "client-key": "jo.key"}


FIELDS = [
    Case("server", nothing, token, bearer),
    Case(
        "tls-server-name",
        lambda w: {"tls-server-name": "api.internal"},
        token,
        lambda s: s.name == "api.internal",
    ),
    Case(
        "insecure-skip-tls-verify",
        lambda w: {"insecure-skip-tls-verify": True, "certificate-authority-data": None},
        token,
        bearer,
    ),
    Case(
        "certificate-authority",
        lambda w: {"certificate-authority": "ca.crt", "certificate-authority-data": None},
        token,
        bearer,
    ),
    Case("certificate-authority-data", lambda w: {"certificate-authority": "/nowhere"}, token, bearer),
    Case("disable-compression", lambda w: {"disable-compression": True}, token, bearer),
    Case("client-certificate", nothing, client_files, lambda s: s.user == "jo"),
    Case(
        "client-certificate-data",
        nothing,
        lambda w: {
            "client-certificate-data": encoded(w.client.certificate),
            "client-key-data": encoded(w.client.key),
            "client-key": "/nowhere",
        },
        lambda s: s.user == "jo",
    ),
    Case("token", nothing, token, bearer),
    Case("tokenFile", nothing, lambda w: {"tokenFile": w.file("sesame\n", "t"), "token": "old"}, bearer),
    Case("tokenFile, relative", nothing, lambda w: {"tokenFile": Path(w.file("sesame", "t")).name}, bearer),
    Case(
        "as",
        nothing,
        lambda w: {"token": "sesame", "as": "jané"},
        lambda s: s.values("impersonate-user") == ["jané"] and bearer(s),
    ),
    Case(
        "as-uid, as-groups, as-user-extra",
        nothing,
        lambda w: {
            "as": "jo",
            "as-uid": "7",
            "as-groups": ["a", "b"],
            "as-user-extra": {"x.y/z": ["1", "2"]},
        },
        lambda s: (
            (
                s.values("impersonate-uid"),
                s.values("impersonate-group"),
                s.values("impersonate-extra-x.y%2fz"),
            )
            == (["7"], ["a", "b"], ["1", "2"])
        ),
    ),
    Case(
        "username, password",
        nothing,
        lambda w: {"username": "jo", "password": "p:ä"},
        lambda s: s.values("authorization") == [f"Basic {encoded('jo:p:ä'.encode())}"],
    ),
    Case("exec: token", nothing, lambda w: w.plugin(f"echo '{credential(token='sesame')}'"), bearer),
    Case(
        "exec: command relative to the file",
        nothing,
        lambda w: w.plugin(f"echo '{credential(token='sesame')}'", command="./plugin"),
        bearer,
    ),
    Case(
        "exec: certificate",
        nothing,
        lambda w: w.plugin(
            "cat "
            + w.file(credential(clientCertificateData=w.client.certificate.decode(), **key_data(w)), "out")
        ),
        lambda s: s.user == "jo",
    ),
    Case(
        "exec: args, env",
        nothing,
        lambda w: w.plugin(
            f"echo '{credential(token='REST')}' | sed s/REST/$A$1/",
            args=["same"],
            env=[{"name": "A", "value": "se"}],
        ),
        bearer,
    ),
    Case("exec loses against a token", nothing, lambda w: {**w.plugin("exit 3"), "token": "sesame"}, bearer),
]


@pytest.mark.parametrize("case", FIELDS, ids=[case.field for case in FIELDS])
def test_field_of_a_kubeconfig_is_honoured(world: World, case: Case) -> None:
    config = world.kubeconfig(case.cluster(world), case.user(world))
    seen = world.ask(kubeconfig=world.file(yaml.safe_dump(config), "kubeconfig"))
    assert len(seen) == 4
    assert [request for request in seen if not case.expected(request)] == []


def test_every_field_of_kubectl_is_tried_or_refused() -> None:
    tried = (
        " ".join(case.field for case in FIELDS)
        + " client-key client-key-data proxy-url auth-provider extensions"
    )
    assert [name for name in {**module._CLUSTER_FIELDS, **module._USER_FIELDS} if name not in tried] == []


@pytest.mark.parametrize("login", ["", "jo:p@ss:1"])
@pytest.mark.parametrize("way", ["proxy-url", "option", "header", "variable"])
def test_proxy(world: World, monkeypatch: pytest.MonkeyPatch, way: str, login: str) -> None:
    asked: list[list[str]] = []
    with serving(http_proxy(asked, login)) as port:
        quoted = login.replace("@", "%40").replace("p@ss:1", "p%40ss%3A1")
        address = f"http://{quoted + '@' if login and way != 'header' else ''}127.0.0.1:{port}"
        options: Object = {
            "kubeconfig": world.kubeconfig({"proxy-url": address} if way == "proxy-url" else {})
        }
        if way in ("option", "header"):
            options["proxy"] = address
        if way == "header" and login:
            options["proxy_headers"] = {"proxy_basic_auth": login}
        if way == "variable":
            # Never for this machine itself, so the server gets another name.
            monkeypatch.setattr(module, "_proxy_of_environment", lambda _server: address)
        seen = world.ask(**options)
    assert len(asked) >= 2
    assert all(head[0].startswith("CONNECT 127.0.0.1:") for head in asked)
    assert all(bearer(request) for request in seen)
    assert "sesame" not in str(asked)


def test_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    monkeypatch.setenv("no_proxy", "192.0.2.0/24")
    for server, proxy in (
        ("https://a", "http://proxy:1"),
        ("https://192.0.2.1", ""),
        ("https://localhost", ""),
    ):
        assert find_access({"kubeconfig": document({"server": server}, {})}).proxy == proxy
    given = {"kubeconfig": document({"server": "https://a.b"}, {}), "proxy": "http://p", "no_proxy": ".b"}
    assert find_access(given).proxy == ""


def test_proxy_that_refuses_the_login_is_named_at_once(world: World) -> None:
    with serving(http_proxy([], "jo:right")) as port:
        config = world.kubeconfig({"proxy-url": f"http://jo:hunter2@127.0.0.1:{port}"})
        with connected({"kubeconfig": config}, 60) as cluster, pytest.raises(ClusterError) as error:
            cluster.version()
    assert "407" in error.value.message
    assert "proxy-url" in error.value.message
    assert "hunter2" not in error.value.message


def test_socks_proxy(world: World) -> None:
    pytest.importorskip("socks")
    asked: list[list[str]] = []
    with serving(socks_proxy(asked)) as port:
        server = world.url.replace("127.0.0.1", "api.internal")
        world.ask(
            kubeconfig=world.kubeconfig({"server": server, "proxy-url": f"socks5://jo:p%40@127.0.0.1:{port}"})
        )
    assert asked[0] == ["jo", "p@", "api.internal"]


def test_socks_proxy_without_its_package(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    with (
        connected({"kubeconfig": world.kubeconfig({"proxy-url": "socks5://127.0.0.1:1"})}, 0) as cluster,
        pytest.raises(
            CollectionError, match=r"proxy-url\) cannot be used: socks5 needs .* pip install PySocks"
        ),
    ):
        cluster.version()


@pytest.mark.parametrize("url", ["ftp://192.0.2.2", "192.0.2.2:1", "http://[::1", "http://"])
def test_proxy_that_is_none_is_named(world: World, url: str) -> None:
    with (
        connected({"kubeconfig": world.kubeconfig({"proxy-url": url})}, 0) as cluster,
        pytest.raises(CollectionError, match=r"its proxy \(proxy-url\) cannot be used"),
    ):
        cluster.version()


def test_token_file_is_read_again(world: World) -> None:
    config = world.kubeconfig(user={"tokenFile": world.file("first", "t")})
    with connected({"kubeconfig": config}, 0) as cluster:
        for value in ("first", "second"):
            world.file(value, "t")
            cluster.version()
            assert world.server.seen[-1].values("authorization") == [f"Bearer {value}"]


COUNTING = """
printf x >> {folder}/asked
printf '{{"apiVersion": "{v1}", "kind": "ExecCredential", "status": {{"token": "t%s"{more}}}}}' \
    $(wc -c < {folder}/asked)
"""


def test_plugin_is_asked_once_and_again_after_401(world: World) -> None:
    config = world.kubeconfig(user=world.plugin(COUNTING.format(folder=world.folder, v1=V1, more="")))
    world.server.refused = {"Bearer t1"}
    with connected({"kubeconfig": config}, 0) as cluster:
        cluster.version()
        cluster.version()
        assert [seen.values("authorization")[0][-2:] for seen in world.server.seen] == ["t1", "t2", "t2"]
        # The port-forward's own request is answered in the same way.
        world.server.refused = {"Bearer t2"}
        with forwarded(cluster, "ns", "store", 8080) as session:
            assert session.get("http://store/", timeout=5).ok
        world.server.refused = {f"Bearer t{number}" for number in range(9)}
        with pytest.raises(ClusterError) as error:
            cluster.version()
        assert (
            f"Renew the credentials of the exec plugin {world.folder}/plugin of the dict"
            in error.value.message
        )
    assert (world.folder / "asked").read_text() == "xxxx"


def test_plugin_is_asked_again_when_its_token_expires(world: World) -> None:
    more = ', "expirationTimestamp": "2020-01-01T00:00:00Z"'
    config = world.kubeconfig(user=world.plugin(COUNTING.format(folder=world.folder, v1=V1, more=more)))
    with connected({"kubeconfig": config}, 0) as cluster:
        cluster.version()
        cluster.version()
    assert [seen.values("authorization")[0][-2:] for seen in world.server.seen] == ["t1", "t2"]


def test_plugin_gets_what_kubectl_gives(world: World) -> None:
    script = f"printf %s \"$KUBERNETES_EXEC_INFO\" > {world.folder}/info; echo '{credential(token='sesame')}'"
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    user = world.plugin(script, provideClusterInfo=True)
    world.ask(kubeconfig=world.kubeconfig({"extensions": [extension], "disable-compression": True}, user))
    info = json.loads((world.folder / "info").read_text())
    assert (info["apiVersion"], info["kind"]) == (V1, "ExecCredential")
    assert info["spec"] == {
        "interactive": False,
        "cluster": {
            "server": world.url,
            "certificate-authority-data": encoded(world.ca),
            "disable-compression": True,
            "config": {"audience": "a"},
        },
    }


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqbyJ9.c2lnbmF0dXJl"
# fmt: off
FAILURES: list[tuple[str, Object, str]] = [
    ("echo 'ExpiredToken: log in first' >&2; exit 7", {}, "exited with code 7: ExpiredToken: log in first"),
    (f"echo 'got {JWT} hunter2, token=hunter2' >&2; exit 1", {"env": [{"name": "P", "value": "hunter2"}]},
     "got ***"),
    ("echo 'Authorization: Bearer hunter2' >&2; exit 1", {}, "Bearer ***"),
    ("true", {"command": "no-such-plugin", "installHint": "brew\ninstall it"},
     "cannot be run .*: brew install it"),
    ("true", {"interactiveMode": "Always"}, "interactiveMode Always"),
    ("true", {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "its apiVersion is .*v1alpha1"),
    ("echo hunter2", {}, "its output is not an ExecCredential"),
    (f"echo '{credential()}'", {}, "neither a token nor a certificate"),
    (f"echo '{credential(clientKeyData='k')}'", {}, "neither a token nor a certificate"),
    (f"echo '{credential(token='hunter2', expirationTimestamp='soon')}'", {},
     "expirationTimestamp is not a time"),
    ("echo waiting for the browser >&2; exec sleep 9", {},
     r"did not end within 0 s: waiting for the browser"),
]
# fmt: on


@pytest.mark.parametrize(("script", "fields", "words"), FAILURES)
def test_plugin_that_fails_is_quoted_without_secrets(
    world: World, monkeypatch: pytest.MonkeyPatch, script: str, fields: Object, words: str
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(login, "PLUGIN_TIMEOUT", 0.3)
    user = world.plugin(script, **fields)
    with (
        connected({"kubeconfig": world.kubeconfig(user=user)}, 60) as cluster,
        pytest.raises(CollectionError, match=words.replace("***", r"\*\*\*")) as error,
    ):
        cluster.version()
    assert (
        f"Could not get credentials from the exec plugin {user['exec']['command']} of" in error.value.message
    )
    assert "hunter2" not in error.value.message
    assert JWT not in error.value.message


UNUSABLE: list[tuple[str, str]] = [
    ("", "it is empty"),
    ("\0hunter2", "special characters are not allowed"),
    ("hunter2", "it does not have the structure of a kubeconfig"),
    ("- hunter2", "it does not have the structure of a kubeconfig"),
    ("token: 'hunter2\n", "found unexpected end of stream"),
    ("token: hunter2 x: y", "mapping values are not allowed here"),
    ("!!python/object/apply:os.system ['hunter2']", "could not determine a constructor"),
    ("users: [{name: u, token: hunter2}]", "it does not have the structure of a kubeconfig"),
    ("clusters: [{name: c, cluster: {}}]", "it has no current-context"),
    ("{current-context: y, contexts: [{name: x, context: {}}]}", "it has no context named y; it has x"),
]


def with_cluster(**fields: t.Any) -> str:
    return yaml.safe_dump(document({"server": "https://192.0.2.1", **fields}, {}))


def with_user(**fields: t.Any) -> str:
    return yaml.safe_dump(document({"server": "https://192.0.2.1"}, fields))


UNUSABLE += [
    *(
        (with_cluster(server=server), "is not an http or https URL")
        for server in ("", "a:b", "ftp://a", "https://a:x")
    ),
    (with_cluster(server=5), "server of its cluster is not a string"),
    (with_cluster(server="https://[::1"), "is not an http or https URL"),
    (with_cluster(server="https://hunter2:hunter2@192.0.2.1"), "contains a user name"),
    (with_cluster(**{"certificate-authority": "/nowhere"}), "certificate-authority /nowhere cannot be read"),
    (with_cluster(**{"certificate-authority-data": "%"}), "certificate-authority-data is not base64"),
    (with_cluster(**{"certificate-authority-data": encoded(b"hunter2")}), "is not a PEM certificate"),
    (with_user(token="hunter2\n"), "its token contains a line break"),
    (with_user(token="hunter2\u20ac"), "its token contains a character"),
    (with_user(token=5), "token of its user is not a string"),
    (with_user(token="hunter2", username="jo"), "both a token and a username"),
    (with_user(password="hunter2"), "a password and no username"),
    (with_user(tokenFile="/nowhere"), "tokenFile /nowhere cannot be read"),
    (
        with_user(**{"auth-provider": {"name": "oidc"}}),
        "auth-provider oidc, which is not supported: replace it",
    ),
    (with_user(**{"as-groups": ["a"]}), "impersonates groups, a uid or extra fields, but no user"),
    (with_user(**{"client-key-data": "a"}), "a certificate needs its key"),
    (with_user(exec={"command": "a", "args": [5]}), "args or env that are not strings"),
    (
        with_user(**{"client-certificate-data": encoded(b"hunter2"), "client-key-data": encoded(b"hunter2")}),
        "Could not use the client certificate",
    ),
]


@pytest.mark.parametrize(("content", "words"), UNUSABLE)
def test_kubeconfig_of_no_use_is_reported_and_not_quoted(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(CollectionError) as error, connected({"kubeconfig": str(path)}, 0) as cluster:
        cluster.version()
    assert str(path) in error.value.message
    assert words in error.value.message
    assert "hunter2" not in error.value.message
    assert error.value.message.isprintable()


def test_dictionary_is_never_quoted() -> None:
    config = document({"server": "https://192.0.2.1"}, {"token": "hunter2", "client-key-data": "a"})
    with pytest.raises(CollectionError) as error:
        find_access({"kubeconfig": config})
    assert "the dictionary given as kubeconfig" in error.value.message
    assert "hunter2" not in error.value.message
    for text in (json.dumps(config), yaml.safe_dump(config)):
        with pytest.raises(CollectionError, match="neither a path nor a dictionary") as error:
            find_access({"kubeconfig": text})
        assert "hunter2" not in error.value.message
    assert "hunter2" not in repr(Access({}, {"token": "hunter2"}, "s", proxy_headers={"a": "hunter2"}))
    plugin = {"exec": {"command": "c", "env": [{"name": "A", "value": "hunter3"}]}}
    assert secrets_of(
        {"kubeconfig": document({}, {"token": "hunter2", "client-key-data": "k", **plugin})}
    ) == {"hunter2", "hunter3", "k"}
    assert secrets_of({"kubeconfig": "/path"}) == secrets_of({}) == set()


def test_several_files_are_merged_as_kubectl_merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a" / "first", tmp_path / "b" / "second"
    for path, content in (
        (first, {"users": [{"name": "u", "user": {"tokenFile": "t"}}], "current-context": "x"}),
        (
            second,
            {
                **document({"server": "https://b", "certificate-authority": "ca"}, {"token": "b"}),
                "current-context": "y",
            },
        ),
    ):
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", str(first), f"{tmp_path}/none", str(second)]))
    access = find_access({})
    assert access.user == {"tokenFile": f"{tmp_path}/a/t"}
    assert access.cluster == {"server": "https://b", "certificate-authority": f"{tmp_path}/b/ca"}


@pytest.mark.parametrize("name", sorted(CONNECTION_ARGUMENTS))
def test_option_wins_over_its_variables(name: str) -> None:
    entry = CONNECTION_ARGUMENTS[name]
    text, value, option = "a", t.cast(t.Any, "a"), t.cast(t.Any, "b")
    if entry["type"] == "bool":
        text, value, option = "no", False, True
    elif entry["type"] == "list":
        text, value, option = "a,b", ["a", "b"], ["c"]
    elif entry["type"] == "dict":
        text, value, option = "a", {"user_agent": "a"}, {"user_agent": "b"}
    for alias in (name, *entry.get("aliases", ())):
        variable = f"K8S_AUTH_{alias}".upper() + ("_USER_AGENT" if entry["type"] == "dict" else "")
        assert given_options({}, {variable: text}) == {name: value}
        assert given_options({name: option}, {variable: text}) == {name: option}
        assert given_options({name: None}, {variable: ""}) == {}


def test_variables_win_over_the_kubeconfig_and_the_pod(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.9")
    monkeypatch.setenv(
        "KUBECONFIG", world.file(yaml.safe_dump(world.kubeconfig({"server": "https://192.0.2.8"})), "k")
    )
    monkeypatch.setenv("K8S_AUTH_HOST", world.url)
    monkeypatch.setenv("K8S_AUTH_API_KEY", "of-awx")
    monkeypatch.setenv("K8S_AUTH_SSL_CA_CERT", world.file(world.ca, "ca.crt"))
    monkeypatch.setenv("K8S_AUTH_IMPERSONATE_USER", "jo")
    monkeypatch.setenv("K8S_AUTH_IMPERSONATE_GROUPS", "a,b")
    for seen in world.ask():
        assert seen.values("authorization") == ["Bearer of-awx"]
        assert seen.values("impersonate-group") == ["a", "b"]


def test_options_replace_what_the_kubeconfig_says(world: World) -> None:
    world.client.write(world.folder, "jo")
    config = world.kubeconfig(
        {"server": "https://192.0.2.1", "certificate-authority-data": encoded(b"none")},
        {"token": "x", "as": "y"},
    )
    pair = {"client_cert": f"{world.folder}/jo.crt", "client_key": f"{world.folder}/jo.key"}
    for options in (pair | {"validate_certs": False}, pair | {"ca_cert": f"{world.folder}/ca.crt"}):
        for seen in world.ask(kubeconfig=config, context="x", host=world.url, **options):
            assert (seen.user, seen.values("authorization")) == ("jo", [])


def test_order_without_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = tmp_path / "pod"
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", str(pod))
    with pytest.raises(CollectionError, match=f"{tmp_path}/.kube/config does not exist. Set "):
        find_access({})
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    with pytest.raises(CollectionError, match=f"no service account token .{pod}/token.*KUBECONFIG"):
        find_access({})
    pod.mkdir()
    (pod / "token").write_text("t")
    (pod / "ca.crt").write_text("c")
    assert find_access({}).server == "https://[fd00::1]:443"
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(with_cluster(server="https://default"))
    assert find_access({}).server == "https://default"
    # A file that is named and missing must not lead to another cluster.
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none")
    with pytest.raises(CollectionError, match=f"Could not find a kubeconfig: {tmp_path}/none does not exist"):
        find_access({})


@pytest.mark.parametrize("wrong", ["certificate-authority-data", "tls-server-name"])
def test_wrong_certificate_is_reported_at_once(world: World, wrong: str) -> None:
    other = encoded(Authority("other").pair.certificate)
    config = world.kubeconfig({wrong: other if "data" in wrong else "other.example.com"})
    with connected({"kubeconfig": config}, 60) as cluster, pytest.raises(ClusterError) as error:
        cluster.version()
    assert "Check certificate-authority and tls-server-name" in error.value.message
    with connected({"kubeconfig": config}, 60) as cluster:
        cluster.read = lambda *_: {"spec": {"selector": {"a": "1"}, "ports": [{"port": 8080}]}}  # type: ignore[method-assign]
        pod = {"metadata": {"name": "p"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        cluster.list = lambda *_, **__: [pod | {"spec": {"containers": []}}]  # type: ignore[method-assign]
        with (
            forwarded(cluster, "ns", "store", 8080) as session,
            pytest.raises(requests.ConnectionError, match=r"CERTIF|doesn't match"),
        ):
            session.get("http://store/", timeout=5)


KILLED = """
import json, sys
from ansible_collections.eden.reference.plugins.module_utils._kube.client import connected
with connected({"kubeconfig": json.loads(sys.stdin.read())}, 60) as cluster:
    cluster.version()
    print("asked", flush=True)
    sys.stdin.close()
    import time; time.sleep(60)
"""


def test_killed_process_leaves_no_key(world: World, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    user = {
        "client-certificate-data": encoded(world.client.certificate),
        "client-key-data": encoded(world.client.key),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(world.kubeconfig(user=user)))
    process.stdin.close()
    assert process.stdout.readline() == "asked\n"
    assert world.server.seen[-1].user == "jo"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert list(temporary.rglob("*")) == []


def test_certificate_without_memfd(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(transport.os, "memfd_create", raising=False)
    user = {
        "client-certificate-data": encoded(world.client.certificate),
        "client-key-data": encoded(world.client.key),
    }
    assert {seen.user for seen in world.ask(kubeconfig=world.kubeconfig(user=user))} == {"jo"}


def test_connection_arguments_are_those_of_kubernetes_core() -> None:
    common = pytest.importorskip("ansible_collections.kubernetes.core.plugins.module_utils.args_common")
    assert set(common.AUTH_ARG_SPEC) == set(CONNECTION_ARGUMENTS)
    for name, theirs in common.AUTH_ARG_SPEC.items():
        ours = CONNECTION_ARGUMENTS[name]
        assert theirs.get("aliases", []) == ours.get("aliases", []), name
        assert theirs.get("type", "str") == ours["type"], name
        # Ours masks the secrets in a kubeconfig, so that messages can name its path.
        if name != "kubeconfig":
            assert theirs.get("no_log", False) == ours.get("no_log", False), name


def test_kube_layer_knows_nothing_of_eden() -> None:
    package = Path(module.__file__).parent
    for path in package.glob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.search(r"\beden(?!\.reference)|_eden\b", line, re.IGNORECASE)
            assert not found, f"{path.name}:{number}: {line}"
