# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The workers that an experiment's replicas need."""

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: workers
short_description: Workers that an experiment's replicas need
description:
  - Each replica of a service is a worker of its own with an identity Secret of its own.
  - The worker C(operator) comes first; it has no workload and is used to steer the experiment.
author: EDEN reference deployment contributors (@ealt)
options:
  _input:
    description: Number of replicas of each service.
    type: dict
    required: true
  instance:
    description: Name of the experiment's release, the prefix of its objects.
    type: str
    required: true
positional: instance
"""

EXAMPLES = r"""
- name: List the workers of two executors
  ansible.builtin.debug:
    msg: "{{ {'executor_host': 2} | eden.reference.workers('eden') }}"
"""

RETURN = r"""
_value:
  description: The workers, in the order in which they are minted.
  type: list
  elements: dict
  sample:
    - name: executor-host-1
      service: executor_host
      component: executor-host
      replica: 1
      workload:
        kind: StatefulSet
        name: eden-executor-host-1
      secret: eden-executor-host-1-identity
      groups: []
"""

OPERATOR = "operator"
GROUPS = {OPERATOR: ["admins"], "web_ui": ["admins"], "orchestrator": ["orchestrators"]}
# The one orchestrator carries no number, as EDEN's own set-up names it.
UNNUMBERED = (OPERATOR, "orchestrator")
SERVICES = ("orchestrator", "web_ui", "ideator_host", "executor_host", "evaluator_host")


def _worker(service: str, replica: int, instance: str) -> dict[str, t.Any]:
    component = service.replace("_", "-")
    name = component if service in UNNUMBERED else f"{component}-{replica}"
    # There is one web UI, and its users know its object by the service's name.
    workload = {"kind": "StatefulSet", "name": f"{instance}-{component if service == 'web_ui' else name}"}
    return {
        "name": name,
        "service": service,
        "component": component,
        "replica": replica,
        "workload": None if service == OPERATOR else workload,
        "secret": f"{instance}-{name}-identity",
        "groups": GROUPS.get(service, []),
    }


def workers(replicas: t.Mapping[str, int], instance: str) -> list[dict[str, t.Any]]:
    """The operator and one worker for each replica of each service that has an identity."""
    counts = {OPERATOR: 1, **{service: replicas.get(service, 0) for service in SERVICES}}
    return [
        _worker(service, replica, instance)
        for service, count in counts.items()
        for replica in range(1, count + 1)
    ]


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The names that templates use."""
        return {"workers": workers}
