# SPDX-License-Identifier: GPL-3.0-or-later
"""A command of the experiment."""
