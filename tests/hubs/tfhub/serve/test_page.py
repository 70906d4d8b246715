import pytest

from hubfs.hubs.tfhub.serve.page import size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9951, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (438_000_000, "438 MB"),
        (3_700_000_000, "3.7 GB"),
        (5_000_000_000_000_000, "5000 TB"),
    ],
)
def test_sizes_are_short(size_bytes: int, text: str):
    assert size_text(size_bytes) == text
