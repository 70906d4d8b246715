"""A documentation repository with the traits of the real one."""

import logging
from pathlib import Path

import pytest

from hubfs.errors import InvalidConfig
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.documentation import read_documentation


class Repository:
    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, text: str | bytes) -> Path:
        path = self.root / "assets" / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def read(self) -> dict[str, CatalogEntry]:
        return {entry.handle: entry for entry in read_documentation(self.root)}

    def members(self, text: str) -> tuple[str, ...]:
        """Of a collection with this text."""
        self.add("google/collections/c/1.md", f"# Collection google/c/1\nA collection.\n\n## Overview\n{text}\n")
        return self.read()["google/collection/c"].members


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "checkout")


@pytest.mark.parametrize(
    ("name", "title", "kind", "handle"),
    [
        ("google/google.md", "# Publisher google", CatalogKind.PUBLISHER, "google"),
        ("google/models/spice/2.md", "# Module google/spice/2", CatalogKind.MODULE, "google/spice/2"),
        ("google/models/spice/lite/1.md", "# Lite google/spice/1", CatalogKind.LITE, "google/lite-model/spice/1"),
        (
            "google/models/spice/2/default/tfjs/1.md",
            "# Tfjs google/spice/2/default/1",
            CatalogKind.TFJS,
            "google/tfjs-model/spice/2/default/1",
        ),
        (
            "google/models/yamnet/coral/1.md",
            "# Coral google/yamnet/classification/coral/1",
            CatalogKind.CORAL,
            "google/coral-model/yamnet/classification/coral/1",
        ),
        ("a/models/b/1.md", "# Lite a/lite-model/b/1", CatalogKind.LITE, "a/lite-model/b/1"),
        ("mediapipe/models/iris/1.md", "# Placeholder mediapipe/iris/1", CatalogKind.PLACEHOLDER, "mediapipe/iris/1"),
        (
            "google/collections/bert/1.md",
            "# Collection google/bert/1",
            CatalogKind.COLLECTION,
            "google/collection/bert",
        ),
        (
            "google/collections/experts/bert/1.md",
            "# Collection google/experts/bert/1",
            CatalogKind.COLLECTION,
            "google/collection/experts/bert",
        ),
        ("a/collections/b.md", "# Collection a/collection/b", CatalogKind.COLLECTION, "a/collection/b"),
        ("a/collections/b.md", "# Collection a/collection/b/1", CatalogKind.COLLECTION, "a/collection/b"),
        ("captain-pool/esrgan-tf2/1.md", "# Module captain-pool/esrgan-tf2/1", CatalogKind.MODULE, None),
        ("a/models/b/1.md", "\ufeff# Module a/b/1\r", CatalogKind.MODULE, "a/b/1"),
        ("a/models/b/1.md", "#  Module  a/b/1  ", CatalogKind.MODULE, "a/b/1"),
        ("a/models/b/1.md", "# Module a/b_&zwnj;long&zwnj;_name/1", CatalogKind.MODULE, "a/b_long_name/1"),
        ("a/models/b/1.md", "# Module a/b_\u200clong/1", CatalogKind.MODULE, "a/b_long/1"),
    ],
)
def test_the_title_says_kind_and_handle(
    repository: Repository, name: str, title: str, kind: CatalogKind, handle: str | None
):
    repository.add(name, f"{title}\nA description.\n")
    (entry,) = repository.read().values()
    assert (entry.kind, entry.handle) == (kind, handle or title.rpartition(" ")[2])


def test_the_whole_text_is_the_documentation(repository: Repository):
    text = "# Module google/spice/&zwnj;2\n\nPitch in Hz, ±1.\n"
    repository.add("google/models/spice/2.md", text)
    assert repository.read()["google/spice/2"].documentation == text


def test_the_folder_of_documents_may_be_named_itself(repository: Repository):
    repository.add("google/models/spice/2.md", "# Module google/spice/2\n")
    (entry,) = read_documentation(repository.root / "assets" / "docs")
    assert entry.handle == "google/spice/2"


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("[one](https://tfhub.dev/google/bert/1)", ("google/bert/1",)),
        ("[one](https://tfhub.dev/google/bert)", ("google/bert",)),
        ("| [2/128](https://tfhub.dev/a/b/c_L-2) | [4/128](https://tfhub.dev/a/b/c_L-4) |", ("a/b/c_L-2", "a/b/c_L-4")),
        ("[one](https://tfhub.dev/a/b/1/), [again](https://www.tfhub.dev/a/b/1)", ("a/b/1",)),
        ("[lite](https://tfhub.dev/a/lite-model/b/1/default/1?lite-format=tflite)", ("a/lite-model/b/1/default/1",)),
        (
            "<!-- (https://tfhub.dev/a/lite-model/b/1) -->\n<!-- (https://tfhub.dev/a/c/2) -->",
            ("a/lite-model/b/1", "a/c/2"),
        ),
        (
            "See https://tfhub.dev/a/b/1, <https://tfhub.dev/a/c/1>, https://tfhub.dev/a/d/1.",
            ("a/b/1", "a/c/1", "a/d/1"),
        ),
        ("[one]: https://tfhub.dev/a/b/1", ("a/b/1",)),
        ("[one](/a/b/1) [two](a/b/2) [three](/a/b) [four](<a/b/3>)", ("a/b/1", "a/b/2", "a/b", "a/b/3")),
        (
            "[a](../../models/spice/2.md) [b](../../models/spice/lite/1.md)",
            ("google/spice/2", "google/lite-model/spice/1"),
        ),
        ("[other](https://tfhub.dev/google/collections/nnlm/1) [x](https://tfhub.dev/google/collection/y)", ()),
        (
            "[all](https://tfhub.dev/s?module-type=text) [google](https://tfhub.dev/google) [home](https://tfhub.dev/)",
            (),
        ),
        ("[code](https://github.com/tensorflow/models/1) [odd](https://[bad/a/b/1) [m](mailto:a@b.c)", ()),
        ("![plot](images/plot.png) [part](#inputs) [gone](../../models/gone/1.md)", ()),
        ("[up](/../../etc/1) [up](https://tfhub.dev/a/../b/1) [case](https://tfhub.dev/Google/a/1)", ()),
        ('```\nhub.load("https://tfhub.dev/a/b/1")\n```\n[two](/a/b/2)\n~~~\nhttps://tfhub.dev/a/b/3', ("a/b/2",)),
    ],
)
def test_the_links_of_a_collection_name_its_models(repository: Repository, text: str, members: tuple[str, ...] | None):
    repository.add("google/models/spice/2.md", "# Module google/spice/2\n")
    repository.add("google/models/spice/lite/1.md", "# Lite google/spice/1\n")
    assert repository.members(text) == members


def test_only_collections_have_members(repository: Repository):
    repository.add("a/models/b/2.md", "# Module a/b/2\n[before](https://tfhub.dev/a/b/1)\n")
    assert repository.read()["a/b/2"].members == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no title"),
        ("Module a/b/1\n", "no title"),
        ("# Module a/b/1 and more\n", "no title"),
        ("# Contributing\n", "no title"),
        ("# Module a/b\n", "not a versioned handle"),
        ("# Module CallmeMehdi/AraBERT/1\n", "not a versioned handle"),
        ("# Collection a/../1\n", "no collection"),
        ("# Collection a\n", "no collection"),
        (b"# Module a/b/1\n\xff\xfe", "not UTF-8"),
        (b"# Module a/b/1\n" + b" " * (4 * 1024 * 1024), "more than 4194304 bytes"),
    ],
)
def test_what_is_no_document_is_skipped_with_a_line_in_the_log(
    repository: Repository, caplog: pytest.LogCaptureFixture, text: str | bytes, reason: str
):
    caplog.set_level(logging.INFO, "hubfs")
    repository.add("a/models/good/1.md", "# Module a/good/1\n")
    repository.add("a/models/bad/1.md", text)
    assert list(repository.read()) == ["a/good/1"]
    (record,) = caplog.records
    assert "a/models/bad/1.md is skipped" in record.getMessage()
    assert reason in record.getMessage()


def test_a_link_out_of_the_checkout_is_not_followed(repository: Repository, tmp_path: Path):
    outside = tmp_path / "outside.md"
    outside.write_text("# Module a/outside/1\n")
    repository.add("a/models/good/1.md", "# Module a/good/1\n").with_name("2.md").symlink_to(outside)
    assert list(repository.read()) == ["a/good/1"]


def test_a_directory_without_documents_is_refused(tmp_path: Path):
    (tmp_path / "README.md").write_text("# A project\n")
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InvalidConfig, match="has no documentation of models"):
            read_documentation(directory)


def test_an_import_makes_a_catalogue_with_collections_and_documentation(repository: Repository):
    repository.add("google/google.md", "# Publisher google\n")
    repository.add("google/models/bert/1.md", "# Module google/bert/1\nold\n")
    repository.add("google/models/bert/2.md", "# Module google/bert/2\nnew\n")
    repository.add("google/models/qa/1.md", "# Placeholder google/qa/1\n")
    repository.add("google/collections/text/1.md", "# Collection google/text/1\n[b](/google/bert) [q](/google/qa/1)\n")
    catalog = Catalog(read_documentation(repository.root))
    assert catalog.children(("google",)) == ["bert", "collection"]
    assert catalog.collection("google/collection/text") == ("google/bert/2",)
    assert catalog.documentation("google/bert") == b"# Module google/bert/2\nnew\n"
