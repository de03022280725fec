# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages: health, sign-in without a password, and the counts of the experiment's events."""

from __future__ import annotations

import hashlib
import hmac
import html
from collections import Counter
from http.cookies import SimpleCookie

from eden_service_common.client import Client
from eden_service_common.httpd import Request, Response, json_response

_COOKIE = "eden_web_ui_session"
_HTML = "text/html; charset=utf-8"


class Ui:
    """Answers browsers on behalf of one worker."""

    def __init__(self, client: Client, worker_id: str, session_secret: str, *, secure_cookies: bool) -> None:
        self._client = client
        self._worker_id = worker_id
        digest = hmac.new(session_secret.encode(), worker_id.encode(), hashlib.sha256).hexdigest()
        self._session = f"{worker_id}.{digest}"
        self._attributes = "HttpOnly; Path=/; SameSite=lax" + ("; Secure" if secure_cookies else "")

    def __call__(self, request: Request) -> Response:
        """The response to a request; a failure of the task store is raised."""
        page = (request.method, request.path)
        if page == ("GET", "/healthz"):
            return json_response({"status": "ok"})
        if page == ("GET", "/signin"):
            form = '<form method="post"><button type="submit">Sign in</button></form>'
            return _page(f"Sign in as {self._worker_id}", form)
        if page == ("POST", "/signin"):
            return _redirect("/", f"{_COOKIE}={self._session}; {self._attributes}")
        if page == ("POST", "/signout"):
            return _redirect("/signin", f"{_COOKIE}=; Max-Age=0; {self._attributes}")
        if page == ("GET", "/"):
            return self._index() if self._is_signed_in(request) else _redirect("/signin")
        return json_response({"detail": "Not Found"}, 404)

    def _index(self) -> Response:
        counts = Counter(event["type"] for event in self._client.events())
        lines = [*sorted(counts.items()), ("all events", counts.total())]
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{count}</td></tr>" for name, count in lines)
        return _page(f"Experiment {self._client.experiment_id}", f"<table>{rows}</table>")

    def _is_signed_in(self, request: Request) -> bool:
        cookie = SimpleCookie(request.headers.get("Cookie", "")).get(_COOKIE)
        return cookie is not None and hmac.compare_digest(cookie.value, self._session)


def _page(title: str, content: str) -> Response:
    heading = html.escape(title)
    text = f"<!doctype html><title>{heading}</title><h1>{heading}</h1>{content}\n"
    return Response(200, text.encode(), _HTML)


def _redirect(location: str, cookie: str | None = None) -> Response:
    headers = {"Location": location}
    if cookie is not None:
        headers["Set-Cookie"] = cookie
    return Response(303, b"", headers=headers, content_type=_HTML)
