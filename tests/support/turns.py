"""How a test takes turns, and sees that somebody waits for one."""

from collections.abc import Sequence
from concurrent.futures import Future

from hubfs.cache.turns import Member, Turns
from tests.contracts.block_cache_contract import MODEL
from tests.support.waiting import eventually


def never(_: Sequence[Member] | None) -> bool:
    """What was waited for has not arrived."""
    return False


def take(turns: Turns, model: str = MODEL) -> bool:
    """Whether the turn to pass over the model's archive is the caller's; gives it back at once."""
    with turns.pass_turn(model, never) as turn:
        return turn.mine


def still_waits(future: Future[bool]) -> bool:
    """Whether the work goes on for three tenths of a second more."""
    return not eventually(future.done, 0.3)
