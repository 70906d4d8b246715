"""What `mount.hubfs` makes of a line of fstab."""

import click
import pytest
from click.testing import CliRunner

from hubfs.commands.mount_helper import arguments_of, mount_helper, split


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("rw", [("rw", None)]),
        ("a=1,b,,c=", [("a", "1"), ("b", None), ("c", "")]),
        ('a="1,2",b', [("a", "1,2"), ("b", None)]),
        ('a="1,2', [("a", "1,2")]),
        ("", []),
    ],
)
def test_options_are_separated_by_commas_outside_of_quotation_marks(
    text: str, options: list[tuple[str, str | None]]
) -> None:
    assert [*split(text)] == options


def test_settings_and_options_of_the_mount_are_told_apart_and_others_left_to_others() -> None:
    options = [
        "rw,allow_other,cache_dir=/c,cache-size=1GiB,_netdev,x-systemd.automount,X-mount.mkdir,user,nofail,noexec"
    ]
    assert arguments_of("https://hub.example", "/mnt/hub", options) == [
        *("mount", "--allow-other", "--cache-dir=/c", "--cache-size=1GiB", "--hub=https://hub.example"),
        *("-onoexec", "-ofsname=https://hub.example", "--", "/mnt/hub"),
    ]


def test_supervision_may_be_wanted_or_not() -> None:
    assert "--supervise" in arguments_of("hf:", "/d", ["supervise"])
    assert "--no-supervise" in arguments_of("hf:", "/d", ["no_supervise"])


def test_the_configured_hub_is_not_named() -> None:
    assert arguments_of("hubfs", "/d", []) == ["mount", "-ofsname=hubfs", "--", "/d"]


def test_what_is_secret_is_no_name_of_a_mount() -> None:
    assert "-ofsname" not in " ".join(arguments_of("https://user:secret@hub.example", "/d", []))


def test_a_directory_is_no_option() -> None:
    assert arguments_of("hf:", "--force", [])[-2:] == ["--", "--force"]


@pytest.mark.parametrize(
    "option",
    ["nonsense", "nonsense=1", "foreground", "ready_fd=1", "remount", "token=x", "proxy_headers=X-Key: x", "suid"],
)
def test_an_option_that_nobody_knows_is_refused_unless_it_may_be_left_out(option: str) -> None:
    with pytest.raises(click.UsageError, match="unknown option"):
        arguments_of("hf:", "/d", [option])
    assert arguments_of("hf:", "/d", [option], sloppy=True) == arguments_of("hf:", "/d", [])


@pytest.mark.parametrize(("option", "why"), [("cache_dir", "takes a value"), ("offline=yes", "has no value")])
def test_a_value_that_is_missing_or_too_much_is_refused(option: str, why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        arguments_of("hf:", "/d", [option], sloppy=True)


def test_nothing_is_mounted_by_a_fake_one() -> None:
    done = CliRunner().invoke(mount_helper, ["hf:", "/d", "-sfnv", "-o", "offline,nonsense", "-t", "hubfs"])
    assert (done.exit_code, done.output) == (0, "hubfs mount --offline --hub=hf: -ofsname=hf: -- /d\n")
