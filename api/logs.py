"""Log lines: structured, on stderr, one per request. Never a text, never a key, never an exception's message."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

FRAMES = 5


def trace_of(error: BaseException) -> dict[str, Any]:
    """An exception's class and where it came from; its message may hold a report's text and stays out."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    where = [f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "at": where}


def configure_logs(form: str = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Send all log lines, those of libraries too, to one stream.

    Args:
        form: ``json`` for machines, ``console`` for people.
        level: least severe level that is logged.
        stream: stderr when None.
    """
    stream = stream or sys.stderr
    last: Any = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    if form == "json":
        last = structlog.processors.JSONRenderer(ensure_ascii=False)
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_messages,
    ]
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries say little of use below a warning, and more than they should.
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("uvicorn").setLevel(max(number, logging.INFO))


def _without_messages(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    if info is True:
        error = sys.exc_info()[1]
    return event if error is None else {**event, **trace_of(error)}
