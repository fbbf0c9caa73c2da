"""The loggers of this package: no secret of an address gets into a record."""

from __future__ import annotations

import logging

from trio_update.text import without_secrets

_format = logging.Formatter().formatException


class _NoSecrets(logging.Filter):
    """Rewrites each record before any handler sees it.

    A formatter would be too late: who embeds this package has handlers of his own.  Tracebacks matter most, because
    exceptions of other packages quote what they were given, and are logged where nobody foresaw them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), ()
        if record.exc_info and record.exc_info[0] is not None:
            # Kept as text: a handler would format the exception anew, secrets included.
            record.exc_text, record.exc_info = without_secrets(_format(record.exc_info)), None
        return True


_NO_SECRETS = _NoSecrets()


def get_logger(name: str) -> logging.Logger:
    """The logger of a module.  Filters are not inherited, unlike handlers: every module gets its logger here."""
    logger = logging.getLogger(name)
    logger.addFilter(_NO_SECRETS)
    return logger
