"""Where models come from in the tests: nginx as the hub, and a real object store for the uncompressed form."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.files import files
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.nginx import NginxHub, nginx_hub

_BUCKET = "models"


@dataclass(frozen=True)
class Origin:
    """A hub and its bucket. `form` is the hosting form that mounts of it ask for."""

    nginx: NginxHub
    store: GcsServer
    form: str = "auto"

    @property
    def url(self) -> str:
        """What `--hub` is given."""
        return self.nginx.url

    @property
    def environment(self) -> dict[str, str]:
        """What a mount needs to find the store."""
        return {"STORAGE_EMULATOR_HOST": self.store.url}

    def asked_for(self, form: str) -> "Origin":
        """The same servers, for mounts that use this hosting form."""
        return replace(self, form=form)

    def sent_bytes(self, handle: str, below: str = "") -> int:
        """Body bytes sent so far of a model, in whatever form; of a bucket's model also `below` a path in it only."""
        stored = self.store.sent_bytes(f"{_BUCKET}/{handle}/{below}")
        return stored if below else stored + self.nginx.body_bytes(handle)

    def hosted_bytes(self, model: Path, archive: Path) -> int:
        """The bytes that the model takes in the form that mounts ask for: those of its archive, or of its files."""
        if self.form == "compressed":
            return archive.stat().st_size
        return sum(map(len, files(model).values()))

    def requests(self) -> int:
        """How many requests of any kind were answered so far."""
        return len(self.nginx.requests()) + len(self.store.requests)


@contextmanager
def running_origin(
    home: Path, models: Mapping[str, Path], archives: Mapping[str, Path], *, bytes_per_s: int = 0
) -> Iterator[Origin]:
    """Both servers, with their files below `home`, hosting model directories in the bucket and archives at the hub.

    `bytes_per_s` paces the archives; 0 does not.
    """
    bucket = home / "store" / _BUCKET
    for handle, model in models.items():
        shutil.copytree(model, bucket / handle)
    with nginx_hub(home / "nginx", bytes_per_s=bytes_per_s) as nginx, gcs_server(bucket.parent) as store:
        for handle in models:
            nginx.host_in_bucket(handle, f"gs://{_BUCKET}/{handle}")
        for handle, archive in archives.items():
            nginx.host_archive(handle, archive)
        yield Origin(nginx, store)
