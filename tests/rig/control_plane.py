# SPDX-License-Identifier: GPL-3.0-or-later
"""A thin Kubernetes control plane for tests: the real etcd and API server on loopback, no node, no container.

It starts in seconds. What needs controllers (a ready Deployment, a deleted namespace) or pods that run needs
`tests/cluster/cluster up` instead; ``controllers=True`` adds the controller manager and the scheduler.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import json
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from certificates import NEW, Authority, Pair, new_key, write_private

CLUSTER = Path(__file__).parent.parent / "cluster"
ADDRESS = "127.0.0.1"
# Reached only if something hangs: a busy machine takes long to start an API server.
START_SECONDS = 300.0
STOP_SECONDS = 15.0
PORT_ATTEMPTS = 5
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


class StartError(Exception):
    """A program of the control plane did not start; the text ends with its last words."""


class ControlPlane:
    """A running control plane while it is entered; its files are in ``directory``.

    RBAC, Pod Security admission and the audit log (of `tests/cluster/audit-policy.yaml`) are on. Without
    ``controllers`` a namespace has no default service account, so the admission that asks for one is off, and
    the cluster roles that are put together of others (admin, edit, view) grant nothing.

    With ``only`` the controller manager runs these controllers, in haste, and there is no scheduler.

    Raises ``StartError`` on entry if a program ends or is not ready within five minutes.
    """

    def __init__(self, directory: Path, controllers: bool = False, only: Sequence[str] = ()) -> None:
        self.directory = directory
        self.controllers = controllers or bool(only)
        self.only = only
        self.audit_log = directory / "audit.log"
        self.url = ""
        self._authority = Authority("tests/rig")
        self._running = ExitStack()

    def __enter__(self) -> ControlPlane:
        programs = ensure_programs(self.controllers)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_certificates()
        with ExitStack() as started:
            etcd = self._start_etcd(started, programs)
            self._start_api_server(started, programs, etcd)
            if self.controllers:
                self._start_controllers(started, programs)
            self._running = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (group system:masters)."""
        return self.kubeconfig_for("admin", ("system:masters",))

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = (), age: timedelta = NEW) -> Path:
        """The kubeconfig of a user with these groups, who may do what RBAC grants them.

        With an ``age``, its certificate was valid for a day that long ago.
        """
        identity = json.dumps([user, *groups, age.total_seconds()])
        name = base64.urlsafe_b64encode(identity.encode()).decode().rstrip("=")
        path = self.directory / f"{name[:200]}.kubeconfig"
        if not path.exists():
            content = self._kubeconfig(user, self._authority.client(user, groups, age))
            write_private(path, json.dumps(content).encode())
        return path

    def context_for(self, user: str, groups: tuple[str, ...] = (), age: timedelta = NEW) -> ssl.SSLContext:
        """What an HTTPS connection to the API server needs to be the user's.

        With an ``age``, its certificate was valid for a day that long ago.
        """
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            self._authority.client(user, groups, age).write(Path(directory), "user")
            context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
            context.load_cert_chain(Path(directory, "user.crt"), Path(directory, "user.key"))
        return context

    def audit_events(self, word: str) -> Iterator[dict[str, Any]]:
        """The events so far that have this word, such as a user or a namespace.

        An event is in the log before its request is answered.
        """
        with self.audit_log.open(encoding="utf-8") as lines:
            # The log is that of all tests, and long.
            for line in lines:
                if word in line:
                    yield json.loads(line)

    def _kubeconfig(self, user: str, pair: Pair) -> dict[str, Any]:
        def data(pem: bytes) -> str:
            return base64.b64encode(pem).decode()

        cluster = {"server": self.url, "certificate-authority-data": data(self._authority.pair.certificate)}
        credentials = {"client-certificate-data": data(pair.certificate), "client-key-data": data(pair.key)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "rig", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": user}}],
            "current-context": "rig",
        }

    def _write_certificates(self) -> None:
        self._authority.pair.write(self.directory, "ca")
        hosts = ["localhost", "kubernetes.default.svc"]
        self._authority.server("kube-apiserver", hosts, [ADDRESS]).write(self.directory, "server")
        self._authority.client("admin", ("system:masters",)).write(self.directory, "admin")
        write_private(self.directory / "service-account.key", new_key())

    def _start_etcd(self, started: ExitStack, programs: Path) -> str:
        """Starts etcd on Unix sockets, so that it needs no port; returns the URL for its clients."""
        # The address in a socket's URL is the path from the working directory: paths of sockets are short.
        client = "unix://etcd.sock:0"
        peer = "unix://peer.sock:0"
        arguments = {
            "data-dir": "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
        }
        self._spawn(started, programs / "etcd", arguments)
        return client

    def _start_api_server(self, started: ExitStack, programs: Path, etcd: str) -> None:
        for attempt in range(PORT_ATTEMPTS):
            port = free_port()
            self.url = f"https://{ADDRESS}:{port}"
            arguments = self._api_server_arguments(port, etcd)
            process = self._spawn(started, programs / "kube-apiserver", arguments)
            try:
                self._wait(process, "kube-apiserver", port, "/readyz")
            except StartError as error:
                # Another program may have taken the port in between.
                if "address already in use" not in str(error) or attempt == PORT_ATTEMPTS - 1:
                    raise
            else:
                return

    def _api_server_arguments(self, port: int, etcd: str) -> dict[str, str]:
        arguments = {
            "etcd-servers": etcd,
            "bind-address": ADDRESS,
            "advertise-address": ADDRESS,
            "secure-port": str(port),
            "endpoint-reconciler-type": "none",
            "tls-cert-file": "server.crt",
            "tls-private-key-file": "server.key",
            "client-ca-file": "ca.crt",
            "cert-dir": ".",
            "anonymous-auth": "false",
            "authorization-mode": "Node,RBAC",
            "allow-privileged": "true",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": "service-account.key",
            "service-account-signing-key-file": "service-account.key",
            "service-cluster-ip-range": "10.96.0.0/16",
            "audit-policy-file": str(CLUSTER / "audit-policy.yaml"),
            "audit-log-path": str(self.audit_log),
            "shutdown-delay-duration": "0s",
        }
        if not self.controllers:
            arguments["disable-admission-plugins"] = "ServiceAccount"
        return arguments

    def _start_controllers(self, started: ExitStack, programs: Path) -> None:
        kubeconfig = str(self.kubeconfig.relative_to(self.directory))
        common = {"kubeconfig": kubeconfig, "leader-elect": "false", "bind-address": ADDRESS}
        port = free_port()
        arguments = {
            **common,
            "secure-port": str(port),
            "root-ca-file": "ca.crt",
            "service-account-private-key-file": "service-account.key",
            "use-service-account-credentials": "false" if self.only else "true",
        }
        if self.only:
            arguments |= {"controllers": ",".join(self.only), "kube-api-qps": "500", "kube-api-burst": "1000"}
        process = self._spawn(started, programs / "kube-controller-manager", arguments)
        self._wait(process, "kube-controller-manager", port, "/healthz")
        if self.only:
            return
        port = free_port()
        process = self._spawn(started, programs / "kube-scheduler", {**common, "secure-port": str(port)})
        self._wait(process, "kube-scheduler", port, "/healthz")

    def _spawn(self, started: ExitStack, program: Path, arguments: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts a program in the directory, logs to ``<program>.log``; ``started`` stops it."""
        command = [str(program), *(f"--{name}={value}" for name, value in arguments.items())]
        with (self.directory / f"{program.name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        started.callback(kill, process)
        return process

    def _wait(self, process: subprocess.Popen[bytes], name: str, port: int, path: str) -> None:
        """Waits until the program answers 200 at ``path``; raises ``StartError`` if it ends or tarries."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        if name != "kube-apiserver":
            # The others sign their own certificates.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.directory / "admin.crt", self.directory / "admin.key")
        answer = "nothing"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            connection = http.client.HTTPSConnection(ADDRESS, port, timeout=5, context=context)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                answer = f"{response.status} {response.read().decode()[-500:]}"
                if response.status == 200:
                    return
            except (OSError, http.client.HTTPException) as error:
                answer = str(error)
            finally:
                connection.close()
            time.sleep(0.05)
        status = process.poll()
        happened = f"answered {path} with: {answer}" if status is None else f"ended with status {status}"
        log = self.directory / f"{name}.log"
        last_words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise StartError(f"{name} {happened}. The end of {log}:\n{last_words}")


def ensure_programs(controllers: bool) -> Path:
    """The directory with etcd and kube-apiserver, made where they are missing; raises ``StartError``."""
    command = [str(CLUSTER / "cluster"), "rig", *(["controllers"] if controllers else [])]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise StartError(f"`{' '.join(command)}` ended with status {result.returncode}; it said why above.")
    return Path(result.stdout.strip())


def free_port() -> int:
    """A port of the loopback interface that was free just now."""
    with socket.socket() as listener:
        listener.bind((ADDRESS, 0))
        return int(listener.getsockname()[1])


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a program whose data nothing needs: a busy API server takes long to end by itself."""
    process.kill()
    process.wait()


def stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Asks the program to end, kills it if it does not, and waits for its end."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def die_with_parent() -> None:
    """Runs in the child: a test run that is killed leaves no program behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
