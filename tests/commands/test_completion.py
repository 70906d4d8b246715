"""What shells complete. The shells are real, on a pseudo-terminal: a key is pressed, and the screen is looked at."""

import fcntl
import os
import pty
import shutil
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from click.testing import CliRunner

from hubfs.cli import main
from hubfs.hubs.hub import label_of
from hubfs.mounts import table as mount_table
from tests.support.mount import HUBFS
from tests.support.waiting import eventually

COMMIT = "0123456789" * 4
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ['PS1="ready> "', 'eval "$(hubfs completion bash)"']),
    "zsh": (
        ["zsh", "-f", "-i"],
        ['PROMPT="ready> "', "autoload -Uz compinit && compinit -u -D", 'eval "$(hubfs completion zsh)"'],
    ),
    "fish": (
        ["fish", "--no-config", "--interactive"],
        ['function fish_prompt; echo "ready> "; end', "hubfs completion fish | source"],
    ),
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = tmp_path / "cache"
    for model in (
        f"{label_of('https://tfhub.dev')}/google/spice/2@pin",
        f"{label_of('https://tfhub.dev')}/google/yamnet/1@pin",
        f"{label_of('hf:')}/BAAI/bge-m3/{COMMIT}@pin",
        f"{label_of('kaggle:')}/google/bit/tensorFlow2/tiny/1@pin",
        "hub.example.com/a/b/3@pin",
        "hub.example.com/a/$(touch there)/3@pin",
        "+blobs/tfhub.dev/google/spice/0000@12",
    ):
        (root / "models" / model).mkdir(parents=True)
    root.chmod(0o700)
    return root


def completed(line: str, **environment: str) -> list[str]:
    """What bash is told of a line."""
    variables = {"_HUBFS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": "1", **environment}
    told = CliRunner().invoke(main, [], prog_name="hubfs", env=variables)
    return told.output.split()


def test_commands_and_options_are_completed() -> None:
    assert completed("hubfs mo") == ["plain,mount"]
    assert {"plain,mount", "plain,completion", "plain,serve"} <= {*completed("hubfs ")}
    assert completed("hubfs config sh") == ["plain,show"]
    assert completed("hubfs mount --prof") == ["plain,--profile"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hubfs mount --profile s", ["plain,serving"]),
        ("hubfs mount --fuse-library lib", ["plain,libfuse3", "plain,libfuse2"]),
        ("hubfs mount --config /et", ["file,/et"]),
        ("hubfs mount --cache-dir /va", ["dir,/va"]),
        ("hubfs completion z", ["plain,zsh"]),
    ],
)
def test_values_of_options_are_completed(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


def test_models_of_the_cache_are_completed(cache: Path) -> None:
    where = {"HUBFS_CACHE_DIR": str(cache), "HUBFS_CONFIG": ""}
    assert completed("hubfs fetch google/s", **where) == ["plain,google/spice/2"]
    assert completed("hubfs resolve ", **where) == [
        "plain,google/spice/2",
        "plain,google/yamnet/1",
        "plain,hf:BAAI/bge-m3",
        "plain,kaggle:google/bit/tensorFlow2/tiny/1",
    ]
    # bash puts the text behind the last colon.
    assert completed("hubfs prefetch hf:BA", **where) == ["plain,BAAI/bge-m3"]
    assert completed("hubfs cache rm hub", **where) == ["plain,hub.example.com/a/b/3"]
    assert completed(f"hubfs cache pin --cache-dir {cache} tf") == [
        "plain,tfhub.dev/google/spice/2",
        "plain,tfhub.dev/google/yamnet/1",
    ]


@pytest.mark.parametrize("directory", ["/nowhere/at/all", "gs://bucket/x", "/dev/null"])
def test_a_cache_that_cannot_be_looked_at_completes_nothing(directory: str) -> None:
    assert completed(f"hubfs cache rm --cache-dir {directory} x") == []


def test_places_of_mounts_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    places = ["/mnt/hub", "/mnt/other", "/mnt/$(touch x)", "/mnt/a b", "/mnt/x;y", "/srv"]
    monkeypatch.setattr(mount_table, "mountpoints", lambda: [Path(place) for place in places])
    for command in ("unmount", "status", "top"):
        assert completed(f"hubfs {command} /mnt/") == ["plain,/mnt/hub", "plain,/mnt/other"]


def test_no_more_is_told_than_a_person_would_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_table, "mountpoints", lambda: [Path(f"/mnt/{number}") for number in range(5000)])
    assert len(completed("hubfs unmount /mnt/")) == 200


def test_a_shell_that_is_none_is_refused() -> None:
    told = CliRunner().invoke(main, ["completion", "tcsh"])
    assert told.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in told.output


class Terminal:
    """A shell on a pseudo-terminal, and its screen."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._screen = pyte.Screen(100, 24)
        self._stream = pyte.ByteStream(self._screen)
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execvpe(command[0], command, environment)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        os.set_blocking(self._terminal, False)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def shows(self, text: str) -> bool:
        """Whether a line of the screen begins with `text`, or does in time."""
        return eventually(lambda: any(line.startswith(text) for line in self._lines()))

    def _lines(self) -> list[str]:
        try:
            while data := os.read(self._terminal, 65536):
                self._stream.feed(data)
        except (BlockingIOError, OSError):
            pass
        return self._screen.display

    @property
    def text(self) -> str:
        return "\n".join(line for line in self._screen.display if line.strip())

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, cache: Path, tmp_path: Path) -> Iterator[Terminal]:
    command, lines = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; scripts/test installs it")
    terminal = Terminal(
        command,
        {
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),  # fish would make one below /tmp
            "PATH": f"{HUBFS.parent}:{os.environ['PATH']}",
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
            "HUBFS_CACHE_DIR": str(cache),
        },
    )
    try:
        for line in lines:
            terminal.type(f"{line}\n")
        terminal.type("echo set-up\n")
        assert terminal.shows("set-up"), terminal.text
        yield terminal
    finally:
        terminal.close()


@pytest.mark.slow
def test_a_shell_completes_a_command_an_option_and_a_handle(shell: Terminal) -> None:
    for typed, becomes in (
        ("hubfs mo", "hubfs mount "),
        ("--profi", "hubfs mount --profile "),
        ("serv", "hubfs mount --profile serving"),
    ):
        shell.type(f"{typed}\t")
        assert shell.shows(f"ready> {becomes}"), shell.text
    shell.type("\x15hubfs resolve hf:\t")
    assert shell.shows("ready> hubfs resolve hf:BAAI/bge-m3"), shell.text
