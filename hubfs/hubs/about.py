"""What a kind of hub says of itself before one is used: data alone, so that commands start fast."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Translation:
    """An option of `hubfs resolve` that prints another hub's name of a model: `--<option>`, and its line of help.

    `function` takes the handle, returns the name, and asks nobody. It raises `InvalidHandle`, and `ModelNotFound` where
    no other name is known.
    """

    option: str
    help: str
    function: str


@dataclass(frozen=True)
class Command:
    """A command of `hubfs`: where it is, as `module:attribute`, and its line in the help of `hubfs`."""

    function: str
    help: str


@dataclass(frozen=True)
class About:
    """A kind of hub: the constant `ABOUT` of the module `about` in its folder.

    What takes time to import is named as `module:attribute`, and is imported by `pkgutil.resolve_name` once it is used.
    """

    schemes: Sequence[str]
    """The URLs of such hubs begin with these."""

    make: str
    """The function that takes a URL and `Means`, and returns the `Hub`."""

    names: str = ""
    """The function that returns the `Names` of a hub without the hub itself; else its names are the default hub's."""

    hosts: Sequence[str] = ()
    """The https URLs of these hosts are of this kind, though another one has that scheme."""

    url: str = ""
    """The hub of this kind that is the default hub, if this is the first kind."""

    endpoint: str = ""
    """`<endpoint>_endpoint` is the setting that has another host stand for the usual one; `<endpoint>:` is its hub."""

    endpoint_variable: str = ""
    """The variable of the hub's own client for that setting, if it has one; else it is `HUBFS_<ENDPOINT>_ENDPOINT`."""

    is_endpoint_plain: bool = False
    """Whether that host may be asked by http on another machine, too, as the hub's own client would. Who is on the way
    could change what comes: its bytes have another name in the cache, and the hub sends no credentials that way."""

    told: str = ""
    """What the help of `hubfs mount --hub` says of the URLs of such hubs."""

    examples: str = ""
    """Lines for the help of `hubfs`: a hub of this kind is mounted, read, and unmounted."""

    graph: str = ""
    """The file of a model that its loader opens first, for the help of `hubfs mount --prefetch`."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables of the environment that users have set for the hub's own client, by the setting that takes each."""

    commands: Mapping[str, Command] = field(default_factory=dict)
    """Commands of `hubfs` for this kind alone, by name. click gives them `UserSettings` as `obj`."""

    translations: Sequence[Translation] = ()

    hosted: str = ""
    """The function that takes a model's name and version, and says how hosts of this kind store it: `Hosted`."""

    refusals: str = ""
    """The function that says of the directory `extracted_dir` why models in it are not served: `Untrusted` errors."""


@dataclass(frozen=True)
class UserSettings:
    """What a hub's own commands ask of the user's settings. Both raise: `InvalidConfig`, and `ValueError`.

    `hubs`: of each hub that `hubfs mount` would mount, the URL, and the file in which its models are written down.
    `size_bytes` reads `512MiB`.
    """

    hubs: Callable[[], Sequence[tuple[str, Path | None]]]
    size_bytes: Callable[[str], int]
