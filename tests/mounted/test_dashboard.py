"""The dashboard and the alerts of docs/monitoring, judged by Debian's Prometheus, which reads a real mount."""

import json
import math
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.huggingface import HuggingFaceStandIn, too_many
from tests.support.mount import Machine, mounted
from tests.support.paths import ROOT
from tests.support.prometheus import Prometheus, program, prometheus, promtool
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.mounted,
    pytest.mark.slow,
    pytest.mark.skipif(
        not program("prometheus").exists(),
        reason="there is no Prometheus: apt, which scripts/test takes it from, has none",
    ),
]

DASHBOARD = json.loads((ROOT / "docs/monitoring/grafana.json").read_text())
ALERTS = ROOT / "docs/monitoring/alerts.yml"
EXPRESSIONS = [
    (f"{panel['title']} {target['refId']}", target["expr"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
FAILED = "errno!~"
"""In the expression that has nothing to say of a mount where nothing failed."""
NAME = "BAAI/bge-m3"
FILES = {"config.json": b"{}", "model.safetensors": os.urandom((3 << 20) + 17)}
IN_SECONDS = {"$__rate_interval": "30s", "$instance": ".*"}


@contextmanager
def readers(hub: Path) -> Iterator[None]:
    """Somebody who goes on reading, and asking for what is not there."""
    over = threading.Event()

    def read() -> None:
        number = 0
        while not over.wait(0.2):
            number += 1
            (hub / ".hubfs" / "status.json").read_bytes()
            with suppress(OSError):
                (hub / f"{NAME}@none{number}").stat()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_seconds(expression: str) -> str:
    """The expression, with what Grafana would put in."""
    for name, value in IN_SECONDS.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def numbers(server: Prometheus, expression: str) -> list[float]:
    values = [float(one["value"][1]) for one in server.query(in_seconds(expression))]
    return [value for value in values if not math.isnan(value)]


def test_every_panel_has_numbers_of_a_mount_that_is_read(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        stand_in.put(NAME, FILES)
        there = machine.with_environment(HF_ENDPOINT=stand_in.url)
        with mounted(there, hub := tmp_path / "hf", "hf:", "--metrics-addr", "127.0.0.1:0") as mount:
            address = str(mount.status()["metrics_addr"])
            with prometheus(tmp_path / "prometheus", address, rules=ALERTS) as server, readers(hub):
                # A counter that begins with its first number tells of no rate: all are there before.
                assert files(hub / NAME) == FILES
                assert eventually(lambda: numbers(server, "hubfs_rate_limit_remaining"))
                for title, expression in EXPRESSIONS:
                    if FAILED not in expression:
                        assert eventually(partial(numbers, server, expression)), f"{title}: {expression} is empty"
                assert not server.query('ALERTS{alertstate="firing"}'), "nothing is wrong with this mount"
                # At last something fails, and the hub is not asked any more.
                (failed,) = (expression for _, expression in EXPRESSIONS if FAILED in expression)
                assert not numbers(server, failed)
                stand_in.script("info", too_many("api", 3000))
                with pytest.raises(OSError, match="No route to host"):
                    (hub / f"{NAME}@other/config.json").stat()
                assert eventually(partial(numbers, server, failed))
            text = (hub / ".hubfs" / "metrics").read_text()
    checked = promtool("check", "metrics", said=text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_rules_are_well_formed() -> None:
    checked = promtool("check", "rules", ALERTS)
    assert checked.returncode == 0, checked.stderr


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    told = ",".join(f'{label}="{value}"' for label, value in {"instance": "m", **labels}.items())
    return {"series": f"{name}{{{told}}}", "values": values}


FIRING = {
    "HubfsCacheKeepsNothing": [series("hubfs_cache_impaired", "1x30", tier="disk")],
    "HubfsReadsFail": [series("hubfs_operations_total", "0+1x30", operation="read", errno="EIO")],
    "HubfsHostsFail": [
        series("hubfs_origin_requests_total", "0+9x30", hub="h", result="failed"),
        series("hubfs_origin_requests_total", "0+1x30", hub="h", result="ok"),
    ],
    "HubfsRateLimited": [series("hubfs_origin_requests_total", "0+1x30", hub="h", result="limited")],
    "HubfsDaemonDies": [series("hubfs_daemon_restarts_total", "0x15 1 2 3 4 5 5x24")],
}
CALM = [
    series("hubfs_cache_impaired", "0x30", tier="disk"),
    series("hubfs_operations_total", "0+9x30", operation="read", errno="OK"),
    series("hubfs_operations_total", "0+9x30", operation="lookup", errno="ENOENT"),
    series("hubfs_origin_requests_total", "0+9x30", hub="h", result="ok"),
    series("hubfs_origin_requests_total", "0+1x30", hub="h", result="failed"),
    series("hubfs_daemon_restarts_total", "1x30"),
]


def judged(folder: Path, inputs: list[dict[str, str]], *firing: str) -> "subprocess.CompletedProcess[str]":
    """What promtool says to it that just these alerts are firing after 25 minutes, once each."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing]
    expected = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": "25m",
        "exp_samples": samples,
    }
    test = {"interval": "1m", "input_series": inputs, "promql_expr_test": [expected]}
    (folder / "test.yml").write_text(json.dumps({"rule_files": [str(ALERTS)], "tests": [test]}))
    return promtool("test", "rules", folder / "test.yml")


def test_no_alert_fires_for_a_calm_mount(tmp_path: Path) -> None:
    done = judged(tmp_path, CALM)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FIRING)
def test_an_alert_fires_for_what_it_is_named_after_and_no_other(name: str, tmp_path: Path) -> None:
    done = judged(tmp_path, FIRING[name], name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert judged(tmp_path, FIRING[name]).returncode != 0, "promtool takes anything"


def test_every_alert_is_tried() -> None:
    assert {*re.findall(r"alert: (\w+)", ALERTS.read_text())} == {*FIRING}
