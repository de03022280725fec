# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    # A module adds its support and, where that is not full, the details.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    description: Run twice in a row outside check mode, with the same arguments, it changes nothing.
  action_group:
    description: Use C(group/eden.reference.eden) in C(module_defaults) to set options for all modules.
    support: full
    membership:
      - eden.reference.eden
"""
