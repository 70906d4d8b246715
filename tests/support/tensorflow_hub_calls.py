"""Runs in TensorFlow's interpreter: makes calls of tensorflow_hub, and says what came of each.

    tensorflow_hub_calls.py SITE CALLS REPORT

SITE is a directory to import hubfs from. CALLS is a JSON array of [name, argument]: `save` (a directory), `install` (a
mount point), `uninstall` (null), `resolve`, `load`, `keras`, `download` (handles). REPORT becomes one of [result,
downloads], where result is text and `downloads` are the URLs that tensorflow_hub asked for, none of which is answered
but those of `download`.
"""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
sys.path.insert(0, sys.argv[1])

import tensorflow as tf
import tensorflow_hub as hub

from hubfs.integrations import tensorflow_hub as drop_in

downloads: list[str] = []
urlopen = urllib.request.urlopen


def no_download(request: Any, *_: object, **__: object) -> None:
    downloads.append(getattr(request, "full_url", request))
    raise ConnectionError("nothing is downloaded here")


def download(handle: str) -> str:
    """`hub.resolve`, which may download."""
    with mock.patch.object(urllib.request, "urlopen", urlopen):
        return str(hub.resolve(handle))


def save(directory: str) -> None:
    """A model that gives three times its input."""

    class Triple(tf.Module):
        def __init__(self) -> None:
            self.factor = tf.Variable(3.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, value: Any) -> Any:
            return self.factor * value

    tf.saved_model.save(Triple(), directory)


CALLS: dict[str, Callable[[str], Any]] = {
    "save": save,
    "install": drop_in.install,
    "uninstall": lambda _: drop_in.uninstall(),
    "resolve": hub.resolve,
    "download": download,
    "load": lambda handle: hub.load(handle)(tf.constant([2.0])).numpy().tolist(),
    "keras": lambda handle: hub.KerasLayer(handle)(tf.constant([2.0])).numpy().tolist(),
}


def outcome(name: str, argument: str) -> str:
    began_s = time.monotonic()
    try:
        result = str(CALLS[name](argument))
    except Exception as error:  # noqa: BLE001 - whatever a user would see
        result = f"{type(error).__name__}: {error}"
    assert time.monotonic() - began_s < 20, "it waited for something"
    return result


def main() -> None:
    urllib.request.urlopen = no_download  # type: ignore[assignment]
    _, _, calls, report = sys.argv
    results = []
    for name, argument in json.loads(calls):
        downloads.clear()
        results.append([outcome(name, argument), [*downloads]])
    Path(report).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
