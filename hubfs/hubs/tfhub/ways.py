"""The ways to a model of https://tfhub.dev as it is today, and their order. No I/O.

The hub redirects to Kaggle since 2023-11, and answers 403 for days at a time. tensorflow/docs (hub/hosting.md) names a
public bucket that keeps the uncompressed models under the handles of before.

The rules, of which those for several ways hold for no other hub:

1. The ways are asked in their order, until one has the model.
2. A way that does not answer (a time-out, no connection, 429) rests for `REST_S`: nobody asks it meanwhile, and what
   came of it is its answer. If all rest, the one is asked that has rested longest.
3. A way that refuses a model (401, 403) is asked for one that is known to be there. If it refuses that, too, it is
   `Shut`, and rests. It lets nobody in, so that it refuses tells nothing of any model: the other ways decide.
4. Nor does it tell anything if a model has no known name at Kaggle (`Untold`).
5. A model is not found if every way says so that tells anything. Else the error is the first that is another one, for
   the model may be there. If no way tells anything, the model is not found, unless a way is shut.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from hubfs.blobs.retry import Permanent
from hubfs.errors import AccessDenied, HubfsError, ModelNotFound, NotFound, TimedOut, Unavailable
from hubfs.hubs.tfhub.names.handle import Kind
from hubfs.sources.source import Form

PUBLIC_BUCKET = "gs://kaggle-tfhub-models-uncompressed/tfhub-modules"
"""Keeps the files of the model google/spice/2 below `google/spice/2/uncompressed/`."""

REST_S = 60.0
"""A way that does not answer, or is shut, is left alone for so long: every model would wait for it again."""


class Way(Enum):
    """By which a model is asked for, in this order; the value says so in messages."""

    BUCKET = "the public bucket"
    HUB = "the hub's redirect"
    KAGGLE = "Kaggle"


_ORDER = tuple(Way)


class Shut(AccessDenied):
    """A way lets nobody in, for any question."""


class Untold(ModelNotFound):
    """Nothing tells where the model would be, if it is there."""


def ways_to(kind: Kind, form: Form | None, of: Collection[Way]) -> Sequence[Way]:
    """The ways to a model, in their order. `form`: the one that the user wants; `of`: the ways that the hub has.

    The bucket keeps no archives, and no models of other kinds than `Kind.MODEL` are known to be there.
    """
    in_bucket = kind is Kind.MODEL and form is not Form.COMPRESSED
    return [way for way in _ORDER if way in of and (in_bucket or way is not Way.BUCKET)]


def next_step(ways: Sequence[Way], failed: Mapping[Way, HubfsError]) -> Way | HubfsError:
    """The way to try next, after the `failed` ones; the error that the model ends with where none is left."""
    for way in ways:
        if way not in failed:
            return way
    errors = [failed[way] for way in ways]
    if len(errors) == 1:
        return errors[0]
    tried = "; ".join(f"{way.value}: {failed[way]}" for way in ways)
    telling = [error for error in errors if not isinstance(error, Shut | Untold)] or errors
    error = next((error for error in telling if not isinstance(error, NotFound)), None)
    return ModelNotFound(tried) if error is None else type(error)(tried)


def rests_after(error: HubfsError) -> bool:
    """Whether a way is left alone after it failed so: the next model would get no other answer."""
    return isinstance(error, Shut | TimedOut | Unavailable) and not isinstance(error, Permanent)
