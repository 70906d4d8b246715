import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import InvalidConfig
from hubfs.hubs.tfhub.names.catalogue import CatalogEntry, CatalogKind, KaggleName
from hubfs.hubs.tfhub.names.file import parse_catalog, read_catalog, to_json_lines, to_tsv, write_catalog

SPICE = CatalogEntry(CatalogKind.MODULE, "google/spice/2", "# Module google/spice/2\n\nPitch « ζ » \u2028 end\n")
BERT = CatalogEntry(CatalogKind.COLLECTION, "google/collection/bert", members=("google/bert", "google/bert/1"))
GOOGLE = CatalogEntry(CatalogKind.PUBLISHER, "google")
KNOWN = CatalogEntry(
    CatalogKind.MODULE,
    "google/yamnet/1",
    format="saved_model_2",
    task="audio-event-classification",
    kaggle=KaggleName("google/yamnet/tensorFlow2/yamnet/1", seen=False),
)
ENTRIES = [SPICE, BERT, GOOGLE, KNOWN]


def test_tab_separated_lines_are_read_with_comments_and_blank_lines(tmp_path: Path):
    path = tmp_path / "handles.tsv"
    path.write_bytes(
        b"\xef\xbb\xbf# all of them\r\n\r\nModule\tgoogle/spice/2\r\n   \n"
        b"Tfjs\tgoogle/tfjs-model/spice/2/default/1\nPlaceholder\tiree/x/1"
    )
    assert [(entry.kind, entry.handle) for entry in read_catalog(path)] == [
        (CatalogKind.MODULE, "google/spice/2"),
        (CatalogKind.TFJS, "google/tfjs-model/spice/2/default/1"),
        (CatalogKind.PLACEHOLDER, "iree/x/1"),
    ]


def test_what_is_written_is_read_back(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "catalog.jsonl"
    write_catalog(path, ENTRIES)
    assert read_catalog(path) == ENTRIES
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == [
        "Module",
        "Collection",
        "Publisher",
        "Module",
    ]


@given(st.text())
def test_any_text_can_be_documentation(text: str):
    entry = CatalogEntry(CatalogKind.MODULE, "a/b/1", text)
    assert parse_catalog(to_json_lines([entry, GOOGLE]), "test") == [entry, GOOGLE]


def test_json_of_others_may_hold_unicode_and_keys_that_we_do_not_know():
    line = json.dumps(
        {"kind": "Module", "handle": "a/b/1", "documentation": "ζ\u2028\u0085", "stars": 5}, ensure_ascii=False
    )
    assert parse_catalog(f"# made elsewhere\n{line}\n", "test") == [
        CatalogEntry(CatalogKind.MODULE, "a/b/1", "ζ\u2028\u0085")
    ]


@pytest.mark.parametrize(
    "line", ["Module\ta/b/{}", '{{"kind": "Lite", "handle": "a/lite-model/b/{}"}}', "Module\ta/b{}/1"]
)
def test_a_line_with_a_name_that_no_path_can_have_is_refused_and_says_why(line: str):
    assert parse_catalog(line.format("1" * 250), "test")
    with pytest.raises(InvalidConfig, match=r"^test, line 2: .{,320} no part of one is longer than 255 characters$"):
        parse_catalog(f"Publisher\tgoogle\n{line.format('1' * 256)}", "test")


def test_the_two_formats_may_be_mixed():
    assert parse_catalog(to_tsv([GOOGLE]) + to_json_lines([BERT]), "test") == [GOOGLE, BERT]


def test_the_short_form_keeps_kinds_and_handles():
    assert (
        to_tsv([SPICE, BERT, GOOGLE])
        == "Module\tgoogle/spice/2\nCollection\tgoogle/collection/bert\nPublisher\tgoogle\n"
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("google/spice/2", "must read KIND, a tab, HANDLE"),
        ("Modul\tgoogle/spice/2", "'Modul' is no kind: Module, Lite"),
        ("Module\tgoogle/spice", "not a versioned handle"),
        ("Module\tgoogle/spice/2\tmore", "not a versioned handle"),
        ("Lite\tgoogle/spice/2", "not of kind Lite"),
        ('{"kind": "Module", "handle": "google/spice/2"', "this is not JSON: .* at column"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        ('{"kind": "Module"}', "needs a 'handle'"),
        ('{"kind": "Module", "handle": 7}', "needs a 'handle'"),
        ('{"kind": null, "handle": "google/spice/2"}', "None is no kind"),
        ('{"kind": ["Module"], "handle": "google/spice/2"}', "is no kind"),
        ('{"kind": "Module", "handle": "google/spice/2", "documentation": 1}', "'documentation' must be a text"),
        ('{"kind": "Module", "handle": "google/spice/2", "task": 1}', "'task' must be a text"),
        ('{"kind": "Module", "handle": "google/spice/2", "task": "a\\u001bb"}', "no word for a format or a task"),
        ('{"kind": "Module", "handle": "google/spice/2", "format": ""}', "no word for a format or a task"),
        ('{"kind": "Module", "handle": "google/spice/2", "kaggle": "google/spice/2"}', "no name at Kaggle"),
        ('{"kind": "Module", "handle": "google/spice/2", "kaggle": "a/../b/c/2"}', "no name at Kaggle"),
        ('{"kind": "Module", "handle": "google/spice/2", "kaggle": "a/b/c/d/e"}', "no name at Kaggle"),
        (
            '{"kind": "Module", "handle": "a/b/1", "kaggle": "a/b/c/d/1", "kaggle_by": "x"}',
            "how a name at Kaggle is known",
        ),
        ('{"kind": "Collection", "handle": "a/collection/b", "members": "a/b/1"}', "'members' must be a list"),
        ('{"kind": "Collection", "handle": "a/collection/b", "members": [1]}', "'members' must be a list"),
        ('{"kind": "Collection", "handle": "a/collection/b", "members": ["../etc"]}', "no member"),
    ],
)
def test_a_bad_line_is_refused_with_file_line_and_reason(tmp_path: Path, line: str, reason: str):
    path = tmp_path / "handles.tsv"
    path.write_text(f"# one\nPublisher\tgoogle\n{line}\n")
    with pytest.raises(InvalidConfig, match=rf"handles\.tsv, line 3: .*{reason}"):
        read_catalog(path)


def test_a_file_that_is_not_there_or_not_text_is_refused_by_name(tmp_path: Path):
    with pytest.raises(InvalidConfig, match=r"absent\.tsv cannot be read: No such file"):
        read_catalog(tmp_path / "absent.tsv")
    with pytest.raises(InvalidConfig, match="cannot be read: Is a directory"):
        read_catalog(tmp_path)
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InvalidConfig, match=r"image\.png cannot be read: it is not UTF-8"):
        read_catalog(tmp_path / "image.png")


def test_a_write_that_fails_says_so_and_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InvalidConfig, match=r"taken cannot be written: Is a directory"):
        write_catalog(tmp_path / "taken", ENTRIES)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_write_that_breaks_off_leaves_the_catalogue_that_was_there(tmp_path: Path):
    path = tmp_path / "catalog.jsonl"
    write_catalog(path, ENTRIES)

    def breaks_off():
        yield GOOGLE
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_catalog(path, breaks_off())
    assert read_catalog(path) == ENTRIES
    assert list(tmp_path.iterdir()) == [path]
