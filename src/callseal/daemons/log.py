"""The process log: structured lines on stderr, ids only.

Invariant: a value never carries a telephone or card number: `mask_digits` stands last in the chain, whatever a caller passed.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from callseal.daemons.log_writer import LogWriter

_DIGITS = re.compile(r"(?<![0-9A-Fa-f])(?:\+?\d[ .\-()]{0,2}){7,}(?![0-9A-Fa-f])")
_PLAIN = frozenset({"timestamp", "level", "daemon", "pid", "instance", "recording"})


def mask_digits(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace any run of seven or more digits in a text with `…`; ids and times keep theirs."""
    for key, value in event.items():
        if isinstance(value, str) and key not in _PLAIN:
            event[key] = _DIGITS.sub("…", value)
    return event


def set_up_log(daemon: str, level: str) -> LogWriter:
    """Write JSON lines to stderr for this process; the standard library's loggers go the same way."""
    writer = LogWriter(sys.stderr)
    number = getattr(logging, level.upper(), logging.INFO)
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_digits,
    ]
    structlog.configure(
        processors=[*chain, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, writer)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(daemon=daemon)
    handler = logging.StreamHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
            foreign_pre_chain=chain,
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    return writer
