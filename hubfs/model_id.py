"""Which model: the name and the version by which everything but its own hub knows it."""

from dataclasses import dataclass
from hashlib import blake2b

BLOBS = "+blobs"
"""Stands for the hub in the names of what keeps files by their content. No hub has this label: it would be quoted."""


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


def blob_name(model: str, sha256: str, size_bytes: int) -> str:
    """The name in the cache of what keeps a file by its content, for every version of a model that has the file.

    `model` is the name in the cache of one of them, as `model_name` made it.
    """
    return f"{BLOBS}/{name_of(model)}/{sha256}@{size_bytes}"


def name_of(model: str) -> str:
    """`<hub>/<name>` of a model's name in the cache, as `model_name` made it; of a blob's, `blobs/<hub>/<name>`."""
    return model.rpartition("@")[0].rpartition("/")[0]
