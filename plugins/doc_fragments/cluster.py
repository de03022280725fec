# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig.
      - Without it E(KUBECONFIG), C(~/.kube/config), then the service account of the pod that this runs in.
    type: path
  context:
    description: Context of the kubeconfig; its current one by default.
    type: str
  namespace:
    description: Namespace of the experiment.
    type: str
    required: true
requirements:
  - python >= 3.11
  - kubernetes >= 37.0
"""
