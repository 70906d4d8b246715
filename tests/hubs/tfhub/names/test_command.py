from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubfs.cli import main
from hubfs.errors import InvalidConfig
from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.names.documentation import import_documentation
from hubfs.hubs.tfhub.names.file import parse_catalog, read_catalog


def run(*arguments: object, environment: Mapping[str, str | None] | None = None) -> Result:
    mine: dict[str, str | None] = {"HUBFS_CATALOG": None, "HUBFS_HUB": None, "HUBFS_CONFIG": None}
    return CliRunner().invoke(main, ["catalog", "ls", *map(str, arguments)], env={**mine, **(environment or {})})


def shown(*arguments: object, environment: Mapping[str, str | None] | None = None) -> str:
    done = run(*arguments, environment=environment)
    assert done.exit_code == 0, done.output
    return done.output


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
    assert shown(file).splitlines() == ["Module\tgoogle/spice/2", "Publisher\tgoogle"]
    assert parse_catalog(shown(file, "--format", "json"), "stdout") == read_catalog(file)


def test_a_listing_of_the_public_hub_needs_no_file_and_no_network():
    entries = parse_catalog(shown("--format", "json"), "stdout")
    assert entries == [*bundled_catalogue().entries]
    assert len(shown().splitlines()) == len(entries)


def test_a_listing_is_of_the_kinds_and_tasks_that_are_asked_for():
    by_task = parse_catalog(shown("--task", "text-embedding", "--format", "json"), "stdout")
    assert len(by_task) == 367
    assert {entry.task for entry in by_task} == {"text-embedding"}
    lines = shown("--kind", "coral", "--kind", "Tfjs").splitlines()
    assert {line.partition("\t")[0] for line in lines} == {"Coral", "Tfjs"}
    assert len(lines) == 3 + 358
    both = shown("--kind", "Module", "--task", "audio-pitch-extraction").splitlines()
    assert both == ["Module\tgoogle/spice/1", "Module\tgoogle/spice/2"]
    assert shown("--kind", "Lite", "--task", "audio-pitch-extraction") == ""


def test_a_task_that_is_mistyped_is_named_with_those_near_it():
    done = run("--task", "text-embeding")
    assert done.exit_code == 1
    assert "for the task 'text-embeding'; near it: " in done.output
    assert " text-embedding," in done.output
    assert "image-classification" not in done.output
    assert "`hubfs catalog ls --format json` shows the tasks" in run("--task", "chess").output


def test_the_configured_file_comes_before_the_public_catalogue(tmp_path: Path):
    file = tmp_path / "handles.tsv"
    file.write_text("Module\tus/ours/1\nPlaceholder\tgoogle/spice/2\n")
    for hub in ("https://tfhub.dev", "https://mirror.example"):
        assert shown(environment={"HUBFS_CATALOG": str(file), "HUBFS_HUB": hub}) == file.read_text()


def test_of_another_hub_a_listing_without_a_file_says_how_to_get_one():
    done = run(environment={"HUBFS_HUB": "https://user:secret@mirror.example"})
    assert done.exit_code == 1
    assert "hubfs catalog import" in done.output
    assert "secret" not in done.output


def test_of_several_hubs_a_listing_shows_what_is_configured_of_each(tmp_path: Path):
    (tmp_path / "ours.tsv").write_text("Module\tacme/embeddings/3\n")
    config = tmp_path / "config.toml"
    section = f'[hub.ours]\nurl = "https://hub.example"\ncatalog = "{tmp_path}/ours.tsv"\n'
    config.write_text(section)
    assert shown(environment={"HUBFS_CONFIG": str(config)}) == "Module\tacme/embeddings/3\n"
    config.write_text(f'{section}[hub.tfhub]\nurl = "https://tfhub.dev"\n')
    lines = shown(environment={"HUBFS_CONFIG": str(config)}).splitlines()
    assert {"Module\tacme/embeddings/3", "Module\tgoogle/spice/2"} <= {*lines}
    done = run(environment={"HUBFS_HUB": "a=https://a.example b=https://b.example"})
    assert done.exit_code == 1
    assert "No catalogue of https://a.example, https://b.example is configured" in done.output


def test_an_import_that_finds_nothing_writes_nothing(tmp_path: Path):
    output = tmp_path / "catalog.jsonl"
    with pytest.raises(InvalidConfig, match="has no documentation"):
        import_documentation(tmp_path, output)
    assert not output.exists()
