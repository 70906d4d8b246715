"""Which model: the name and the version by which everything but its own hub knows it."""

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, order=True)
class ModelId:
    """A version of a model. Only its hub gives the two texts a meaning.

    `name` is what the hub versions (`google/spice`), and may have slashes. `version` never changes its bytes
    (`2`). Neither has a segment that a path could not have: the two make a path in the cache.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def model_name(hub: str, model: ModelId, identity: str) -> str:
    """The model's name in the cache, of the hub whose name there is `hub`; another identity gives another name."""
    return f"{hub}/{model}@{blake2b(identity.encode(), digest_size=6).hexdigest()}"
