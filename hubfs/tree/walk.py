"""Into which models a program looks next that walks a hub (`find`, `ls -lR`): pure functions of where it looked."""

from collections.abc import Sequence
from dataclasses import dataclass

RUN = 3
"""So many models in a row are a walk: a program that loads one model, or two, has nothing asked ahead."""

GAP = 16
"""A step of a walk passes over fewer models than that: `ls` sorts as the user's language does, others by inodes."""

MOST_AHEAD = 64
"""A walk that ends leaves no more models that were asked for in vain."""

_PER_LOOK = 4
"""So many models are asked ahead for each that a reader looked into, as a file is read ahead of its reader."""

_WALKS = 4
"""Of so many programs that walk at once, each is followed."""


@dataclass(frozen=True)
class Walk:
    """`run` looks in a row, the last of them at the position `last` in the order of all models.

    Up to `asked`, exclusively, models were asked ahead. `inside`: it lists what is in the models.
    """

    last: int
    run: int = 1
    asked: int = 0
    inside: bool = False


def follow(walks: Sequence[Walk], position: int, *, inside: bool) -> tuple[Walk, ...]:
    """The walks after a look at the model at `position`; the last is the one that the look belongs to."""
    near = [walk for walk in walks if 0 <= position - walk.last <= GAP]
    if near:
        walk = max(near, key=lambda one: one.last)
        others = [other for other in walks if other is not walk]
        run = walk.run + (position > walk.last)
        return *others, Walk(position, run, walk.asked, inside=walk.inside or inside)
    return *walks[-_WALKS + 1 :], Walk(position, inside=inside)


def wanted(walk: Walk, count: int) -> range:
    """The positions that are to be asked ahead now, of `count` models."""
    if walk.run < RUN:
        return range(0)
    end = min(count, walk.last + 1 + min(MOST_AHEAD, _PER_LOOK * walk.run))
    return range(min(end, max(walk.last + 1, walk.asked)), end)
