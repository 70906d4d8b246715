"""What the extended attributes of a hub's paths say."""

from collections.abc import Callable

from hubfs.cache.block_cache import BlockCache
from hubfs.errors import HubfsError, NotFound
from hubfs.model_id import ModelId
from hubfs.models.models import Models
from hubfs.models.troubles import Troubles
from hubfs.sources.source import Source, cached_bytes

ATTRIBUTES = "user.hubfs."
"""What the names of all extended attributes begin with. Methods take what follows."""


class ExtendedAttributes:
    """The attributes of paths in models, and of directories above models. No state of its own, so no lock."""

    def __init__(self, models: Models, cache: BlockCache, troubles: Troubles) -> None:
        self._models, self._cache, self._troubles = models, cache, troubles

    def of_model(self, handle: ModelId, inner: str, name: str) -> str | None:
        """An attribute of the path `inner` in a model; None for a name that there is not.

        Waits for the hub where nobody asked for the model before. Raises `NotFound` where there is no such model.
        """
        try:
            source = self._models.get(handle)
        except NotFound:
            raise
        except HubfsError as unreadable:
            return {"handle": str(handle), "error": str(unreadable)}.get(name)
        answers: dict[str, Callable[[], str | None]] = {
            "handle": lambda: str(handle),
            "url": lambda: source.url,
            "form": lambda: source.form.value,
            "cached_bytes": lambda: _text(cached_bytes(self._cache, source)),
            "error": lambda: self._error(source, inner),
        }
        answer = answers.get(name)
        return None if answer is None else answer()

    def _error(self, source: Source, inner: str) -> str | None:
        if source.failure is not None:
            return str(source.failure)
        trouble = self._troubles.of(str(source.handle), inner)
        return None if trouble is None else trouble.error

    def _path_of(self, handle: str) -> str:
        names = self._models.hub.names
        model = names.parse(handle)
        return names.path(model.name, model.version)

    def of_folder(self, folder: str, name: str) -> str | None:
        """An attribute of a directory above models. Asks nobody.

        A model root that cannot be looked up has no attributes of its own, nor has a symlink: what is wrong with them,
        the directory says.
        """
        match name:
            case "error":
                troubles = self._troubles.below(folder, self._path_of)
                return "\n".join(f"{child}: {trouble.error}" for child, trouble in troubles.items()) or None
            case "denied":
                denied = self._models.denied(folder)
                return "\n".join(f"{version}: {why}" for version, why in denied.items()) or None
            case "stale":
                stale = self._models.answers.stale(folder)
                return None if stale is None else f"latest -> {stale.version}: {stale.error}"
        return None


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
