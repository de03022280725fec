# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in of EDEN's storage package: what a deployment reads of it."""
