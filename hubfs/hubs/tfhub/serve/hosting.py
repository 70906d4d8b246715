"""How a model of any hub is named, and stored, where `hubfs serve` hosts it: pure functions of its name."""

from collections.abc import Mapping
from string import ascii_lowercase, digits

from hubfs.errors import InvalidHandle
from hubfs.hubs.hosted import ARCHIVE, FOLDER, Hosted
from hubfs.hubs.tfhub.names.handle import Kind, kind_of, parse_handle, possible_models
from hubfs.model_id import ModelId

_LETTERS = {*ascii_lowercase, *digits, "-"}
"""What a publisher consists of."""

_ENDINGS: Mapping[Kind, str] = {
    Kind.MODEL: ARCHIVE,
    Kind.TFJS: FOLDER,  # each of its files has a URL of its own
    Kind.LITE: ".tflite",
    Kind.CORAL: ".tflite",
}


def hosted(name: str, version: str) -> Hosted:
    """The version `version`, a number, of the model that its own hub calls `name`: `BAAI/tiny` becomes `baai/tiny`.

    Raises `InvalidHandle` for a name that no handle can have.
    """
    publisher, _, rest = name.partition("/")
    publisher = "".join(letter if letter in _LETTERS else "-" for letter in publisher.lower())
    model = parse_handle(f"{publisher}/{rest}/{version}")
    if [ModelId(model.name, version)] != [one for one, inner in possible_models(str(model).split("/")) if not inner]:
        raise InvalidHandle(f"{name} cannot be served: a part of its name is a number, which would be its version")
    return Hosted(model, _ENDINGS[kind_of(model.name)])
