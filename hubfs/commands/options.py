"""The options of `hubfs mount` that are settings: `hubfs config show` takes them, too."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from hubfs.commands.completion import path, words
from hubfs.hubs.registry import DEFAULT, DEFAULT_HUB, KINDS

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--hub",
        metavar="URL|NAME=URL",
        multiple=True,
        help=f"The hub: {', or '.join(kind.told for kind in KINDS if kind.told)}. Several hubs are NAME=URL each, and "
        f"every one is in the directory NAME.  [default: {DEFAULT_HUB}]",
    ),
    click.option(
        "--format",
        **words("auto|compressed|uncompressed"),
        help="How to ask for models. auto asks for the uncompressed form (read by range from a bucket), and falls back "
        "to the archive (extracted while it streams).  [default: auto]",
    ),
    click.option(
        "--cache-dir",
        **path("DIR|URL"),
        help="Where blocks are kept.  [default: the user's cache directory]  A URL (gs://…) adds a second level that a "
        "fleet shares behind it.",
    ),
    click.option("--catalog", **path("FILE"), help="Which handles exist, for listings: see `hubfs catalog import`."),
    click.option("--no-disk-cache", is_flag=True, default=None, help="Keep blocks in memory only; no file is written."),
    click.option("--cache-size", metavar="SIZE", help="How large the disk cache may grow.  [default: 10GiB]"),
    click.option(
        "--memory-size",
        metavar="SIZE",
        help="How much memory blocks and transfers may take.  [default: a quarter of the memory, 32MiB to 256MiB]",
    ),
    click.option(
        "--inflate-workers",
        metavar="N",
        help="How many threads inflate an archive, in a process of their own; 0: one, in the daemon.  "
        "[default: one a processor]",
    ),
    click.option(
        "--prefetch",
        **words("auto|none"),
        help="auto fetches what a loader will want next while it reads the graph: at most 64 MiB because "
        f"{DEFAULT.graph} was opened, the rest once a loader is at work. none waits until it is asked for.  "
        "[default: auto]",
    ),
    click.option(
        "--verify",
        **words("once|always"),
        help="once verifies a file of the cache as a whole, when it is whole; always verifies each block each time "
        "that it is read from the disk.  [default: once]",
    ),
    click.option(
        "--require-sandbox",
        is_flag=True,
        default=None,
        help="Refuse to mount where the process that inflates archives cannot be confined (Landlock, seccomp).",
    ),
    click.option("--offline", is_flag=True, default=None, help="Serve what is cached, and ask nobody for anything."),
    click.option("--allow-other", is_flag=True, default=None, help="Let other users read the mount, too."),
    click.option(
        "--supervise/--no-supervise",
        default=None,
        help="Have a process beside the daemon follow it with another one when it dies: with the kernel session, on "
        "Linux 6.9, readers notice nothing.  [default: so there, in the background]",
    ),
    click.option(
        "--profile",
        **words("notebook|serving|ci"),
        help="Settings for a kind of use, where nothing else was said: `hubfs config show --profile NAME` shows them.",
    ),
    click.option("--config", **path("FILE"), help="A TOML file of settings, named as the options are."),
    click.option("--log-file", **path("FILE"), help="Where the log goes.  [default: stderr with --foreground]"),
    click.option(
        "--proxy-headers",
        metavar="NAME: VALUE",
        multiple=True,
        help="What the proxy of the environment (HTTPS_PROXY, HTTP_PROXY) is told; may be given several times.",
    ),
    click.option("--log-level", **words("debug|info|warning|error"), help="How much is logged.  [default: info]"),
    click.option("--log-format", **words("text|json"), help="json: an object a line.  [default: text]"),
    click.option(
        "--metrics-addr",
        metavar="HOST:PORT",
        help="Serve /metrics for Prometheus there.  [default: only as .hubfs/metrics in the mount]",
    ),
    click.option(
        "--fuse-library",
        **words("auto|session|libfuse3|libfuse2"),
        help="How to serve the kernel: session is hubfs itself, without any libfuse.  [default: auto]",
    ),
    click.option(
        "-o", "mount_options", metavar="OPT[,OPT…]", multiple=True, help="Options of the mount, as mount(8) has them."
    ),
)


def settings_options(command: F) -> F:
    """Adds the option of every setting that has one."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
