# SPDX-License-Identifier: GPL-3.0-or-later
"""After `site.yml --check` on a cluster with nothing on it, there is still nothing on it."""

from __future__ import annotations

import audit
from testbed import Testbed

# The mark that molecule's create step leaves when the cluster is up.
CREATED = "mark-created"
BUILT_IN = {"default", "kube-node-lease", "kube-public", "kube-system", "local-path-storage"}


def test_it_wrote_nothing(testbed: Testbed) -> None:
    audit.mark(testbed, "mark-checked")
    window = audit.between(testbed, CREATED, "mark-checked")
    assert window.requests, "nothing was asked of the API server: which cluster was checked?"
    assert window.writes == []


def test_there_is_no_namespace_of_it(testbed: Testbed) -> None:
    assert {item["metadata"]["name"] for item in testbed.read("namespaces")["items"]} == BUILT_IN
