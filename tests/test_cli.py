import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hubfs.cli import main
from hubfs.settings.config import SETTINGS
from tests.support.paths import ROOT

OPERATIONS = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
DOCUMENTS = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name not in {"changes", "decisions"}),
]
OF_ONE_RUN = {"--foreground", "--config", "--update-fstab", "--help"}


def commands(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    for name, command in [*found.items()]:
        if isinstance(command, click.Group):
            found |= {f"{name} {below}": one for below, one in commands(command).items()}
    return found


def rows() -> dict[str, list[str]]:
    """The settings of the manual: flag, environment, config file, each as the texts in backticks, by the last."""
    lines = re.findall(r"^\|([^|]*)\|([^|]*)\| `(\w+)` \|", OPERATIONS, re.MULTILINE)
    return {key: re.findall(r"`([^`]+)`", f"{flag} {variables}") for flag, variables, key in lines}


def test_the_examples_of_the_help_are_lines_of_their_own() -> None:
    for arguments, example in (([], "hubfs unmount /mnt/tfhub"), (["resolve"], "python serve.py --model_dir")):
        lines = CliRunner().invoke(main, [*arguments, "--help"]).output.splitlines()
        assert any(line.startswith(f"  {example}") for line in lines), lines
        assert not any("\\" in line or "\b" in line for line in lines)


def test_the_manual_has_every_setting_with_its_flag_and_its_variables() -> None:
    flags = {name: one for one in commands(main)["mount"].params for name in one.opts if isinstance(one, click.Option)}
    wanted: dict[str, set[str]] = {"no_disk_cache": {"--no-disk-cache", "HUBFS_NO_DISK_CACHE"}}
    for setting in SETTINGS:
        if setting.name != "extracted_dir":  # which TFHUB_CACHE_DIR is, too
            flag = "-o" if setting.name == "mount_options" else f"--{setting.name.replace('_', '-')}"
            wanted.setdefault(setting.name, set()).update({flag} & flags.keys(), setting.environment)
    assert {key: set(said) for key, said in rows().items()} == wanted
    shown = {name for name, option in flags.items() if not option.hidden}
    assert shown - set().union(*wanted.values()) <= OF_ONE_RUN | {"-h"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_and_option_that_a_document_names_is_there(document: Path) -> None:
    known = commands(main)
    text = document.read_text(encoding="utf-8")
    for words in re.findall(r"hubfs ((?:(?:catalog|cache) )?[a-z]+)((?: [^`\n]*)?)", text):
        command, rest = words
        if command not in known:
            continue  # "hubfs takes the bucket"
        options = {name for option in known[command].params for name in option.opts} | {"--help", "--version"}
        for option in re.findall(r"(?<=\s)--[a-z-]+", rest.partition("#")[0].partition(";")[0]):
            assert option in options, f"hubfs {command} has no {option}"
