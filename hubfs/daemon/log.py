"""The log of a daemon: where its records go, and what is taken out of them."""

import faulthandler
import logging
import logging.handlers
import os
from pathlib import Path

from hubfs.daemon import log_file
from hubfs.daemon.log_format import formatter
from hubfs.daemon.log_repeats import Repeats
from hubfs.settings.config import Config
from hubfs.status import RecentProblems

_log = logging.getLogger(__name__)

_LOG_LIMIT_BYTES = 10 << 20


def set_up(config: Config, mountpoint: Path, problems: RecentProblems) -> None:
    """Has the records of this process go to the log that `config` names, and the warnings to `problems`, too."""
    faulthandler.enable()  # a crash below Python says where, too, on stderr
    handlers: list[logging.Handler] = [problems]
    path = config.log_file
    try:
        handlers.append(logging.StreamHandler() if path is None else _file_handler(path))
        problems.log_file = path
    except OSError as error:
        problems.without_log = log_file.complaint(path, error)
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(formatter(as_json=config.logs_json, mountpoint=mountpoint))
    # What the libraries have to say below a warning are requests with their headers and whole URLs.
    level = max(logging.WARNING, getattr(logging, config.log_level))
    logging.basicConfig(level=level, handlers=[Repeats(handlers)], force=True)
    logging.getLogger("hubfs").setLevel(config.log_level)
    if problems.without_log:
        _log.warning("%s", problems.without_log)


def _file_handler(path: Path) -> logging.Handler:
    os.close(log_file.opened(path))
    return logging.handlers.RotatingFileHandler(
        path,
        maxBytes=_LOG_LIMIT_BYTES,
        backupCount=3,
        encoding="utf-8",
        errors="backslashreplace",  # a mount point may have a name that is no text
    )
