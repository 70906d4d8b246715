"""A hub that nobody asks: what `--offline` puts in its place."""

from collections.abc import Sequence

from hubfs.errors import NotCached
from hubfs.hubs.resolver import Form, Location, Resolver
from hubfs.model_id import ModelId

_OFFLINE = "hubfs is mounted with --offline and asks nobody"


class OfflineResolver:
    """Answers for the hub of `asked` that nothing is known but what is cached. Opens no connection."""

    lists = False

    def __init__(self, asked: Resolver) -> None:
        self._hub = asked.hub
        self._cached_as = asked.cached_as

    @property
    def hub(self) -> str:
        """See `Resolver`."""
        return self._hub

    @property
    def cached_as(self) -> str:
        """See `Resolver`."""
        return self._cached_as

    def resolve(self, handle: ModelId, form: Form | None = None) -> Location:  # noqa: ARG002 - the protocol's signature
        """Raises `NotCached`: whoever asks has looked into the cache before."""
        raise NotCached(
            f"{self._hub}/{handle} is not cached, and {_OFFLINE}: read it once on a mount without --offline"
        )

    def latest(self, name: str) -> str:
        """Raises `NotCached`."""
        raise NotCached(f"{_OFFLINE} which version of {self._hub}/{name} is the latest")

    def versions(self, name: str) -> Sequence[str]:  # noqa: ARG002 - as above
        """None that the cache does not know."""
        return ()

    def children(self, folder: str) -> Sequence[str]:  # noqa: ARG002 - as above
        """None that the cache does not know."""
        return ()
