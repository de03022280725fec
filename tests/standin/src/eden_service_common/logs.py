# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs: one JSON object per line on standard output, and in `$EDEN_LOG_DIR/<service>.jsonl` when set."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Log:
    """A logger whose keyword arguments become fields of the line."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def _log(self, level: int, message: str, fields: dict[str, Any], *, traceback: bool = False) -> None:
        self._logger.log(level, "%s", message, extra={"fields": fields}, exc_info=traceback)

    def debug(self, message: str, **fields: Any) -> None:
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        self._log(logging.ERROR, message, fields)

    def exception(self, message: str, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._log(logging.ERROR, message, fields, traceback=True)


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str, experiment_id: str) -> None:
        super().__init__()
        self._service = service
        self._experiment_id = experiment_id

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "experiment_id": self._experiment_id,
            "message": record.getMessage(),
        }
        for name, value in getattr(record, "fields", {}).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exc"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(service: str, experiment_id: str, level: str) -> None:
    """Send the logs of this process, from `level` up, to where they belong."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    directory = os.environ.get("EDEN_LOG_DIR", "").strip()
    if directory:
        handlers += _file_handler(Path(directory), service)
    root = logging.getLogger()
    root.setLevel(LEVELS[level])
    for handler in handlers:
        handler.setFormatter(_JsonFormatter(service, experiment_id))
        root.addHandler(handler)


def _file_handler(directory: Path, service: str) -> list[logging.Handler]:
    # A log file that cannot be written must not keep the service from starting.
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return [
            RotatingFileHandler(
                directory / f"{service}.jsonl",
                maxBytes=_positive("EDEN_LOG_MAX_BYTES", 50 * 1024 * 1024),
                backupCount=_positive("EDEN_LOG_BACKUP_COUNT", 5),
                encoding="utf-8",
            )
        ]
    except OSError:
        return []


def _positive(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else default
