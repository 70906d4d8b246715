"""Debian's Prometheus, and its promtool: scripts/_setup.sh takes them out of the package, which is not installed."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.paths import ROOT
from tests.support.waiting import eventually

_FOLDER = ROOT / ".work" / "prometheus"


def program(name: str) -> Path:
    """`prometheus` or `promtool`, of this machine or of the package."""
    found = shutil.which(name)
    return Path(found) if found else _FOLDER / name


def promtool(*arguments: str | Path, said: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs promtool to its end."""
    return subprocess.run(
        [program("promtool"), *arguments], input=said, capture_output=True, text=True, check=False, timeout=60
    )


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that reads mounts every second."""

    port: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that the expression is now. An expression that it does not understand fails."""
        told = self._get(f"/api/v1/query?{urlencode({'query': expression})}")
        assert told["status"] == "success", f"{expression}: {told}"
        assert told["data"]["resultType"] == "vector", expression
        return list(told["data"]["result"])

    def query_range(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """The series of the expression."""
        asked = {"query": expression, "start": start_s, "end": end_s, "step": step_s}
        return list(self._get(f"/api/v1/query_range?{urlencode(asked)}")["data"]["result"])

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._get("/api/v1/status/buildinfo"))
        except (OSError, ValueError):
            return False

    def _get(self, target: str) -> dict[str, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", target)
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()


@contextmanager
def prometheus(home: Path, *targets: str, rules: Path | None = None) -> Iterator[Prometheus]:
    """Runs one whose data are in `home`, and which reads `targets` (`HOST:PORT`)."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [] if rules is None else [str(rules)],
        "scrape_configs": [{"job_name": "hubfs", "static_configs": [{"targets": [*targets]}]}],
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / "prometheus.yml").write_text(json.dumps(config))  # which is YAML
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (home / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(program("prometheus"), f"--config.file={home / 'prometheus.yml'}"),
                *(f"--storage.tsdb.path={home / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        server = Prometheus(port)
        assert eventually(server.is_ready), (home / "prometheus.log").read_text()
        yield server
    finally:
        process.kill()
        process.wait()
