"""Logging: structured, to standard error, without secrets and record contents (I10).

What may be logged is named where it is logged: run ids, counts, statuses, durations, error codes. Nothing here
filters contents out afterwards: they are not passed in.
"""

import logging
import sys

import structlog


def configure(*, json: bool, level: int = logging.INFO) -> None:
    """One line of JSON per event for machines, or readable lines for a terminal."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
