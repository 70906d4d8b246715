"""What an origin tells of the moment at which bytes were last changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stamp:
    """When an origin says that bytes were made: `made_s`, Unix time in whole seconds; None where it says nothing.

    `tag` tells apart other bytes of the same moment: an ETag or a generation; empty where the origin names none. A host
    is not to be trusted with either: any integer, and any text, may be there.
    """

    made_s: int | None = None
    tag: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `from_json`: fields of an object; none for a stamp that says nothing, as indexes had before."""
        return {} if self == UNDATED else {"made_s": self.made_s, "tag": self.tag}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Stamp":
        """Reads what `to_json` made; a stamp that says nothing where the fields are absent. Raises `TypeError`."""
        made_s, tag = fields.get("made_s"), fields.get("tag", "")
        if type(made_s) not in (int, type(None)) or type(tag) is not str:
            raise TypeError("a date is a number of seconds or unknown, and its tag a text")
        return cls(made_s, tag)


UNDATED = Stamp()
"""The stamp of an origin that says nothing, and of what was cached before dates were kept."""
