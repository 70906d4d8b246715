"""tensorflow_hub beside hubfs: with the library, whose handles lead to a mount, or in its place.

The library is there, and reads the handles of its canonical URLs from a mount; nothing is downloaded:

    import tensorflow_hub as hub
    from hubfs.integrations import tensorflow_hub as hubfs_hub

    hubfs_hub.install("/mnt/tfhub")
    model = hub.load("https://tfhub.dev/google/spice/2")  # /mnt/tfhub/google/spice/2

The library is missing or broken, and this module is what a program imports by its name:

    from hubfs.integrations import tensorflow_hub as hubfs_hub

    hubfs_hub.stand_in()
    import tensorflow_hub as hub

    model = hub.load("https://tfhub.dev/google/spice/2")

A program that may be changed says `from hubfs.integrations import tensorflow_hub as hub`.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from hubfs.integrations import loading
from hubfs.integrations.layers import layer_class
from hubfs.integrations.modules import GraphModule
from hubfs.integrations.mounted import TFHUB_DEV, ModelNotOnMount, MountResolver, NotMounted

__all__ = [
    "KerasLayer",
    "ModelNotOnMount",
    "Module",
    "NotMounted",
    "get_expected_image_size",
    "install",
    "load",
    "resolve",
    "stand_in",
    "uninstall",
]

KerasLayer: Any
"""A class of the Keras that the program uses, by `__getattr__`."""

__version__ = "0.16.1+hubfs"
"""The version of the library that this module stands for."""

_NAME = "tensorflow_hub"
_OF_TF1 = (
    "is of TensorFlow 1, or of tf.estimator, and hubfs has it not; "
    "hub.load, hub.resolve, hub.KerasLayer and hub.Module are there"
)
_installed: list[MountResolver] = []
_stood_for: list[ModuleType | None] = []
"""What was imported by the library's name before this module stood in: one entry while it does."""


def install(mountpoint: str | os.PathLike[str], hubs: Iterable[str] = (TFHUB_DEV,)) -> None:
    """Makes `hub.load`, `hub.KerasLayer` and `hub.resolve` read the models of `hubs` from `mountpoint`.

    `hubs` are URLs that handles begin with; the URL of the hub that is mounted is one of them without being named. From
    now on no such handle is downloaded: one that the mount does not have raises `ModelNotOnMount`, and whatever keeps
    the mount from answering, an `OSError`. All other handles go where they went before. Where several mounts are
    installed, the last one that has the hub counts.

    Raises `NotMounted` when no hub is mounted there, `ValueError` for a hub that is no URL.
    """
    resolver = MountResolver(mountpoint, hubs)
    if not _stood_for:
        # Importing the registry runs tensorflow_hub's own registrations, and it asks who registered last first.
        importlib.import_module(f"{_NAME}.registry").resolver.add_implementation(resolver)
    _installed.append(resolver)


def stand_in(mountpoint: str | os.PathLike[str] | None = None, hubs: Iterable[str] = (TFHUB_DEV,)) -> None:
    """From now on `import tensorflow_hub` is this module, whether the library is installed or not.

    With `mountpoint`, `install` is done with it, and nothing but Python and TensorFlow is needed. The handles that no
    mount has are resolved by `hubfs.resolve`, which needs all of hubfs.
    """
    if not _stood_for:
        _stood_for.append(sys.modules.get(_NAME))
        sys.modules[_NAME] = sys.modules[__name__]
    if mountpoint is not None:
        install(mountpoint, hubs)


def uninstall() -> None:
    """Takes back every `install` and `stand_in`: all is as without them. Does nothing where nothing is installed."""
    while _installed:
        _installed.pop().retired = True
    while _stood_for:
        before = _stood_for.pop()
        if before is None:
            del sys.modules[_NAME]
        else:
            sys.modules[_NAME] = before


def resolve(handle: str) -> str:
    """Where TensorFlow finds the model of a handle: below a mount that is installed, else where `hubfs.resolve` says.

    A directory, and the URL of an object store that TensorFlow reads itself, are what they are. Raises `OSError` as the
    mount does, and what `hubfs.resolve` raises.
    """
    for resolver in reversed(_installed):
        if resolver.is_supported(handle):
            return resolver(handle)
    if urlsplit(handle).scheme in ("gs", "s3", "hdfs", "file") or Path(handle).is_dir():
        return handle
    try:
        by_hubfs = resolve_name("hubfs:resolve")  # by name: with a mount, nothing else of hubfs is needed
    except ImportError as error:
        raise ImportError(
            f"{handle} is of no mount that is installed, and hubfs itself cannot be imported ({error}): "
            "pip install hubfs, or name a mount"
        ) from error
    return str(by_hubfs(handle))


def load(handle: str, tags: Iterable[str] | None = None, options: Any = None) -> Any:
    """The model of a handle, as `tf.saved_model.load` gives it.

    Of a TF1 Hub module, `tags` are none if they are not named. Raises `ValueError` where the model is no SavedModel,
    and as `resolve` does.
    """
    return _loaded(handle, tags, options).model


def Module(spec: str, *args: Any, **kwargs: Any) -> GraphModule:  # noqa: N802 - a class of the library
    """The module of a handle, in the default graph, for inference."""
    return GraphModule(lambda: resolve(spec), *args, **kwargs)


def get_expected_image_size(module: GraphModule, signature: str = "default", input_name: str = "images") -> list[int]:
    """Height and width of the images that a module takes."""
    return module.image_size(signature, input_name)


def _loaded(handle: str, tags: Iterable[str] | None = None, options: Any = None) -> loading.Loaded:
    if not isinstance(handle, str):
        raise ValueError(f"a handle is a text, and {handle!r} is none")  # noqa: TRY004 - as the library has it
    return loading.load(lambda: resolve(handle), tags, options)


def __getattr__(name: str) -> Any:
    """What a program imports by name, and is not there before somebody asks for it."""
    if name == "KerasLayer":
        return layer_class(_loaded)
    raise AttributeError(f"{_NAME}.{name} {_OF_TF1}")
