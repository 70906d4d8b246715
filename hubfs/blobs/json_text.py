"""JSON that others wrote: understood only as far as it is small."""

import json
from typing import Any

_MOST_VALUES = 500_000
"""More in one text are refused: they take a tenth of a second in which nothing else runs, and 40 MB."""

_PER_VALUE = (",", "[", "{")


def parse(data: bytes | str) -> Any:
    """What `data` says.

    json holds the interpreter's lock from the first byte to the last, and its time and memory grow with the number of
    values, not of bytes; these are counted before, a hundred times as fast. Raises `ValueError` for what is not JSON,
    is nested too deeply, or has too many values.
    """
    if isinstance(data, str):
        values = sum(data.count(sign) for sign in _PER_VALUE)
    else:
        values = sum(data.count(sign.encode()) for sign in _PER_VALUE)
    if values > _MOST_VALUES:
        raise ValueError(f"it has about {values} values, more than {_MOST_VALUES}")
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("this JSON is nested too deeply") from None
