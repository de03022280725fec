# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the tests of the modules a control plane."""

from __future__ import annotations

from fixtures import admin, control_plane, namespace

__all__ = ["admin", "control_plane", "namespace"]
