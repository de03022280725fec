# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-ins of EDEN's services share."""
