# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's name in the cluster, and its advice for the messages of ``_kube``.

This module is private to the collection.
"""

from __future__ import annotations

NAME = "eden.reference"
# That of galaxy.yml.
VERSION = "0.2.0"
FIELD_MANAGER = NAME
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
# Digest of the definition that was applied last.
APPLIED_ANNOTATION = f"{NAME}/applied"
# The run that released the lock last.
RELEASED_BY_ANNOTATION = f"{NAME}/released-by"
KUBECONFIG_ADVICE = (
    "Set eden_kubeconfig (and eden_context), K8S_AUTH_KUBECONFIG or KUBECONFIG to one that kubectl accepts, "
    "such as ~/.kube/config."
)
LOCK_ADVICE = (
    "Let it end and run again, or set eden_lock_timeout to the seconds to wait for it. If it has died on "
    "another machine, its lock expires a minute after the last renewal."
)
