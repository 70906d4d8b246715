"""The commands `hubfs cache …`."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hubfs.commands.completion import cached
from hubfs.commands.units import age, parse_age, size
from hubfs.errors import InvalidConfig, ModelNotFound, quoted
from hubfs.settings.config import Config, load
from hubfs.settings.values import parse_size

if TYPE_CHECKING:
    from hubfs.commands.cache.kept import Cache, Kept

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_NO_TERMINAL = "there is no terminal to ask: say --yes, or --dry-run"


def _options(command: F) -> F:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="For programs."),
        click.option("--config", metavar="FILE", help="As for mount."),
        click.option("--cache-dir", metavar="DIR", help="The cache directory.  [default: as for mount]"),
    ):
        command = option(command)
    return command


@click.group()
def cache() -> None:
    """Look at what is cached, and take it away; also while it is mounted."""


@cache.command("ls")
@_options
@click.option(
    "--filter",
    "filters",
    metavar="TERM",
    multiple=True,
    help="Only models for which this holds: size>1GB, used>30d (not used for so long), name=*/google/*, pinned=true, "
    "in_use=false. Of several, all must hold.",
)
@click.option("--sort", metavar="KEY[:desc]", default="name", help="name, size or used.  [default: name]")
@click.option("--limit", metavar="N", type=click.IntRange(0), help="No more than so many.")
def list_(filters: Sequence[str], sort: str, *, limit: int | None, as_json: bool, **flags: Any) -> None:
    """List the models in the cache."""
    from hubfs.commands.cache.selecting import parse_filter, parse_order  # noqa: PLC0415 - of this command

    now_s = time.time()
    tests = [_meant("--filter", text, lambda text: parse_filter(text, now_s)) for text in filters]
    order = _meant("--sort", sort, parse_order)
    found = _cache(load(flags))
    shown = order(one for one in found.models if all(test(one) for test in tests))[:limit]
    if as_json:
        click.echo(json.dumps({"size_bytes": found.size_bytes, "models": [_told(one) for one in shown]}, indent=2))
        return
    width = max([len(one.name) for one in shown], default=0)
    for one in shown:
        marks = ", ".join(mark for mark, holds in (("in use", one.in_use), ("pinned", one.pinned)) if holds)
        used = f"used {age(now_s - one.used_at_s)} ago"
        click.echo("  ".join(filter(None, (f"{one.name:{width}}", f"{size(one.size_bytes):>9}", used, marks))))
    click.echo(f"{len(shown)} of {len(found.models)} models; the cache holds {size(found.size_bytes)}")


@cache.command()
@click.argument("handles", metavar="[HANDLE]…", nargs=-1, shell_complete=cached)
@_options
def verify(handles: Sequence[str], *, as_json: bool, **flags: Any) -> None:
    """Read every cached byte, of all models or of these, and hold it against its checksum.

    What is damaged is taken out of the cache, and is fetched again by who reads it. Exits with 1 if something was.
    """
    found = _cache(config := load(flags))
    chosen = _chosen(found, config, handles) if handles else found.models
    told: list[dict[str, Any]] = []
    damaged = 0
    for model in sorted({name for one in chosen for name in (one.model, *one.shared)}):
        for file in found.store.verify(model):
            damaged += file.damaged
            told.append({"model": model, "path": file.key.path, "right": file.right, "damaged": file.damaged})
            if file.damaged and not as_json:
                click.echo(
                    f"{model}/{file.key.path}: {file.damaged} of {file.damaged + file.right} blocks were damaged"
                )
    if as_json:
        click.echo(json.dumps({"files": told, "damaged": damaged}, indent=2))
    else:
        blocks = sum(one["right"] for one in told)
        click.echo(f"{blocks} blocks of {len(told)} files are right, and {damaged} were damaged")
    if damaged:
        sys.exit(1)


@cache.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, required=True, shell_complete=cached)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_options
def rm(handles: Sequence[str], *, dry_run: bool, yes: bool, as_json: bool, **flags: Any) -> None:
    """Take models out of the cache, pinned or not. One that is in use stays, and the exit code is 1."""
    found = _cache(config := load(flags))
    chosen = _chosen(found, config, handles)
    gone: list[str] = []
    stay: list[str] = []
    if _agreed(
        [one.name for one in chosen], sum(one.size_bytes for one in chosen), dry_run=dry_run, yes=yes or as_json
    ):
        for one in chosen:
            (gone if found.remove(one) else stay).append(one.name)
    _say_gone(gone, stay, as_json=as_json)


@cache.command()
@click.option("--to-size", metavar="SIZE", help="Until no more than so much is left, the least recently used first.")
@click.option("--older-than", metavar="TIME", help="What was not used for so long, such as 30d or 12h.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_options
def prune(
    *, to_size: str | None, older_than: str | None, dry_run: bool, yes: bool, as_json: bool, **flags: Any
) -> None:
    """Make room in the cache. What is pinned or in use stays."""
    if (to_size is None) == (older_than is None):
        raise click.UsageError("give either --to-size or --older-than")
    found = _cache(load(flags))
    # What goes, the bytes that become free, and how.
    plan: list[tuple[str, int, Callable[[], bool]]]
    if to_size is not None:
        evictions = found.to_size(_meant("--to-size", to_size, parse_size))
        plan = [(one.model.model, one.freed_bytes, partial(found.evict, one)) for one in evictions]
    else:
        old = found.older_than(_meant("--older-than", str(older_than), parse_age))
        plan = [(one.name, one.size_bytes, partial(found.remove, one)) for one in old]
    gone: list[str] = []
    stay: list[str] = []
    names, sizes_bytes = [name for name, *_ in plan], [freed_bytes for _, freed_bytes, _ in plan]
    if _agreed(names, sum(sizes_bytes), dry_run=dry_run, yes=yes or as_json):
        for name, _, take in plan:
            (gone if take() else stay).append(name)
    _say_gone(gone, stay, as_json=as_json)


@cache.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, required=True, shell_complete=cached)
@_options
def pin(handles: Sequence[str], *, as_json: bool, **flags: Any) -> None:
    """Keep models from being evicted, whether or not they are there yet."""
    _pins(handles, as_json=as_json, pinned=True, **flags)


@cache.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, required=True, shell_complete=cached)
@_options
def unpin(handles: Sequence[str], *, as_json: bool, **flags: Any) -> None:
    """Let models be evicted again."""
    _pins(handles, as_json=as_json, pinned=False, **flags)


@cache.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, required=True, shell_complete=cached)
@click.option(
    "--to", metavar="FILE", required=True, type=click.Path(path_type=Path), help="A tar, which must not exist."
)
@_options
def export(handles: Sequence[str], to: Path, *, as_json: bool, **flags: Any) -> None:
    """Write models that are whole in the cache to one file, for a machine that is offline."""
    from hubfs.commands.cache.moving import exported  # noqa: PLC0415 - the engine takes 0.3 s to import

    models, size_bytes = exported(load(flags), handles, to)
    if as_json:
        click.echo(json.dumps({"file": str(to), "models": models, "size_bytes": size_bytes}))
    else:
        click.echo(f"{to} has {', '.join(handles)} ({size(size_bytes)})")


@cache.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "handle", metavar="HANDLE", help="FILE is the archive of this model (.tar.gz or .tar).")
@click.option("--cache-size", metavar="SIZE", help="As for mount.")
@_options
def import_(file: Path, *, handle: str | None, as_json: bool, **flags: Any) -> None:
    """Bring models into the cache: of a file that `hubfs cache export` wrote, or an archive that was fetched by hand.

    All of FILE is verified before anything of it is served. Take it from those alone that you would run models of.
    """
    from hubfs.commands.cache.moving import imported  # noqa: PLC0415 - the engine takes 0.3 s to import

    models = imported(load(flags), file, handle)
    if as_json:
        click.echo(json.dumps({"models": models}))
    else:
        for model in models:
            click.echo(f"{model} is cached")


def _pins(handles: Sequence[str], *, as_json: bool, pinned: bool, **flags: Any) -> None:
    found = _cache(config := load(flags))
    names = [*_pinnable(found, config, handles)]
    try:
        for name in names:
            (found.store.pin if pinned else found.store.unpin)(name)
    except OSError as error:
        raise InvalidConfig(f"pins cannot be changed in {config.cache_dir}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"pinned" if pinned else "unpinned": names}))
    else:
        for name in names:
            click.echo(f"{name} is {'pinned' if pinned else 'not pinned'}")


def _cache(config: Config) -> "Cache":
    from hubfs.commands.cache.kept import cache_of  # noqa: PLC0415 - the cache takes 0.1 s to import

    return cache_of(config)


def _meant(option: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise click.UsageError(f"{option} ({text!r}) cannot be used: {error}") from None


def _names(config: Config, handles: Sequence[str]) -> dict[str, str]:
    """The names in the cache of these handles, which may lack the version. Raises `InvalidHandle`."""
    from hubfs.blobs.retry import RetryPolicy  # noqa: PLC0415 - requests takes 0.1 s to import
    from hubfs.endpoints import asking  # noqa: PLC0415 - as above
    from hubfs.library.handles import handle_in  # noqa: PLC0415 - as above

    found = {}
    for text in handles:
        own, name, version = handle_in(config, text)
        with asking(own, RetryPolicy()) as hub:
            found[text] = "/".join(filter(None, (hub.label, name, version)))
    return found


def _chosen(found: "Cache", config: Config, handles: Sequence[str]) -> Sequence["Kept"]:
    """The models that are meant, by their names in the cache, or as people call them. Raises `ModelNotFound`."""
    from hubfs.commands.cache.selecting import named  # noqa: PLC0415 - as above

    chosen: dict[str, Kept] = {}
    for text in handles:
        meant = named(found.models, [text]) or named(found.models, _names(config, [text]).values())
        if not meant:
            raise ModelNotFound(f"{quoted(text)} is not in the cache at {config.cache_dir}")
        chosen |= {one.model: one for one in meant}
    return [*chosen.values()]


def _pinnable(found: "Cache", config: Config, handles: Sequence[str]) -> Sequence[str]:
    """The names to pin: of models that are there, and of versions that are to come. Raises `ModelNotFound`."""
    from hubfs.library.handles import handle_in  # noqa: PLC0415 - as above

    names: dict[str, None] = {}
    for text in handles:
        try:
            names |= dict.fromkeys(one.name for one in _chosen(found, config, [text]))
        except ModelNotFound:  # noqa: PERF203 - a user names a few
            if handle_in(config, text)[2] is None:
                raise
            names |= dict.fromkeys(_names(config, [text]).values())
    return [*names]


def _agreed(names: Sequence[str], size_bytes: int, *, dry_run: bool, yes: bool) -> bool:
    """Whether these may go: shows them, and asks if need be. Raises `InvalidConfig` where nobody can be asked."""
    if not dry_run and yes:
        return True
    for name in names:
        click.echo(f"{name} {'would go' if dry_run else 'goes'}")
    click.echo(f"{len(names)} models, {size(size_bytes)}")
    if dry_run or not names:
        return False
    if not sys.stdin.isatty():
        raise InvalidConfig(_NO_TERMINAL)
    return click.confirm("Take them out of the cache?")


def _say_gone(gone: Sequence[str], stay: Sequence[str], *, as_json: bool) -> None:
    """Says what went; exits with 1 where something stays that was to go."""
    if as_json:
        click.echo(json.dumps({"removed": gone, "in_use": stay}))
    else:
        for name in gone:
            click.echo(f"{name} is gone")
        for name in stay:
            click.echo(f"hubfs: {name} is in use, and stays", err=True)
    if stay:
        sys.exit(1)


def _told(one: "Kept") -> dict[str, Any]:
    return {
        "name": one.name,
        "model": one.model,
        "size_bytes": one.size_bytes,
        "used_at_s": round(one.used_at_s, 3),
        "in_use": one.in_use,
        "pinned": one.pinned,
    }
