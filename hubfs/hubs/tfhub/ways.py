"""The ways to a model of https://tfhub.dev as it is today, and their order.

The hub redirects to Kaggle since 2023-11, and answers 403 for days at a time. tensorflow/docs (hub/hosting.md) names a
public bucket that keeps the uncompressed models under the handles of before.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from hubfs.catalogue.handle import Kind
from hubfs.errors import HubfsError, ModelNotFound, NotFound
from hubfs.sources.source import Form

PUBLIC_BUCKET = "gs://kaggle-tfhub-models-uncompressed/tfhub-modules"
"""Keeps the files of the model google/spice/2 below `google/spice/2/uncompressed/`."""

REST_S = 60.0
"""A bucket that refuses, or does not answer, is left alone for so long: every model would wait for it again."""


class Way(Enum):
    """By which a model is asked for; the value says so in messages."""

    BUCKET = "the public bucket"
    HUB = "the hub's redirect"


def ways_to(kind: Kind, form: Form | None, *, bucket: bool) -> Sequence[Way]:
    """The ways to a model, in their order. `form`: the one that the user wants; `bucket`: whether there is one.

    The bucket keeps no archives, and no models of other kinds than `Kind.MODEL` are known to be there.
    """
    in_bucket = bucket and kind is Kind.MODEL and form is not Form.COMPRESSED
    return (Way.BUCKET, Way.HUB) if in_bucket else (Way.HUB,)


def next_step(ways: Sequence[Way], failed: Mapping[Way, HubfsError]) -> Way | HubfsError:
    """The way to try next, after the `failed` ones; the error that the model ends with where none is left.

    A model is not found if every way says so. Where a way could not answer, that is the error: the model may be there.
    """
    for way in ways:
        if way not in failed:
            return way
    errors = [failed[way] for way in ways]
    tried = "; ".join(f"{way.value}: {failed[way]}" for way in ways)
    error = next((error for error in errors if not isinstance(error, NotFound)), errors[0])
    if len(errors) == 1:
        return error
    return ModelNotFound(tried) if isinstance(error, NotFound) else type(error)(tried)
