"""How a place stores the models that it hosts: data alone."""

from dataclasses import dataclass

from hubfs.model_id import ModelId

ARCHIVE = ".tar.gz"
FOLDER = ""


@dataclass(frozen=True)
class Hosted:
    """A model as a mirror hosts it: its handle there, and what its file's name has behind the version.

    `FOLDER`: no file, but a directory of the version's name.
    """

    handle: ModelId
    ending: str
