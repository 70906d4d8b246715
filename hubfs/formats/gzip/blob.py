"""What a gzip file inflates to, read anywhere: the spans that a read touches are fetched and decoded, and no more."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksums import crc32c
from hubfs.errors import Damaged, Stale
from hubfs.formats.gzip.index import GzipIndex, Span
from hubfs.formats.gzip.span import inflate_span, inflate_start
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation, SingleFlight, await_result

Recall = Callable[[int], bytes | None]
"""A span that was kept, by where its output begins; None where it was not, or is no longer. One of another length is of
another index of the archive, whose spans begin and end elsewhere."""

Keep = Callable[[int, bytes], None]
"""Keeps what a span inflated to, by where that begins, for as long as it may: reads of 1 MiB, one after the other, want
each span several times."""

_SPAN_TIMEOUT_S = 300.0
"""The bound for a reader that waits for a span that another one decodes; the fetch gives up much earlier."""


class GzipBlob:
    """The output of the gzip file `blob`, whose index is `index`; every span is verified before a byte of it is given.

    The spans of a read are decoded in parallel, in the caller's thread and in `pool` (isal works without the
    interpreter's lock), each once for all who want it. A task that the pool has not begun is taken back and done by the
    reader: the pool may be busy, or be the one that reads. Every span that was decoded goes to `keep`, and `recall` is
    asked for it first. `budget` knows of the bytes of a span from the fetch until `keep` has its output. `name` says
    which file this is, in messages.
    """

    def __init__(
        self,
        blob: Blob,
        index: GzipIndex,
        *,
        name: str,
        pool: Executor,
        cancellation: Cancellation,
        recall: Recall = lambda _: None,
        keep: Keep = lambda *_: None,
        budget: MemoryBudget | None = None,
    ) -> None:
        if blob.size_bytes != index.compressed_size_bytes:
            raise Stale(
                f"{name} has {blob.size_bytes} bytes, and its index is of one of {index.compressed_size_bytes}: "
                "open the file again"
            )
        self._blob = blob
        self._index = index
        self._name = name
        self._pool = pool
        self._cancellation = cancellation
        self._flights: SingleFlight[int, bytes] = SingleFlight(cancellation, _SPAN_TIMEOUT_S)
        self._recall = recall
        self._keep = keep
        self._budget = budget or MemoryBudget(0)

    @property
    def key(self) -> str:
        """Made of the file's."""
        return f"{self._blob.key}#inflated"

    @property
    def size_bytes(self) -> int:
        """Of the output."""
        return self._index.output_size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes from `offset_bytes` on: exactly `size_bytes`, fewer only at the end of the blob.

        Raises `Damaged` for a span that differs from the indexed one, and as the file does.
        """
        numbers = self._index.spans_of(offset_bytes, size_bytes)
        parts = []
        for number, output in zip(numbers, self._decoded(numbers), strict=True):
            start = max(0, offset_bytes - self._index.checkpoints[number].output_offset_bytes)
            end = min(len(output), offset_bytes + size_bytes - self._index.checkpoints[number].output_offset_bytes)
            parts.append(output if end - start == len(output) else memoryview(output)[start:end])
        return b"".join(parts)

    def _decoded(self, numbers: Iterable[int]) -> list[bytes]:
        """The spans' output, in order."""
        found = {number: self._recalled(number) for number in numbers}
        missing = [number for number, output in found.items() if output is None]
        tasks = {number: self._pool.submit(self._span, number) for number in missing[1:]}
        try:
            for number in missing[:1]:
                found[number] = self._span(number)
            for number, task in reversed(tasks.items()):  # the pool begins with the first
                found[number] = self._span(number) if task.cancel() else self._result(task)
        finally:
            for task in tasks.values():
                task.cancel()
        return [output for output in found.values() if output is not None]

    def _result(self, task: "Future[bytes]") -> bytes:
        return await_result(task, self._cancellation, _SPAN_TIMEOUT_S, f"a span of {self._name}")

    def _recalled(self, number: int) -> bytes | None:
        span = self._index.span(number)
        output = self._recall(span.output_start_bytes)
        return output if output is not None and len(output) == span.output_bytes else None

    def _span(self, number: int) -> bytes:
        known = self._recalled(number)
        return known if known is not None else self._flights.run(number, lambda: self._decode(number))

    def _decode(self, number: int) -> bytes:
        known = self._recalled(number)  # another flight may have landed between the look and this one
        if known is not None:
            return known
        self._cancellation.check()
        span = self._index.span(number)
        compressed_bytes = span.end_bytes - span.start_bytes
        with self._budget.taken(compressed_bytes):
            compressed = self._blob.read_at(span.start_bytes, compressed_bytes)
            try:
                with self._budget.taken(span.output_bytes):
                    output = _inflated(span, compressed)
            except Damaged as error:
                raise Damaged(f"{self._name}, bytes {span.start_bytes} to {span.end_bytes}: {error}") from error
        self._keep(span.output_start_bytes, output)
        return output


def _inflated(span: Span, compressed: bytes) -> bytes:
    """The output of a span, verified. Raises `Damaged`."""
    if span.checkpoint.bit_offset == 0:
        output = inflate_start(compressed, span.output_bytes)
    else:
        output = inflate_span(compressed, span.first_bit, span.checkpoint.window(), span.output_bytes)
    if crc32c(output) != span.checkpoint.crc32c:
        raise Damaged("the bytes inflate to others than were indexed: wrong checksum")
    return output
