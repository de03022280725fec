# SPDX-License-Identifier: GPL-3.0-or-later
"""Requires of a run of pytest that no test is lost: none deselected, none skipped, no file without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Where molecule's scenario looks for the directories that were run whole.
COMPLETE = "MOLECULE_EPHEMERAL_DIRECTORY"


class Census:
    """Notes which tests were collected, and which passed."""

    def __init__(self) -> None:
        self.collected: set[str] = set()
        self.passed: set[str] = set()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Also of those that are deselected later."""
        self.collected.add(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Under molecule, fail if a test of the directory did not pass, or a file has none."""
        target = os.environ.get(COMPLETE)
        if not target or session.exitstatus != pytest.ExitCode.OK:
            return
        files = {session.config.rootpath / nodeid.partition("::")[0] for nodeid in self.passed}
        for directory in {file.parent for file in files}:
            empty = sorted(path.name for path in set(directory.glob("test_*.py")) - files)
            missed = sorted(self.collected - self.passed)
            if empty or missed:
                print(f"\nnot every test of {directory} passed: {empty or missed}")
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            else:
                (Path(target) / f"{directory.name}.complete").touch()
