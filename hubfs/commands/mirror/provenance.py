"""What a mirror writes down beside each model: where it came from."""

import json
from dataclasses import asdict, dataclass

from hubfs.blobs import json_text
from hubfs.errors import Damaged

SUFFIX = ".hubfs-mirror"
"""The provenance of the version `2` is `2.hubfs-mirror`, beside it."""

MAX_SIZE_BYTES = 64 << 10


@dataclass(frozen=True)
class Provenance:
    """The model `handle` of the hub `hub`, which the cache knows as `source`; its file here has `size_bytes`.

    `source` names the bytes: it is another one where the hub has other bytes under that handle.
    """

    hub: str
    handle: str
    source: str
    size_bytes: int

    def is_of(self, hub: str, handle: str) -> bool:
        """Whether this is of a model, with whatever bytes."""
        return (self.hub, self.handle) == (hub, handle)

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        return f"{json.dumps(asdict(self), indent=2)}\n".encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> "Provenance":
        """Reads what `to_bytes` made, and what lies at `where`. Raises `Damaged`."""
        try:
            fields = json_text.parse(data)
            read = cls(**fields)
        except (ValueError, TypeError) as error:
            raise Damaged(f"{where} is no provenance of a model: delete it with the model that it is beside") from error
        texts = (read.hub, read.handle, read.source)
        if not all(type(text) is str for text in texts) or type(read.size_bytes) is not int:
            raise Damaged(f"{where} is no provenance of a model: delete it with the model that it is beside")
        return read
