# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m eden_task_store_server`."""

from .cli import main

raise SystemExit(main())
