"""The models in a cache directory, each with the files that it shares with others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.store import CachedModel, DiskStore
from hubfs.cache.disk.tier import Eviction, plan_eviction, protect
from hubfs.errors import InvalidConfig
from hubfs.model_id import BLOBS
from hubfs.settings.config import Config


@dataclass(frozen=True)
class Kept:
    """A model on disk: `name` is `<hub>/<handle>`, `model` the same with its identity.

    `size_bytes` counts the files in `shared`, too, which other versions of the model may have as well. `used_at_s` is
    Unix time.
    """

    name: str
    model: str
    size_bytes: int
    used_at_s: float
    in_use: bool
    pinned: bool
    shared: Sequence[str] = field(default=(), repr=False)


class Cache:
    """What a cache directory keeps, as it was when this was made. Holds only its collaborators."""

    def __init__(self, store: DiskStore) -> None:
        self.store = store
        self._found = [*filter(None, map(store.facts, store.models()))]
        by_model = {one.model: one for one in self._found}
        models = [one for one in self._found if not _keeps_by_content(one.model)]
        self._shared = {one.model: [*filter(by_model.__contains__, store.shared_by(one.model))] for one in models}
        used = {blob for blobs in self._shared.values() for blob in blobs}
        unused = [one for one in self._found if _keeps_by_content(one.model) and one.model not in used]
        self.models = [
            _kept(one, [by_model[blob] for blob in self._shared.get(one.model, ())]) for one in [*models, *unused]
        ]

    @property
    def size_bytes(self) -> int:
        """What all of it takes."""
        return sum(one.size_bytes for one in self._found)

    def remove(self, kept: Kept) -> bool:
        """Takes a model away, and files that no other model shares. False where a process uses the model."""
        if not self.store.remove(kept.model):
            return False
        del self._shared[kept.model]
        for blob in {*kept.shared}.difference(*self._shared.values()):
            self.store.remove(blob)
        return True

    def to_size(self, size_bytes: int) -> Sequence[Eviction]:
        """What goes so that no more than `size_bytes` stay, as far as nothing is pinned or in use."""
        return plan_eviction(self._protected(), self.size_bytes - size_bytes)

    def evict(self, eviction: Eviction) -> bool:
        """Carries a step of `to_size` out. False where a process uses the model."""
        return self.store.remove(eviction.model.model, blocks_only=not eviction.whole)

    def older_than(self, seconds_s: float) -> Sequence[Kept]:
        """What goes that nobody used for so long, and that is neither pinned nor in use."""
        before_s = time.time() - seconds_s
        old = (one for one in self.models if one.used_at_s < before_s and not (one.pinned or one.in_use))
        return sorted(old, key=lambda one: one.used_at_s)

    def _protected(self) -> Sequence[CachedModel]:
        return protect(self._found, self.store.shared_by)


def cache_of(config: Config) -> Cache:
    """What `hubfs mount` would read from the disk. Raises `InvalidConfig` where there is no such directory."""
    if config.cache_dir is None:
        raise InvalidConfig("--no-disk-cache: there is no cache to look at")
    if not config.cache_dir.is_dir():
        raise InvalidConfig(f"there is no cache at {config.cache_dir}; --cache-dir names another directory")
    layout = CacheLayout(config.cache_dir)
    try:
        layout.prepare()
        return Cache(DiskStore(layout))
    except OSError as error:
        raise InvalidConfig(f"the cache at {config.cache_dir} cannot be used: {error.strerror}") from error


def _keeps_by_content(model: str) -> bool:
    return model.startswith(f"{BLOBS}/")


def _kept(one: CachedModel, shared: Sequence[CachedModel]) -> Kept:
    folder, slash, last = one.model.rpartition("/")
    return Kept(
        name=one.model if _keeps_by_content(one.model) else folder + slash + last.partition("@")[0],
        model=one.model,
        size_bytes=one.size_bytes + sum(blob.size_bytes for blob in shared),
        used_at_s=max([one.used_at_s, *(blob.used_at_s for blob in shared)]),
        in_use=one.in_use,
        pinned=one.pinned,
        shared=[blob.model for blob in shared],
    )
