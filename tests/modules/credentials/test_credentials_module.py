# SPDX-License-Identifier: GPL-3.0-or-later
"""The module credentials against a real API server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from control_plane import ControlPlane
from kubernetes.client import ApiClient, CoreV1Api

from ansible_collections.eden.reference.plugins.module_utils._eden import credentials
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._module import Task

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(control_plane: ControlPlane, namespace: str) -> Run:
    """Runs the module in the test's namespace."""

    def call(check_mode: bool = False, **options: Any) -> dict[str, Any]:
        parameters = {
            "kubeconfig": str(control_plane.kubeconfig),
            "namespace": namespace,
            "secret": "credentials",
            "state": "present",
            "advice": "Do this.",
            "keys": ["PASSWORD", "KEY"],
            "labels": {"a": "1"},
            "urls": [{"key": "URL", "user": "u", "password_key": "PASSWORD", "address": "db/x"}],
            "bound": [{"key": "PASSWORD", "claim": "data", "advice": "Restore it."}],
            "readers": {"db": ["PASSWORD"]},
            "digest_key": "KEY",
            **options,
        }
        return credentials.run(Task(parameters, check_mode))

    return call


def data(admin: ApiClient, namespace: str) -> dict[str, str]:
    return dict(CoreV1Api(admin).read_namespaced_secret("credentials", namespace).data)


def test_made_once_and_kept(run: Run, admin: ApiClient, namespace: str) -> None:
    first = run()
    made = data(admin, namespace)
    assert first["generated"] == ["KEY", "PASSWORD", "URL"]
    assert set(made) == {"KEY", "PASSWORD", "URL"}
    again = run()
    assert not again["changed"]
    assert again["digests"] == first["digests"] != {"db": ""}
    assert data(admin, namespace) == made


def test_check_mode_writes_nothing(run: Run, admin: ApiClient, namespace: str) -> None:
    assert run(check_mode=True)["generated"] == ["KEY", "PASSWORD", "URL"]
    assert not CoreV1Api(admin).list_namespaced_secret(namespace).items


def test_lost_key_is_recreated_and_the_others_stay(run: Run, admin: ApiClient, namespace: str) -> None:
    run()
    made = data(admin, namespace)
    CoreV1Api(admin).patch_namespaced_secret("credentials", namespace, {"data": {"KEY": None}})
    assert run()["generated"] == ["KEY"]
    assert data(admin, namespace)["PASSWORD"] == made["PASSWORD"]


def test_many_at_once_agree(run: Run, admin: ApiClient, namespace: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = {result["digests"]["db"] for result in pool.map(lambda _number: run(), range(8))}
    assert digests == {run()["digests"]["db"]}


def test_kept_claim_forbids_a_new_password(run: Run, admin: ApiClient, namespace: str) -> None:
    api = CoreV1Api(admin)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    api.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": "data"}, "spec": spec})
    with pytest.raises(
        CredentialsError, match=rf"PersistentVolumeClaim {namespace}/data holds data .* Restore it\."
    ):
        run()
    assert not api.list_namespaced_secret(namespace).items


def test_secret_of_the_user_is_only_read(run: Run, admin: ApiClient, namespace: str) -> None:
    with pytest.raises(CredentialsError, match=r"does not exist; it needs PASSWORD, KEY\. Do this\."):
        run(state="verified")
    secret = {"metadata": {"name": "credentials"}, "stringData": {"PASSWORD": "p"}}
    CoreV1Api(admin).create_namespaced_secret(namespace, secret)
    with pytest.raises(CredentialsError, match=r"lacks KEY\. Do this\."):
        run(state="verified")
    CoreV1Api(admin).patch_namespaced_secret("credentials", namespace, {"stringData": {"KEY": "k"}})
    assert not run(state="verified")["changed"]
    assert set(data(admin, namespace)) == {"PASSWORD", "KEY"}


def test_secret_that_others_made_is_left_alone(run: Run, admin: ApiClient, namespace: str) -> None:
    secret = {"metadata": {"name": "credentials"}, "stringData": {"PASSWORD": "p"}}
    CoreV1Api(admin).create_namespaced_secret(namespace, secret)
    with pytest.raises(CredentialsError, match="Set eden_existing_secret to credentials to use its values"):
        run()
    assert set(data(admin, namespace)) == {"PASSWORD"}
    labels = {"app.kubernetes.io/managed-by": "eden.reference"}
    CoreV1Api(admin).patch_namespaced_secret("credentials", namespace, {"metadata": {"labels": labels}})
    assert run()["generated"] == ["KEY", "URL"]
