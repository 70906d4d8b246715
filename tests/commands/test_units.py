import pytest

from hubfs.commands.units import age, duration, parse_age, size


@pytest.mark.parametrize(
    ("size_bytes", "said"), [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (3_440_000, "3.4 MB"), (5e12, "5000.00 GB")]
)
def test_sizes_are_told_in_units(size_bytes: float, said: str) -> None:
    assert size(size_bytes) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (125, "2:05 min"), (3725, "1:02:05 h")]
)
def test_times_are_told_in_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (59.9, "59 s"), (61, "1 min"), (7200, "2 h"), (100_000, "27 h"), (40 * 86400.0, "40 d")],
)
def test_an_age_is_told_in_one_unit(seconds: float, said: str) -> None:
    assert age(seconds) == said


def test_an_age_is_read_in_days_too() -> None:
    assert (parse_age("30d"), parse_age(" 1.5d"), parse_age("12h")) == (30 * 86400, 1.5 * 86400, 12 * 3600)
    for text in ("d", "xd", "1 day"):
        with pytest.raises(ValueError, match="must read like 30"):
            parse_age(text)
