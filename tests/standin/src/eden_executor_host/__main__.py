# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m eden_executor_host`."""

from .cli import main

raise SystemExit(main())
