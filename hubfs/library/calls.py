"""What a program has by `import hubfs`: models by handle, as a directory, loaded, as a layer; a hub to look into."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubfs.errors import InvalidHandle, ModelNotFound, MountFailed, Unavailable, quoted
from hubfs.hubs.names import names_at
from hubfs.integrations import layers, loading
from hubfs.library.below_mounts import below_a_mount
from hubfs.library.handles import handle_in
from hubfs.library.local import local_directory
from hubfs.settings.config import load as load_config

if TYPE_CHECKING:  # fsspec takes half a second to import
    from hubfs.library.filesystem import HubFileSystem


def resolve(handle: str, *, having: Sequence[str] = ()) -> str:
    """The directory of a model: below a mount of its hub where there is one, else one that is filled now, in the cache.

    `handle` is a handle or a URL of any hub, or a directory. The settings are those of `hubfs mount`, out of the
    environment and the config file. A directory in the cache is whole and verified, what the cache has is not fetched
    again, and nothing of it is evicted before this process ends. Raises `hubfs.errors.HubfsError`, and `ValueError` for
    a model that must be fetched and has none of the files `having` in its root.
    """
    if handle.startswith(("/", "./", "../", "~")):
        path = Path(handle).expanduser()
        if not path.is_dir():
            raise InvalidHandle(f"'{quoted(handle)}' is no directory")
        return str(path.absolute())
    config = load_config({})
    own, name, version = handle_in(config, handle)
    text = name if version is None else names_at(own.hub, catalog=own.catalog).path(name, version)
    with suppress(MountFailed, ModelNotFound, Unavailable):  # then the hub itself is asked
        return str(below_a_mount(text, own.hub))
    return str(local_directory(config, handle, having))


def load(handle: str, *, tags: Iterable[str] | None = None, options: Any = None) -> Any:
    """The model of a handle, loaded from the directory that `resolve` tells, for programs in the library's own terms.

    `tags` and `options` are those of the loader; of a TF1 module, `tags` are none if they are not named. Raises as
    `resolve`, `ModuleNotFoundError` where the library is not installed, and `ValueError` for a model of another kind.
    """
    return _loaded(handle, tags, options).model


def keras_layer(
    handle: str,
    trainable: bool = False,  # noqa: FBT001, FBT002 - as Keras has it
    *,
    signature: str | None = None,
    output_key: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    tags: Sequence[str] | None = None,
    keras: Any = None,
    **options: Any,
) -> Any:
    """The model of a handle as a layer, of Keras 3 or of tf_keras.

    Without `signature` the layer calls the model itself, or else the only signature that it can be: `serving_default`,
    `default` of a TF1 module. Several inputs are a dict, and so are several outputs, unless `output_key` names one.
    `trainable=True` trains its variables, and keeps the model's regularization. `keras`: the module whose layer it is,
    else tf_keras where the program has imported it, else `tf.keras`. The others are of the layer: `name`, `dtype`,
    `input_shape`, `output_shape`, `load_options`. Raises as `load`, and `ValueError`, which names all signatures.
    """
    told = {"signature": signature, "output_key": output_key, "arguments": arguments, "tags": tags}
    return layers.layer_class(_loaded, keras)(handle, trainable, **told, **options)


def open_hub(url: str, **settings: Any) -> "HubFileSystem":
    """A hub to list and to read, without a mount: a file system of fsspec, of which `url` is the root.

    `settings` are those of `hubfs mount` (`cache_dir`, `offline`, …). `close` ends its transfers.
    """
    from hubfs.library.filesystem import HubFileSystem  # noqa: PLC0415 - fsspec takes half a second to import

    return HubFileSystem(url, skip_instance_cache=True, **settings)


def _loaded(handle: str, tags: Iterable[str] | None = None, options: Any = None) -> loading.Loaded:
    return loading.load(lambda: resolve(handle, having=loading.FILES), tags, options)
