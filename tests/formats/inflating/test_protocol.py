import pytest

from hubfs.formats.inflating.protocol import MIB, Window, window_of


@pytest.mark.parametrize(
    ("archive_mib", "workers", "most_mib", "chunk_mib", "threads"),
    [
        (1000, 2, 128, 4, 2),
        (1000, 2, 32, 4, 2),
        (1000, 2, 29, 2, 2),
        (1000, 2, 16, 1, 2),
        (1000, 16, 16, 1, 4),
        (1000, 16, 128, 2, 16),
        (1000, 2, 4, 1, 1),
        (100, 2, 128, 1, 2),
        (100, 8, 16, 1, 4),
    ],
)
def test_rings_are_as_large_as_helps_within_what_there_is(
    archive_mib: int, workers: int, most_mib: int, chunk_mib: int, threads: int
) -> None:
    window = window_of(archive_mib * MIB, workers, most_mib * MIB)
    assert window == Window(chunk_mib * MIB, threads)
    assert window.shared_bytes <= max(most_mib, 10) * MIB
