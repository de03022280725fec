# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests import the modules of this directory, and gives them its fixtures."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import admin, control_plane, namespace

__all__ = ["admin", "control_plane", "namespace"]
