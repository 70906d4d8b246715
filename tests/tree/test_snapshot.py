import pytest

from hubfs.hub.handle import Handle
from hubfs.tree.snapshot import children

HANDLES = [
    Handle.parse(text)
    for text in (
        "google/spice/2",
        "google/spice/1",
        "google/spice/deeper/1",
        "google/bert/en/uncased/12",
        "deepmind/biggan/7",
    )
]


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ((), ["deepmind", "google"]),
        (("google",), ["bert", "spice"]),
        (("google", "spice"), ["1", "2", "deeper"]),
        (("google", "spice", "deeper"), ["1"]),
        (("google", "bert", "en"), ["uncased"]),
        (("google", "spice", "2"), []),
        (("google", "spi"), []),
        (("nobody",), []),
    ],
)
def test_a_folder_shows_what_lies_directly_below_it(folder: tuple[str, ...], names: list[str]) -> None:
    assert children(HANDLES, folder) == names


def test_without_models_there_is_nothing_to_show() -> None:
    assert children([], ()) == []
