"""`hubfs cache export` and `hubfs cache import`."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hubfs.blobs.retry import RetryPolicy
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.commands.cache.exporting import export
from hubfs.commands.cache.importing import Importing
from hubfs.commands.fetch.filling import cached_bytes
from hubfs.commands.fetch.session import session
from hubfs.commands.fetch.telling import Teller
from hubfs.endpoints import asking
from hubfs.errors import HubfsError, InvalidConfig, InvalidHandle, NotCached, quoted
from hubfs.library.handles import asked_for, handle_in
from hubfs.model_id import BLOBS, ModelId
from hubfs.settings.config import Config

_SILENT = {"quiet": True, "as_json": False, "terminal": False}


def exported(config: Config, handles: Sequence[str], to: Path) -> tuple[Sequence[str], int]:
    """Writes models of these handles to the new file `to`; their names in the cache, and the size of their files.

    Raises `InvalidHandle`, and `InvalidConfig` for a model that is not there, or not whole, and for a file that cannot
    be written: it is whole, or not there.
    """
    if config.cache_dir is None:
        raise InvalidConfig("--no-disk-cache: there is no cache to export from")
    if os.path.lexists(to):
        raise InvalidConfig(f"{to} exists: name another file")
    offline, asked = asked_for(replace(config, offline=True), handles)
    models: dict[str, None] = {}
    store, partial = DiskStore(CacheLayout(config.cache_dir)), to.with_name(f".{to.name}.{os.getpid()}.partial")
    with session(offline, Teller(**_SILENT)) as running:
        held = []
        try:
            for one in asked:
                try:
                    model = running.model(one)
                except NotCached as error:
                    raise InvalidConfig(f"{quoted(one.text)} is not in the cache: `hubfs prefetch` it first") from error
                if cached_bytes(model, running.engine.cancellation) < model.stored_bytes:
                    raise InvalidConfig(f"{quoted(one.text)} is not whole in the cache: `hubfs prefetch` it first")
                there = {*store.models()}
                names = [model.source.model, *(blob for blob in store.shared_by(model.source.model) if blob in there)]
                held += [store.hold(name) for name in names]
                models |= dict.fromkeys(names)
            with partial.open("wb") as file:
                size_bytes = export(store, [*models], file)
            partial.replace(to)
        except OSError as error:
            raise InvalidConfig(f"{to} cannot be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
            for release in held:
                release()
    return [name for name in models if not name.startswith(f"{BLOBS}/")], size_bytes


def imported(config: Config, file: Path, handle: str | None) -> Sequence[str]:
    """Keeps what an export has, or the archive `file` as the model `handle`; the names of the models in the cache.

    Raises `InvalidHandle` for one without a version, `Damaged` for a file that is not what it should be: nothing new is
    there then; and `InvalidConfig` for want of room, or of a cache.
    """
    if config.cache_dir is None:
        raise InvalidConfig("--no-disk-cache: there is no cache to import into")
    layout = CacheLayout(config.cache_dir)
    store = DiskStore(layout)
    tier = DiskTier(store, DiskSettings(config.cache_size_bytes, 0))
    importing = Importing(store, tier)
    try:
        layout.prepare()
        if handle is None:
            return [name for name in importing.exported(file) if not name.startswith(f"{BLOBS}/")]
        own, name, version = handle_in(config, handle)
        if version is None:
            raise InvalidHandle(f"'{quoted(handle)}' names no version: an archive is one version")
        with asking(own, RetryPolicy()) as hub:
            label, url = hub.label, f"{hub.url}/{hub.names.path(name, version)}"
        made = importing.archive(file, label, ModelId(name, version), url, workers=config.inflate_workers)
        try:
            offline, asked = asked_for(replace(config, offline=True), [handle])
            with session(offline, Teller(**_SILENT)) as running:
                served = running.model(asked[0]).source.model
        except HubfsError as error:
            store.remove(made)
            raise InvalidConfig(f"{own.hub} has no models that are archives: {error}") from error
        return [served]
    except OSError as error:
        raise InvalidConfig(f"{error.filename or file} cannot be used: {error.strerror}") from error
