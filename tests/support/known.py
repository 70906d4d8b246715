"""What is known of a hub's models, as a test says."""

from collections.abc import Callable
from typing import Any

from hubfs.errors import ModelNotFound
from hubfs.hubs.names import Known


def _unknown(name: str) -> str:
    raise ModelNotFound(name)


def known(**answers: Callable[..., Any]) -> Known:
    """The functions of `Known` that are named; the others know nothing."""
    nothing: dict[str, Callable[..., Any]] = {
        "known_children": lambda _: (),
        "known_versions": lambda _: (),
        "children": lambda _: None,
        "versions": lambda _: (),
        "led": tuple,
        "expected": lambda _: None,
        "latest": _unknown,
        "handles": tuple,
        "is_folder": lambda _: None,
    }
    return Known(**{**nothing, **answers})
