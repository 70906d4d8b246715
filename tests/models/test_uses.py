from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.models.uses import Use, Uses

SPICE, YAMNET = parse_handle("google/spice/2"), parse_handle("google/yamnet/1")


def test_counts_files_that_are_open_and_bytes_that_were_read() -> None:
    uses = Uses()
    assert uses.of(SPICE) == Use(open_files=0, read_bytes=0)
    first, second = uses.begin(SPICE), uses.begin(SPICE)
    uses.read(SPICE, 100)
    uses.read(SPICE, 20)
    uses.read(YAMNET, 7)
    assert uses.of(SPICE) == Use(open_files=2, read_bytes=120)
    first()
    second()
    assert uses.of(SPICE) == Use(open_files=0, read_bytes=120), "what was read stays counted"
    assert uses.of(YAMNET) == Use(open_files=0, read_bytes=7)


def test_keeps_no_more_than_ten_thousand_counts() -> None:
    uses = Uses()
    for number in range(10_100):
        uses.read(parse_handle(f"google/spice{number}/1"), 1)
    assert len(uses._read_bytes) == 10_000
