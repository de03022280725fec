# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m eden_web_ui`."""

from .cli import main

raise SystemExit(main())
