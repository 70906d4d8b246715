"""TF Hub's words stay in TF Hub's room: what another room says of TF Hub, a second hub has to read past."""

import re
from pathlib import Path

from tests.support.paths import ROOT

WORDS = re.compile(
    r"(?i:tf[-_ ]?hub|(?:lite|tfjs|coral)-model|lite-format|\btfjs|tf\.js|tf ?lite|saved_?model|tensorflow)"
    r"|\bKind\.(?:MODEL|LITE|TFJS|CORAL)\b|\bCOLLECTION\b|(?<!^from )\bcollections?\b(?!\.abc)"
)
"""Names of the protocol, of its kinds of models, of the collections of its catalogue, and of its loaders."""

ROOMS = {
    "hubs/tfhub": "the room itself",
    "integrations": "a drop-in for tensorflow_hub, in the user's process",
    "sources/prefetch": "what loaders of SavedModels and of TF.js models read next: formats, whichever hub has them",
    "hubs/kaggle": "Kaggle's own names of frameworks (tensorFlow2, tfJs), and the models that are at both hubs",
}

EXCEPTIONS = {
    "hubs/registry.py": (1, "the registry names its hubs"),
}
"""By the room or file: how often at most, and why. No number grows: a hub's word belongs into its room."""


def said() -> dict[str, list[str]]:
    """The places of the words, by the room or file of EXCEPTIONS, or else by the file."""
    places: dict[str, list[str]] = {}
    for path in sorted((ROOT / "hubfs").rglob("*.py")):
        file = path.relative_to(ROOT / "hubfs")
        if any(_is_in(file, room) for room in ROOMS):
            continue
        room = next((name for name in EXCEPTIONS if _is_in(file, name)), file.as_posix())
        for number, line in enumerate(path.read_text().splitlines(), 1):
            places.setdefault(room, []).extend(f"{file}:{number}: {word}" for word in WORDS.findall(line))
    return {room: found for room, found in places.items() if found}


def _is_in(file: Path, room: str) -> bool:
    return file.is_relative_to(room)


def test_words_of_tf_hub_are_said_in_its_room_alone() -> None:
    for room, found in said().items():
        at_most, why = EXCEPTIONS.get(room, (0, "nothing of TF Hub belongs there"))
        assert len(found) <= at_most, f"{room} ({why}) has {len(found)} of {at_most}:\n" + "\n".join(found)


def test_no_exception_outlives_its_words() -> None:
    assert set(EXCEPTIONS) <= set(said())
