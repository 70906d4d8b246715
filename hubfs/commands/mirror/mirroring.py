"""Makes models ready for a place, one after the other, by an engine without a mount."""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import cast

from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.store import GcsStore
from hubfs.commands.fetch.copying import Copying
from hubfs.commands.fetch.session import Session, session
from hubfs.commands.fetch.telling import Teller
from hubfs.commands.mirror.bucket import BucketPlace
from hubfs.commands.mirror.directory import DirectoryPlace
from hubfs.commands.mirror.finding import paths_of
from hubfs.commands.mirror.place import Found, Place, Product
from hubfs.commands.mirror.provenance import Provenance
from hubfs.endpoints import gcs_settings
from hubfs.errors import Cancelled, HubfsError, InvalidConfig, Unavailable
from hubfs.formats.packing.archive import index_beside, write_archive
from hubfs.formats.packing.listing import list_members
from hubfs.hubs.hosted import ARCHIVE, FOLDER, Hosted
from hubfs.hubs.registry import DEFAULT
from hubfs.library.handles import Asked, asked_for
from hubfs.library.model import Model, source_at
from hubfs.settings.config import Config
from hubfs.sources.source import Source
from hubfs.waiting import Cancellation

_HEADER_BYTES = 4096
"""What a file takes in an archive and its index beside its bytes, at most in practice."""


def mirror_all(config: Config, texts: Sequence[str], to: str, tell: Teller, *, dry_run: bool) -> None:
    """Has the place `to` host the models that `texts` mean: handles, and directories above models.

    Of several models, those that cannot be mirrored are told, and the others follow. Raises `InvalidHandle`,
    `InvalidConfig` for a place that cannot be used, and what kept a model from being read.
    """
    config, asked = asked_for(config, texts, folders=True)
    with session(config, tell) as running:
        place = _place_at(to, config, running.engine.cancellation)
        found = [
            (one, path)
            for one in asked
            for path in running.ask(one.text, partial(paths_of, running.engine.hubs[one.hub], one))
        ]
        if dry_run:
            for one, path in found:
                _Mirroring(running, place, Path(), one, path).plan()
            return
        with place.held() as stage:
            mirroring = [_Mirroring(running, place, stage, one, path) for one, path in found]
            failed = [one for one in mirroring if not one.is_carried_out(alone=len(found) == 1)]
        if failed:
            raise Unavailable(f"{len(failed)} of {len(found)} models were not mirrored")


def _place_at(to: str, config: Config, cancellation: Cancellation) -> Place:
    if to.startswith("gs://"):
        if config.offline:
            raise InvalidConfig(f"--offline asks nobody, and {to} is in a bucket: name a directory")
        settings = replace(gcs_settings(config, RetryPolicy()), access="read_write")
        return BucketPlace(GcsStore(to, settings, cancellation))
    if "://" in to:
        raise InvalidConfig(f"{to} is neither a directory nor gs://BUCKET/PREFIX")
    return DirectoryPlace(Path(to))


@dataclass(frozen=True)
class _Mirroring:
    """One model of `running`, at `path` of the hub that `asked` names, on its way to `place` through `stage`."""

    running: Session
    place: Place
    stage: Path
    asked: Asked
    path: str

    @property
    def _text(self) -> str:
        return self.asked.text if self.path in (self.asked.path, self.asked.folder) else self.path.strip("/")

    def plan(self) -> None:
        """Tells where the model would go."""
        _, source = self._located()
        hosted = self._hosted(source)
        size_bytes = source.extent.size_bytes if source.complete else None
        found = self.place.find(hosted.handle)
        if self._is_there(found, source):
            self.running.tell.done(self._text, self.place.shown(hosted.handle), found.size_bytes, 0, 0)
        else:
            self.running.tell.planned(self._text, self.place.shown(hosted.handle), size_bytes)

    def is_carried_out(self, *, alone: bool) -> bool:
        """Does it, or tells why it cannot be done. Raises that for a model that is `alone`, and `InvalidConfig`."""
        # What waits for this model ends with it, and what waits for others does not.
        cancellation = Cancellation()
        forget = self.running.engine.cancellation.on_cancel(cancellation.cancel)
        try:
            self._carry_out(cancellation)
        except (Cancelled, InvalidConfig):
            raise
        except HubfsError as error:
            if alone:
                raise
            self.running.tell.failed(self._text, str(error))
            return False
        finally:
            forget()
        return True

    def _carry_out(self, cancellation: Cancellation) -> None:
        began_s = time.monotonic()
        path, source = self._located()
        hosted = self._hosted(source)
        shown = self.place.shown(hosted.handle)
        found = self.place.find(hosted.handle)
        if self._is_there(found, source):
            self.running.tell.done(self._text, shown, found.size_bytes, 0, time.monotonic() - began_s)
            return
        if found.names and found.provenance is not None and not found.provenance.is_of(*self._names_of(source)):
            raise InvalidConfig(f"{shown} is {found.provenance.handle} of {found.provenance.hub}: name another place")
        folder = self.stage / hashlib.sha256(source.model.encode()).hexdigest()[:16]
        model = self.running.whole(self.asked, path, source)
        hosted, product = self._ready(model, folder, hosted, cancellation)
        if found.names and not self.place.is_same(hosted.handle, found, product):
            shutil.rmtree(folder)
            raise InvalidConfig(f"{shown} exists, and is another model: name another place, or delete it")
        self.place.tell(hosted.handle, Provenance(*self._names_of(source), source.model, product.size_bytes))
        if not found.names:
            self._put(hosted, product)
        shutil.rmtree(folder)
        stored_bytes = product.size_bytes
        self.running.tell.done(self._text, shown, stored_bytes, stored_bytes, time.monotonic() - began_s)

    def _located(self) -> tuple[str, Source]:
        tree = self.running.engine.hubs[self.asked.hub]
        return self.running.ask(self._text, partial(source_at, tree, self.path))

    def _names_of(self, source: Source) -> tuple[str, str]:
        """The hub and the handle of a model there."""
        return self.running.engine.hubs[self.asked.hub].models.hub.url, str(source.handle)

    @staticmethod
    def _is_there(found: Found, source: Source) -> bool:
        known = found.provenance
        return (
            len(found.names) == 1
            and known is not None
            and (known.source, known.size_bytes)
            == (
                source.model,
                found.size_bytes,
            )
        )

    def _hosted(self, source: Source) -> Hosted:
        """How the place hosts the model. A version that is no number gets one, in the order of arrival."""
        hosted_as = cast("Callable[[str, str], Hosted]", resolve_name(DEFAULT.hosted))
        name, version = source.handle.name, source.handle.version
        if not (version.isascii() and version.isdecimal()):
            there = self.place.versions(hosted_as(name, "1").handle.name)
            hub, handle = self._names_of(source)
            mine = [number for number, known in there.items() if known is not None and known.is_of(hub, handle)]
            version = next(iter(mine), str(1 + max(map(int, there), default=0)))
        hosted = hosted_as(name, version)
        return replace(hosted, ending=ARCHIVE) if self.place.takes_archives_alone else hosted

    def _ready(self, model: Model, folder: Path, hosted: Hosted, cancellation: Cancellation) -> tuple[Hosted, Product]:
        """The model, in `folder`, as the place will have it. What an earlier run made of it is taken up."""
        files = folder / "model"
        archive_bytes = model.size_bytes + _HEADER_BYTES * (len(model.things) + 1) if hosted.ending == ARCHIVE else 0
        self._check_room(folder, model.size_bytes + archive_bytes)
        copying = Copying(model, files, cancellation)
        made = copying.plan()
        if not made.done:
            work, done_bytes = partial(copying.carry_out, made), partial(getattr, copying, "copied_bytes")
            self.running.work(self._text, work, done_bytes, made.size_bytes)
        only = [path for path in files.rglob("*") if path.is_file()]
        if hosted.ending not in (ARCHIVE, FOLDER):
            if len(only) == 1:
                return hosted, Product(only[0], model.size_bytes)
            hosted = replace(hosted, ending=FOLDER)
        if hosted.ending == FOLDER:
            return hosted, Product(files, model.size_bytes)
        archive = folder / f"archive{ARCHIVE}"
        members = list_members(files, lambda _: True, hidden=True)
        work = partial(write_archive, members, archive, cancellation)
        self.running.work(f"{self._text}: packing", work, partial(_written_bytes, folder), model.size_bytes)
        index = index_beside(archive)
        return hosted, Product(archive, archive.stat().st_size, index if index.exists() else None)

    def _put(self, hosted: Hosted, product: Product) -> None:
        sent = [0]

        def went(total_bytes: int) -> None:
            sent[0] = total_bytes

        work = partial(self.place.put, hosted, product, went)
        self.running.work(f"{self._text}: storing", work, lambda: sent[0], product.size_bytes)

    def _check_room(self, folder: Path, size_bytes: int) -> None:
        """Raises `InvalidConfig` where there is no room for what is not there of `size_bytes`."""
        there_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        above = next(one for one in (folder, *folder.parents) if one.exists())
        free_bytes = shutil.disk_usage(above).free
        missing_bytes = size_bytes - there_bytes
        if missing_bytes > free_bytes:
            raise InvalidConfig(
                f"{self.stage} has no room: {missing_bytes} bytes are missing, and {free_bytes} are free there"
            )


def _written_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.partial"))
