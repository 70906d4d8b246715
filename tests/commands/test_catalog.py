from pathlib import Path

import pytest

from hubfs.catalogue.file import parse_catalog, read_catalog
from hubfs.commands.catalog import import_documentation, lines
from hubfs.errors import InvalidConfig


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name, text in {
        "google/google.md": "# Publisher google\n",
        "google/models/spice/1.md": "# Module google/spice/1\n",
        "google/models/spice/2.md": "# Module google/spice/2\n",
        "google/models/again/2.md": "# Module google/spice/2\ntwice\n",
        "google/models/spice/lite/1.md": "# Lite google/spice/1\n",
    }.items():
        path = root / "assets" / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_an_import_writes_a_catalogue_and_says_what_is_in_it(checkout: Path, tmp_path: Path):
    output = tmp_path / "made" / "catalog.jsonl"
    assert import_documentation(checkout, output) == f"{output} has 4 entries: 1 Lite, 2 Module, 1 Publisher"
    assert {entry.handle for entry in read_catalog(output)} == {
        "google",
        "google/spice/1",
        "google/spice/2",
        "google/lite-model/spice/1",
    }


def test_an_import_to_stdout_is_the_catalogue_itself(checkout: Path):
    assert len(parse_catalog(import_documentation(checkout, Path("-")), "stdout")) == 4


def test_a_listing_is_a_catalogue_again(tmp_path: Path):
    file = tmp_path / "handles.tsv"
    file.write_text("# ours\n\nModule\tgoogle/spice/2\nPublisher\tgoogle\n")
    assert list(lines(file)) == ["Module\tgoogle/spice/2", "Publisher\tgoogle"]


def test_a_listing_of_no_file_says_how_to_get_one():
    with pytest.raises(InvalidConfig, match="hubfs catalog import"):
        list(lines(None))


def test_an_import_that_finds_nothing_writes_nothing(tmp_path: Path):
    output = tmp_path / "catalog.jsonl"
    with pytest.raises(InvalidConfig, match="has no documentation"):
        import_documentation(tmp_path, output)
    assert not output.exists()
