# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter eden.reference.topology."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import topology as derive

DOCUMENTATION = r"""
name: topology
short_description: Derive an experiment's objects from the catalogue of components
description:
  - Turns the catalogue of components of the role P(eden.reference.eden#role) and the inputs of one experiment
    into the names, labels, workers, workloads, network edges, readers of credentials, volumes and disruption
    budgets of that experiment.
author: EDEN reference deployment contributors (@ealt)
options:
  _input:
    description: The catalogue of components.
    type: dict
    required: true
  name:
    description: Name of the experiment's release, the prefix of its objects.
    type: str
    required: true
  replicas:
    description: Number of replicas, by key. Other components have their default.
    type: dict
    default: {}
  storage_sizes:
    description: Sizes of volumes, by key. Other volumes have their default.
    type: dict
    default: {}
  credentials:
    description: Name of the user's own Secret with the credentials. When empty, there is none.
    type: str
    default: ""
  trial:
    description: Whether changed pods are tried in pods of their own.
    type: bool
    default: true
  workers:
    description: Options of the hosts, by key. Other hosts are C(scripted).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the workers of two executors
  ansible.builtin.debug:
    msg: "{{ (catalogue | eden.reference.topology(name='branin', replicas={'executor_host': 2})).workers }}"
  vars:
    catalogue:
      executor-host:
        phase: app_tier
        kind: StatefulSet
        requests: {cpu: 50m, memory: 128Mi}
        replicas: {input: executor_host, default: 1, min: 0, max: 99}
        identity: {groups: [], numbered: true}
"""

RETURN = r"""
_value:
  description: The topology.
  type: dict
  contains:
    names:
      description: Names of the objects, by component or by content.
      type: dict
    labels:
      description: Labels of every object.
      type: dict
    collection_version:
      description: Version of the collection.
      type: str
    digest_key:
      description: The key of the credentials that keys their digests.
      type: str
    selector:
      description: Labels that select every pod.
      type: dict
    components:
      description: >-
        For each component with pods, the values of its manifests, and its C(instances). For a host also its
        C(mode), the C(placement) of its command, its C(image), and its other options as C(worker).
      type: dict
    ports:
      description: The port of each component that serves one.
      type: dict
    addresses:
      description: Host and port of each component that serves a port.
      type: dict
    urls:
      description: URL of each component that serves a port, without a password.
      type: dict
    workers:
      description: The workers, in the order in which they are minted.
      type: list
      elements: dict
    identities:
      description: The workers, as the module M(eden.reference.identities) expects them.
      type: list
      elements: dict
    groups:
      description: The task store's groups and the names of their members.
      type: list
      elements: dict
    workloads:
      description: The workloads of each phase, with kind, name, phase and component.
      type: dict
    edges:
      description: Which component connects to which, and to which port.
      type: list
      elements: dict
    readers:
      description: The credential keys that each component reads.
      type: dict
    restarts:
      description: What precedes the restart of a component, as the module M(eden.reference.apply) expects it.
      type: dict
    credential_keys:
      description: All credential keys.
      type: list
      elements: str
    claims:
      description: Names of the volume claims, by their key in the storage sizes.
      type: dict
    own_claims:
      description: The claims that no StatefulSet creates.
      type: list
      elements: dict
    shares_artifacts:
      description: >-
        Whether hosts, task store and web UI share the claim C(artifacts), because a host runs commands.
      type: bool
    shared_node_selector:
      description: The node selectors of all hosts with commands together.
      type: dict
    volumes:
      description: The volumes, as the module M(eden.reference.preflight) expects them.
      type: list
      elements: dict
    objects:
      description: The workloads, Services and ConfigMaps that depend on the components.
      type: list
      elements: dict
    budgets:
      description: The components whose pods run permanently.
      type: list
      elements: str
"""


def topology(
    catalogue: t.Mapping[str, t.Any],
    name: str,
    replicas: t.Mapping[str, int] | None = None,
    storage_sizes: t.Mapping[str, str] | None = None,
    credentials: str = "",
    trial: bool = True,
    workers: t.Mapping[str, t.Mapping[str, t.Any]] | None = None,
) -> dict[str, t.Any]:
    """The topology of one experiment."""
    try:
        return derive(
            catalogue, Inputs(name, replicas or {}, storage_sizes or {}, credentials, trial, workers or {})
        )
    except ValueError as error:
        raise AnsibleFilterError(f"eden.reference.topology: {error}.") from error


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The names that templates use."""
        return {"topology": topology}
