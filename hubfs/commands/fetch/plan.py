"""What is to be done so that a directory is a model: pure functions of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubfs.errors import InvalidConfig, quoted
from hubfs.library.model import Thing


@dataclass(frozen=True)
class Plan:
    """`write` are the files that are missing, in the order in which they cost least, of `size_bytes` together.

    `compare` are files that are there and have the right size, but another time: their bytes tell whether they are the
    model's. `done`: nothing is to be done, as far as sizes and times tell.
    """

    write: Sequence[str]
    compare: Sequence[str]
    size_bytes: int
    done: bool


def plan(
    where: str, model: Mapping[str, Thing], there: Mapping[str, Thing], staged: Mapping[str, Thing] | None
) -> Plan:
    """What is missing of `model` in the directory `where`, which holds `there`.

    `staged` is what an earlier fetch of the same model finished and did not move there yet; None without one: then
    `where` is empty, or whole. Raises `InvalidConfig` for a directory with anything else in it.
    """
    for path, thing in there.items():
        if not thing.is_like(model.get(path)):
            raise InvalidConfig(
                f"{where} exists, and its '{quoted(path)}' is not the model's: name another directory, or delete it"
            )
    files = {path: thing for path, thing in model.items() if thing.size_bytes is not None}
    finished = {path: thing for path, thing in (staged or {}).items() if thing == files.get(path)}
    missing = {path: thing for path, thing in files.items() if path not in there and path not in finished}
    if missing and there and staged is None:
        raise InvalidConfig(
            f"{where} exists, and lacks '{quoted(min(missing))}', which the model has: name another directory, or "
            "delete it"
        )
    compare = [path for path in files if path in there and there[path].time_ns != files[path].time_ns]
    return Plan(
        write=sorted(missing, key=lambda path: (missing[path].place, path)),
        compare=compare,
        size_bytes=sum(thing.size_bytes or 0 for thing in missing.values()),
        done=not compare and there.keys() >= model.keys(),
    )
