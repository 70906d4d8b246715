import pytest

from hubfs.commands.fetch.progress import Meter, line


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    meter = Meter(1000, 0.0)
    assert (meter.rate_bytes_per_s, meter.left_s) == (0.0, None)
    meter.reached(100, 1.0)
    assert (meter.rate_bytes_per_s, meter.left_s) == (100.0, 9.0)
    for second in range(2, 30):
        meter.reached(100, float(second))
    assert meter.rate_bytes_per_s == 0.0
    assert meter.left_s is None
    meter.reached(500, 40.0)
    assert meter.rate_bytes_per_s == pytest.approx(40, rel=0.1)
    assert line("x", meter).startswith("x: 500 B of 1 kB (50%), ")


def test_nothing_is_all_of_nothing() -> None:
    assert line("x", Meter(0, 0.0)) == "x: 0 B of 0 B (100%), 0 B/s"
