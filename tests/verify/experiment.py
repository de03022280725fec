# SPDX-License-Identifier: GPL-3.0-or-later
"""What an experiment on the test cluster consists of, and how it is asked."""

from __future__ import annotations

import base64
import json
import time
import typing as t
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import requests
from testbed import Testbed
from truth_table import EVENTS, SERVERS, WORKERS

Document = dict[str, t.Any]

GIT_USER = "eden"
END_STATE_SECONDS = 240.0
# The task store holds a request for that long while nothing happens.
LONG_POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Identity:
    """What the Secret of a worker holds."""

    worker_id: str
    token: str


@dataclass(frozen=True)
class Experiment:
    """One experiment, in the namespace of its own name."""

    testbed: Testbed
    name: str

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.name

    @property
    def experiment_id(self) -> str:
        """The id that is kept in the cluster."""
        return str(self.read("configmap", f"{self.name}-experiment")["data"]["experiment_id"])

    @property
    def seed_commit(self) -> str:
        """The commit that is kept in the cluster."""
        return str(self.read("configmap", f"{self.name}-seed")["data"]["commit"])

    def read(self, *arguments: str) -> Document:
        """What ``kubectl get`` finds in the namespace."""
        return self.testbed.read("--namespace", self.namespace, *arguments)

    def secret(self, name: str) -> dict[str, str]:
        """The keys and values of a Secret of this experiment; its name is given without the prefix."""
        data = self.read("secret", f"{self.name}-{name}")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def identity(self, worker: str) -> Identity:
        """The identity of a worker."""
        held = self.secret(f"{worker}-identity")
        return Identity(held["worker_id"], held["token"])

    def secrets(self) -> dict[str, str]:
        """Every value that must not be seen, by the Secret and key that hold it."""
        found = {f"{self.name}: {key}": value for key, value in self.secret("credentials").items()}
        return found | {f"{self.name}: token of {name}": self.identity(name).token for name in WORKERS}

    def pods(self, component: str = "") -> list[Document]:
        """The pods that have not ended, of one component or of all."""
        labels = f"app.kubernetes.io/instance={self.name}"
        if component:
            labels += f",app.kubernetes.io/component={component}"
        pods: list[Document] = self.read("pods", "--selector", labels)["items"]
        return [pod for pod in pods if pod["status"]["phase"] != "Succeeded"]

    def pod(self, component: str) -> str:
        """The name of the one pod of a component."""
        (pod,) = self.pods(component)
        return str(pod["metadata"]["name"])

    def cat(self, pod: str, path: str) -> bytes:
        """The content of a file in a pod's container."""
        return self.testbed.kubectl("exec", "--namespace", self.namespace, pod, "--", "cat", path)

    def events(self) -> list[Document]:
        """All events so far."""
        with self.task_store() as store:
            return store.events(0)

    @contextmanager
    def task_store(self) -> t.Iterator[TaskStore]:
        """The task store through kubectl, asked as the admin."""
        token = self.secret("credentials")["EDEN_ADMIN_TOKEN"]
        target = f"service/{self.name}-task-store-server"
        with (
            self.testbed.port_forward(self.namespace, target, SERVERS["task-store-server"]) as url,
            requests.Session() as session,
        ):
            session.trust_env = False
            yield TaskStore(session, url, self.experiment_id, token)


@dataclass(frozen=True)
class TaskStore:
    """A client of the task store that shares nothing with the collection's."""

    session: requests.Session
    url: str
    experiment_id: str
    token: str

    def ask(self, path: str, principal: str = "admin", token: str = "", **query: str) -> requests.Response:
        """The answer to a GET below the experiment."""
        return self.session.get(
            f"{self.url}/v0/experiments/{self.experiment_id}{path}",
            params=query,
            headers={
                "Authorization": f"Bearer {principal}:{token or self.token}",
                "X-Eden-Experiment-Id": self.experiment_id,
            },
            timeout=60,
        )

    def read(self, path: str, **query: str) -> t.Any:
        """The document that a GET answers."""
        answer = self.ask(path, **query)
        assert answer.status_code == 200, f"GET {path} answers {answer.status_code}: {answer.text}"
        return answer.json()

    def events(self, cursor: int, seconds: float = 0.0) -> list[Document]:
        """The events after the first ``cursor``; if there are none, those that come within ``seconds``."""
        path = "/events/subscribe" if seconds else "/events"
        query = {"cursor": str(cursor)} | ({"timeout": str(seconds)} if seconds else {})
        found: list[Document] = self.read(path, **query)["events"]
        return found

    def await_end(self, total: int = EVENTS.total()) -> list[Document]:
        """All events, once there are so many, by default as many as the fixture makes, and no more come.

        Raises:
            AssertionError: that takes longer than END_STATE_SECONDS.
        """
        events: list[Document] = []
        deadline = time.monotonic() + END_STATE_SECONDS
        while True:
            more = self.events(len(events), LONG_POLL_SECONDS)
            events += more
            if len(events) >= total and not more:
                return events
            assert time.monotonic() < deadline, (
                f"after {END_STATE_SECONDS:.0f} s there are {len(events)} events: {json.dumps(types(events))}"
            )


def types(events: t.Iterable[Document]) -> Counter[str]:
    """How many events there are of each type."""
    return Counter(event["type"] for event in events)
