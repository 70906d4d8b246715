"""`hubfs completion`, and what may follow on a command line that a shell completes."""

import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class
from click.shell_completion import split_arg_string as split

from hubfs.errors import HubfsError

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_HUBFS_COMPLETE"
_MOST = 200
"""No shell is shown more: it would ask first."""

_PLAIN = "/._-:@%+=,"

_WHOLE = ":%2F%2F"
"""The end of a hub's name in the cache, where a scheme alone is its URL (`hf:`)."""

_COMMIT_DIGITS = 40

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class _Bash(BashComplete):
    """Takes the line as it was typed, for bash's own words end at colons, as `hf:BAAI/bge-m3` has one."""

    source_template = BashComplete.source_template.replace("${COMP_WORDS[*]}", "${COMP_LINE:0:COMP_POINT}")

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split(line)[1:]
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        typed = self.get_completion_args()[1].rpartition(":")
        return f"{item.type},{str(item.value).removeprefix(''.join(typed[:2]))}"


add_completion_class(_Bash)


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what has SHELL complete the command line of hubfs.

    \b
    bash: eval "$(hubfs completion bash)", in ~/.bashrc
    zsh:  eval "$(hubfs completion zsh)", in ~/.zshrc, below compinit
    fish: hubfs completion fish > ~/.config/fish/completions/hubfs.fish
    """  # noqa: D301 - the backspace is click's mark
    found = get_completion_class(shell)
    if found is None:  # no shell that is offered is unknown to click
        raise AssertionError(shell)
    click.echo(found(ctx.find_root().command, {}, "hubfs", _VARIABLE).source())


def _asked(find: Callable[[click.Context, str], Sequence[str]]) -> Completer:
    """The items that `find` has, of those that begin with what was typed; none where it fails."""

    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = find(ctx, incomplete)
        except (HubfsError, OSError):  # a line that is being typed is no place for a message
            return []
        texts = (text for text in found if text.startswith(incomplete) and _is_plain(text))
        return [CompletionItem(text) for text in islice(texts, _MOST)]

    return complete


def _is_plain(text: str) -> bool:
    """Whether a shell takes the text as it is: another user may have chosen the name of a directory."""
    return all(one.isalnum() or one in _PLAIN for one in text)


def words(text: str) -> dict[str, Any]:
    """For an option whose value is one of the words in `text`, between `|`: how help shows it, and the words."""
    return {"metavar": text, "shell_complete": _asked(lambda _context, _typed: text.split("|"))}


def path(metavar: str) -> dict[str, Any]:
    """For an option whose value is a path, of a directory if `metavar` begins so: how help shows it, and its paths."""
    kind = "dir" if metavar.startswith("DIR") else "file"
    return {"metavar": metavar, "shell_complete": lambda _context, _parameter, typed: [CompletionItem(typed, kind)]}


def _mountpoints(_context: click.Context, _incomplete: str) -> Sequence[str]:
    from hubfs.mounts.table import mountpoints  # noqa: PLC0415 - a command that runs needs none of it

    return sorted({str(path) for path in mountpoints()})


def _cached(ctx: click.Context) -> Sequence[str]:
    from hubfs.cache.disk.layout import CacheLayout  # noqa: PLC0415 - as above
    from hubfs.model_id import BLOBS  # noqa: PLC0415 - as above
    from hubfs.settings.config import load  # noqa: PLC0415 - as above

    directory = load({"cache_dir": ctx.params.get("cache_dir"), "config": ctx.params.get("config")}).cache_dir
    models = () if directory is None else CacheLayout(directory).models()
    names = {model for model in models if not model.startswith(f"{BLOBS}/")}
    return sorted({name.rpartition("@")[0] for name in names})


def _handles(ctx: click.Context, _incomplete: str) -> Sequence[str]:
    from hubfs.hubs.registry import DEFAULT_HUB  # noqa: PLC0415 - as above

    default, found = DEFAULT_HUB.partition("://")[2], set()
    for label, _, name in (name.partition("/") for name in _cached(ctx)):
        if label == default:
            found.add(name)
        elif label.endswith(_WHOLE):  # of a commit, the handle is the name: nobody types forty digits
            model, _, version = name.rpartition("/")
            found.add(f"{label.removesuffix(_WHOLE)}:{name if len(version) < _COMMIT_DIGITS else model}")
    return sorted(found)


mounted = _asked(_mountpoints)
"""Where hubs are mounted."""

cached = _asked(lambda ctx, _incomplete: _cached(ctx))
"""Models of the cache, as `hubfs cache ls` shows them."""

handles = _asked(_handles)
"""Handles of models that are cached, as `hubfs fetch` takes them."""
