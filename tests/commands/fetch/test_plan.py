import pytest

from hubfs.commands.fetch.plan import plan
from hubfs.errors import InvalidConfig
from hubfs.library.model import Thing

MODEL = {"a": Thing(3, 7, place=2), "b": Thing(4, 7, place=1), "sub": Thing(None), "sub/c": Thing(0, 7)}
FILES = {path: thing for path, thing in MODEL.items() if thing.size_bytes is not None}


def test_an_empty_directory_lacks_every_file_and_those_that_lie_first_come_first() -> None:
    made = plan("m", MODEL, {}, None)
    assert (made.write, made.compare, made.size_bytes, made.done) == (["sub/c", "b", "a"], [], 7, False)


def test_a_whole_model_lacks_nothing() -> None:
    assert plan("m", MODEL, MODEL, None).done


def test_what_has_another_time_is_compared() -> None:
    made = plan("m", MODEL, {**MODEL, "a": Thing(3, 8)}, None)
    assert (made.write, made.compare, made.size_bytes, made.done) == ([], ["a"], 0, False)


def test_what_was_finished_but_not_moved_is_not_done() -> None:
    made = plan("m", MODEL, {}, FILES)
    assert (made.write, made.done) == ([], False)
    assert not plan("m", MODEL, FILES, None).done, "a directory is missing, which holds nothing"


def test_what_was_finished_is_not_written_again_wherever_it_is() -> None:
    made = plan("m", MODEL, {"b": FILES["b"]}, {"a": Thing(3, 7), "sub/c": Thing(0, 6)})
    assert made.write == ["sub/c"]


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ({"a": Thing(2, 7)}, "its 'a' is not the model's"),
        ({"a": Thing(None)}, "its 'a' is not the model's"),
        ({"sub": Thing(3, 7)}, "its 'sub' is not the model's"),
        ({**MODEL, "x\n": Thing(3, 7)}, r"its 'x\\n' is not the model's"),
        ({"a": FILES["a"]}, "lacks 'b', which the model has"),
    ],
)
@pytest.mark.parametrize("staged", [None, {}])
def test_a_directory_of_something_else_is_refused(
    there: dict[str, Thing], reason: str, staged: dict[str, Thing] | None
) -> None:
    if "lacks" in reason and staged is not None:
        assert plan("m", MODEL, there, staged).write == ["sub/c", "b"], "an interrupted fetch has moved a part of it"
        return
    with pytest.raises(InvalidConfig, match=f"m exists, and {reason}"):
        plan("m", MODEL, there, staged)
