"""The command line, as a user types it."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from hubfs.cli import main


class Commands:
    """`hubfs`, run in this process, in the environment of one user."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str | Path, exit_code: int = 0, text: str | None = None) -> Result:
        done = CliRunner().invoke(main, [*map(str, arguments)], env=self.environment, input=text)
        assert done.exit_code == exit_code, done.output
        return done

    def at(self, cache: Path) -> "Commands":
        """The same user's, with another cache."""
        return Commands({**self.environment, "HUBFS_CACHE_DIR": str(cache)})

    def told(self, *arguments: str | Path, exit_code: int = 0) -> list[dict[str, object]]:
        """What a command says in JSON, a line an event, without its progress."""
        said = map(json.loads, self(*arguments, "--json", exit_code=exit_code).stdout.splitlines())
        return [one for one in said if one["event"] != "progress"]

    def refused(self, *arguments: str | Path, exit_code: int = 1) -> str:
        """The one line that says why."""
        done = self(*arguments, exit_code=exit_code)
        assert not done.stdout
        assert done.stderr.count("\n") == 1 or exit_code != 1
        return done.stderr
