"""The log of a server as lines of JSON: names and numbers, no content and no secrets."""

from __future__ import annotations

import json
import logging
import sys
import traceback

from langchain_avengers.providers import describe, redact


def log_as_json() -> None:
    """Log to stderr: requests, reloads and starts of this package and of uvicorn, warnings of everyone else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("langchain_avengers", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.INFO)


class JsonFormatter(logging.Formatter):
    """One record as one line. An error is its kind, its text and the places it came by, without values."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
            frames = traceback.extract_tb(record.exc_info[2])
            line["raised_in"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, ensure_ascii=True, default=str)
