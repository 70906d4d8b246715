"""Manual pages are made of the help texts, and the programs that read manual pages find nothing wrong with them."""

import importlib.util
import os
import shutil
from pathlib import Path

import click
import pytest

from hubfs.cli import COMMANDS, main
from tests.support.paths import ROOT
from tests.support.programs import output_of, ran


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    spec = importlib.util.spec_from_file_location("hubfs_man", ROOT / "scripts" / "_build" / "man.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    place = tmp_path_factory.mktemp("man")
    module.write_pages(place)
    return {path.name: path for path in place.rglob("*.[18]")}


def shown(page: Path) -> str:
    """What a person reads, without what a terminal is told of bold text."""
    variables = {**os.environ, "MANWIDTH": "200", "MAN_KEEP_FORMATTING": "", "GROFF_NO_SGR": "1", "LC_ALL": "C.UTF-8"}
    if shutil.which("man") is None:
        pytest.skip("man is not installed; scripts/test installs it")
    return output_of(["man", "--nj", "--nh", "-l", page], env=variables, timeout=120)


def test_every_command_has_a_page(pages: dict[str, Path]) -> None:
    assert pages.keys() == {"hubfs.1", "mount.hubfs.8", *(f"hubfs-{name}.1" for name in COMMANDS)}
    for name in COMMANDS:
        assert f"hubfs\\-{name} (1)" in pages["hubfs.1"].read_text("ascii")


def test_the_linters_of_mandoc_and_groff_say_nothing(pages: dict[str, Path]) -> None:
    for lint in (["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-ww", "-z", "-man", "-T", "utf8"]):
        if shutil.which(lint[0]) is None:
            pytest.skip(f"{lint[0]} is not installed; scripts/test installs it")
        for page in pages.values():
            done = ran([*lint, page], timeout=120)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), page.name


@pytest.mark.slow
def test_man_shows_what_help_says(pages: dict[str, Path]) -> None:
    text = shown(pages["hubfs-mount.1"])
    assert "hubfs-mount - mount a hub, or several" in text
    command = main.get_command(click.Context(main), "mount")
    assert command is not None
    flat = " ".join(text.split())
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help is not None
            assert all(name in text for name in (*option.opts, *option.secondary_opts)), option.name
            assert " ".join(option.help.split()) in flat, option.name


@pytest.mark.slow
def test_examples_stay_lines_of_their_own_and_commands_of_groups_are_sections(pages: dict[str, Path]) -> None:
    lines = {line.strip() for line in shown(pages["hubfs.1"]).splitlines()}
    assert "hubfs unmount /mnt/tfhub" in lines
    assert {"hubfs cache ls", "hubfs cache prune"} <= {
        line.strip() for line in shown(pages["hubfs-cache.1"]).splitlines()
    }
    assert "mount.hubfs - mount a hub, for mount(8)" in shown(pages["mount.hubfs.8"])


def test_a_text_cannot_be_taken_for_a_request(pages: dict[str, Path]) -> None:
    known = (".TH ", ".SH ", ".SS ", ".B ", ".BR ")
    for page in pages.values():
        for line in page.read_text("ascii").splitlines():
            assert not line.startswith("'")
            assert not line.startswith(".") or line in (".PP", ".TP", ".nf", ".fi") or line.startswith(known), line
