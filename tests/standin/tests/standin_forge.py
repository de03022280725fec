# SPDX-License-Identifier: GPL-3.0-or-later
"""A git server over HTTP: basic authentication, and a repository is created by the first push to it."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

USER = "eden"


class Forge:
    """Serves bare repositories under `root`; nothing without the password."""

    def __init__(self, root: Path, password: str) -> None:
        self.root = root
        self.authorization = "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()
        self._server = _Server(("127.0.0.1", 0), _Handler, self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, repository: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{USER}/{repository}.git"

    def path(self, repository: str) -> Path:
        return self.root / USER / f"{repository}.git"

    def git(self, repository: str, *arguments: str, data: str = "") -> str:
        """Standard output of a git command in a repository of the server."""
        command = ["git", "-c", "safe.directory=*", "-C", str(self.path(repository)), *arguments]
        return subprocess.run(command, input=data, check=True, capture_output=True, text=True).stdout.strip()

    def branches(self, repository: str) -> dict[str, str]:
        """Branch name to commit sha."""
        lines = self.git(
            repository, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads"
        )
        return dict(line.rsplit(" ", 1) for line in lines.splitlines())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], forge: Forge) -> None:
        self.forge = forge
        super().__init__(address, handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        forge = self.server.forge
        if self.headers.get("Authorization") != forge.authorization:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.end_headers()
            return
        target = urlsplit(self.path)
        directory = forge.root / target.path.lstrip("/").partition(".git/")[0]
        repository = directory.with_name(directory.name + ".git")
        if "git-receive-pack" in self.path and not repository.exists():
            init = ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository)]
            subprocess.run(init, check=True)
            subprocess.run(["git", "-C", str(repository), "config", "http.receivepack", "true"], check=True)
        self._backend(target.path, target.query)

    do_GET = do_POST = _answer

    def _backend(self, path: str, query: str) -> None:
        """Let `git http-backend`, a CGI program, answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        variables = {
            "GIT_PROJECT_ROOT": str(self.server.forge.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": USER,
            "REMOTE_ADDR": "127.0.0.1",
        }
        result = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            env={**os.environ, **variables},
            check=False,
        )
        head, _blank, content = result.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split(" ")[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """The tests look at results, not at this server's log."""


def credential_helper(directory: Path) -> Path:
    """A helper that answers `get` with the user and the password in $FORGEJO_REMOTE_PASSWORD."""
    path = directory / "git-credential-helper"
    path.write_text(
        '#!/bin/sh\n[ "$1" = get ] || exit 0\n'
        f'echo username={USER}\necho "password=$FORGEJO_REMOTE_PASSWORD"\n'
    )
    path.chmod(0o555)
    return path
