import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hubfs.daemon.log_format import formatter
from hubfs.errors import Unavailable
from hubfs.fuse.errnos import told

SECRET = "hunter2"
URL = f"https://me:{SECRET}@host/x?sig={SECRET}"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def log(lines: list[str], request: pytest.FixtureRequest) -> logging.Logger:
    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Kept()
    handler.setFormatter(formatter(as_json=request.param == "json", mountpoint=Path("/mnt/hub")))
    logger = logging.getLogger(f"hubfs.test_log_format.{request.param}")
    logger.propagate = False
    logger.handlers = [handler]
    return logger


def only(lines: list[str]) -> dict[str, Any]:
    (line,) = lines
    assert "\n" not in line
    return dict(json.loads(line))


@pytest.mark.parametrize("log", ["json"], indirect=True)
def test_a_record_is_an_object_of_one_line(log: logging.Logger, lines: list[str]) -> None:
    log.warning("first\nsecond\x1b[31m %s", "“third”", extra={"fields": {"path": "/a\nb", "errno": "EIO"}})
    said = only(lines)
    assert datetime.fromisoformat(said.pop("time")).utcoffset() is not None
    assert said.pop("process") > 0
    assert said == {
        "level": "WARNING",
        "logger": log.name,
        "message": "first\nsecond\\x1b[31m “third”",
        "mountpoint": "/mnt/hub",
        "thread": "MainThread",
        "path": "/a\nb",
        "errno": "EIO",
    }


@pytest.mark.parametrize("log", ["json", "text"], indirect=True)
def test_no_secret_is_in_a_record(log: logging.Logger, lines: list[str]) -> None:
    try:
        int(URL)
    except ValueError:
        log.exception('a "quoted" %s', f'"{URL}"', extra={"fields": {"path": URL, "more": [URL]}})
    assert SECRET not in lines[0]
    assert "https://host/x" in lines[0]


@pytest.mark.parametrize("log", ["json"], indirect=True)
def test_a_traceback_is_a_field(log: logging.Logger, lines: list[str]) -> None:
    try:
        int("it is wrong")
    except ValueError:
        log.exception("something")
    assert "ValueError: invalid literal" in only(lines)["traceback"]


def test_what_a_reader_met_has_fields(caplog: pytest.LogCaptureFixture) -> None:
    told(Unavailable("https://hub: no route"), "read", "/google/spice/2/x")
    assert caplog.records[0].__dict__["fields"] == {
        "operation": "read",
        "path": "/google/spice/2/x",
        "errno": "EHOSTUNREACH",
    }


@pytest.mark.parametrize("log", ["json"], indirect=True)
def test_a_long_field_is_cut(log: logging.Logger, lines: list[str]) -> None:
    log.warning("x", extra={"fields": {"path": "y" * 1_000_000}})
    assert len(lines[0]) < 10_000
