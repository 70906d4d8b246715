"""hubfs: the hub as a file system.

`hubfs.resolve`, `hubfs.load`, `hubfs.keras_layer` and `hubfs.open_hub` are for Python programs; they are imported when
they are used.
"""

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from hubfs.library.calls import keras_layer, load, open_hub, resolve

__all__ = ["__version__", "keras_layer", "load", "open_hub", "resolve"]

__version__ = "0.1.0"
"""The one place of the version: pyproject.toml reads it here."""


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module  # noqa: PLC0415 - `import hubfs` imports nothing

        return getattr(import_module("hubfs.library.calls"), name)
    raise AttributeError(f"module 'hubfs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
