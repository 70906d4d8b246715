"""Checksums: of files, which fail their whole model when they are wrong, and the crc32c of a whole from those of parts.

A crc is a remainder of polynomials over GF(2). The share of the part A in crc(A + B) is therefore crc(A) times
x^(8 * len(B)), modulo the polynomial, and the contributions of all parts are added (xor) in any order.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

from google_crc32c import value

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.blobs.running_hash import GIT_SHA1, RunningHash, new_hash
from hubfs.errors import Damaged, HubfsError, Stale

_log = logging.getLogger(__name__)

_POLYNOMIAL = 0x82F63B78  # Castagnoli; bit 31 is the coefficient of x^0, as in the crc itself
_ONE = 1 << 31
_X_TO_8 = _ONE >> 8

CRC32C = "crc32c"
SHA256 = "sha256"
_DIGITS: Mapping[str, int] = {CRC32C: 8, "md5": 32, SHA256: 64, GIT_SHA1: 40}
"""How many hexadecimal digits a value has. All but crc32c want a file in order."""

_MOST_SUMMED_AGAIN = 1024
"""Blocks that a verification by crc32c reads from the cache: the reader of the last block waits for a second or two."""

_LOOKS, _LOOK_S = 50, 0.01
"""How often, and how far apart in seconds, a verification looks for blocks that other readers have in hand, and are
about to put into the cache."""

_MOST_FETCHED_AGAIN = 64
"""Blocks that a verification fetches anew: those that the cache has lost, or does not get for long."""


@dataclass(frozen=True)
class Checksum:
    """What is announced of the bytes of a whole file: `algorithm`, and `value` in hexadecimal.

    The algorithms are `crc32c`, `md5`, `sha256`, and `git-sha1`: the SHA-1 by which Git names a blob, with a
    header before its bytes. Raises `ValueError` for an algorithm that hubfs does not know, and for a value that the
    algorithm cannot give.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if len(self.value) != _DIGITS.get(self.algorithm) or not {*self.value} <= {*"0123456789abcdef"}:
            raise ValueError(f"{self.algorithm} {self.value!r} is no checksum that can be verified")


@runtime_checkable
class Announcing(Blob, Protocol):
    """A blob whose store says with the first reply what the checksum of the whole is."""

    @property
    def checksum(self) -> Checksum | None:
        """The checksum; None before the first reply, and where the store says none. It does not change."""
        ...


def announced_by(blob: Blob | None) -> Checksum | None:
    """The checksum that the store of `blob` has announced so far."""
    return blob.checksum if isinstance(blob, Announcing) else None


class Failure:
    """Why nothing of a model may be served any more: the first failure of any of its files, for good.

    The failure of a file that several models share has `holders`: the failures of these models, which know of the error
    before any reader gets it. `on_failure` is called once, by the thread that failed the model. `_lock` guards the
    setting of `error`.
    """

    def __init__(
        self,
        on_failure: Callable[[HubfsError], None] = lambda _: None,
        holders: Callable[[], Sequence["Failure"]] = tuple,
    ) -> None:
        self._on_failure = on_failure
        self._holders = holders
        self._lock = threading.Lock()
        self.error: HubfsError | None = None

    def check(self) -> None:
        """Raises the failure, if there is one."""
        if self.error is not None:
            raise self.error.with_traceback(None)  # raised again and again, it would keep every frame it passed

    def fail(self, error: HubfsError) -> None:
        """Nothing of the model may be served any more. Only the first failure counts."""
        holders = [holder for holder in self._holders() if holder._is_first(error)]  # noqa: SLF001 - one of its own kind
        for failed in [self, *holders] if self._is_first(error) else holders:
            failed._on_failure(error)  # noqa: SLF001 - the same

    def _is_first(self, error: HubfsError) -> bool:
        with self._lock:
            first = self.error is None
            self.error = self.error or error
        return first


class ChecksummedBlob(WrappedBlob):
    """`blob`, a file of a model: once all of it is here, the whole must have the checksum that its store announces.

    A file that is damaged, or was changed at its origin, fails the whole model by `failure`, and fails with it.
    `announced` is the checksum if it is known beforehand; else the blob tells it (`Announcing`). Belongs below the
    cache, which reads whole blocks: reads at a multiple of `block_size_bytes` are recorded, others pass through. `has`
    and `recall` look for a block of this file in the cache: the file is whole when each block was read here or was kept
    before.

    When the whole is wrong, the read that completed it raises `Damaged`, and so does every read that ends later; a blob
    of one block is therefore verified before any of it is returned. A block that is read again must be the same as the
    first time, so after the whole was right, every later block is verified by itself. Where the store announces
    nothing, that holds if it names no version of the bytes, either (`pinned` False): another block is `Stale`.
    A crc32c is put together from those of the blocks; a file of which an earlier mount has kept more than 1 GiB is not
    verified by it. Any other checksum is a hash of the blocks in their order (`RunningHash`): it goes on with each
    block whose turn it is, and with those in the cache whose turn comes by that, by tasks that `behind` carries out
    later. What is left then, the reader of the last block adds.

    `_lock` guards `_crcs`, `_sum`, `_running` and `_verified`. It is never held while reading or summing. `_looked`,
    the first block that was not here when it was looked for, and `_is_lost` (the cache loses blocks) are only ever
    replaced.
    """

    def __init__(
        self,
        blob: Blob,
        announced: Checksum | None,
        block_size_bytes: int,
        *,
        failure: Failure | None = None,
        pinned: bool = True,
        has: Callable[[int], bool] = lambda _: False,
        recall: Callable[[int], bytes | None] = lambda _: None,
        behind: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__(blob)
        self._announced = announced
        self._block_size_bytes = block_size_bytes
        self._block_count = -(-blob.size_bytes // block_size_bytes)
        self._failure = failure or Failure()
        self._pinned = pinned
        self._has = has
        self._recall = recall
        self._behind = behind
        self._lock = threading.Lock()
        self._crcs: dict[int, int] = {}
        self._sum = 0  # the xor of the shares that the recorded blocks have in the crc32c of the whole
        self._running: RunningHash | None = None
        self._verified = False
        self._looked = 0
        self._is_lost = False

    def needs_block(self, index: int) -> bool:
        """Whether a block has to be read whole: it was read before, and must be the same, or may have to be later."""
        return not self._pinned or index in self._crcs

    def failed(self) -> bool:
        """Whether the model has failed.

        To be asked once blocks were kept: where other daemons keep blocks of the file, too, each may have looked before
        the other kept its last one. The whole is verified first, if it is here by now.
        """
        announced = self._announced or announced_by(self._blob)
        if announced is not None and len(self._crcs) < self._block_count and self._is_whole(announced, {}):
            try:
                self._verify(announced, {})
            except (Damaged, Stale) as error:
                self._failure.fail(error)
            except HubfsError as error:
                _log.info("%s is not verified yet: %s", self.key, error)
        return self._failure.error is not None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset. Raises `Damaged` once they are known not to be what the store announced.

        Raises as the blob does, and the failure of the model.
        """
        self._failure.check()
        try:
            data = self._blob.read_at(offset_bytes, size_bytes)
            announced = self._announced or announced_by(self._blob)
            if announced is not None or not self._pinned:
                blocks = dict(self._blocks_in(offset_bytes, data))
                self._record(blocks, announced)
                if announced is not None and (self._is_whole(announced, blocks) or self._is_hashed(announced, blocks)):
                    self._verify(announced, blocks)
        except (Damaged, Stale) as error:
            self._failure.fail(error)
            raise
        self._failure.check()
        return data

    def _blocks_in(self, offset_bytes: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of every whole block in `data`."""
        if offset_bytes % self._block_size_bytes:
            return
        for start in range(0, len(data), self._block_size_bytes):
            block = data[start : start + self._block_size_bytes]
            if len(block) == self._block_size_bytes or offset_bytes + start + len(block) == self.size_bytes:
                yield (offset_bytes + start) // self._block_size_bytes, block

    def _record(self, blocks: Mapping[int, bytes], announced: Checksum | None) -> None:
        """Notes the checksums of blocks. Raises `Damaged` or `Stale` for a block that was another one before."""
        for index, block in blocks.items():
            crc = crc32c(block)
            contributed = contribution(crc, self.size_bytes - index * self._block_size_bytes - len(block))
            with self._lock:
                new = index not in self._crcs
                same = self._crcs.setdefault(index, crc) == crc
                if new:
                    self._sum ^= contributed
            if not same and announced is None:
                raise Stale(
                    f"{self.key} was replaced, though its host names no other version: MiB {index} of it is not what "
                    "it was; open the file again"
                )
            if not same:
                raise self._damaged(f"block {index} was read twice, and differed")

    def _is_whole(self, announced: Checksum, in_hand: Mapping[int, bytes]) -> bool:
        """Whether each block was read here, or the cache has it, and the whole was not verified yet.

        Once the cache had lost a block that was read here, each block must be `in_hand`, or in the cache.
        """
        with self._lock:
            missing = self._block_count - len(self._crcs)
            if self._verified or (announced.algorithm == CRC32C and missing > _MOST_SUMMED_AGAIN):
                return False
        index, known = self._looked, in_hand if self._is_lost else self._crcs
        if not missing and not self._is_lost:
            index = self._block_count
        while index < self._block_count and (index in known or self._has(index)):
            index += 1
        self._looked = index
        return index == self._block_count

    def _is_hashed(self, announced: Checksum, in_hand: Mapping[int, bytes]) -> bool:
        """Goes on with the hash; whether it has the whole by that, and the whole was not verified yet."""
        if announced.algorithm == CRC32C or self._verified:  # an atomic look
            return False
        running = self._hash_of(announced)
        running.go_on(in_hand)
        return running.so_far.blocks == self._block_count

    def _verify(self, announced: Checksum, in_hand: Mapping[int, bytes]) -> None:
        """Compares the whole with what is announced of it, unless the cache has lost some of it meanwhile.

        Raises `Damaged`.
        """
        is_crc32c = announced.algorithm == CRC32C
        found = self._crc32c(announced) if is_crc32c else self._digest(announced, in_hand)
        if found is None:
            return
        if found != announced.value:
            error = self._damaged(f"its {announced.algorithm} is {found}, and the store announced {announced.value}")
            self._failure.fail(error)  # before another reader finds that the whole was verified
        with self._lock:
            self._verified = True
        self._failure.check()

    def _crc32c(self, announced: Checksum) -> str | None:
        """The crc32c of the whole. Sums the blocks that were kept before."""
        for index in range(self._block_count):
            if index not in self._crcs:
                block = self._recall(index)
                if block is None:
                    self._looked = index
                    return None
                self._record({index: block}, announced)
        with self._lock:
            return f"{self._sum:08x}"

    def _hash_of(self, announced: Checksum) -> RunningHash:
        with self._lock:
            if self._running is None:
                begun = new_hash(announced.algorithm, self.size_bytes)
                self._running = RunningHash(begun, self._here, self._behind)
            return self._running

    def _here(self, index: int) -> bytes | None:
        """A block that came before; one that another reader has in hand may not be in the cache yet."""
        there = index < self._block_count and (index in self._crcs or self._has(index))
        return self._recall(index) if there else None

    def _digest(self, announced: Checksum, in_hand: Mapping[int, bytes]) -> str | None:
        """The hash of the whole: what it was so far, with blocks `in_hand`, and with those of the cache."""
        running, fetched, looks = self._hash_of(announced), 0, 0
        running.is_over = True
        so_far = running.so_far
        summed = so_far.summed.copy()
        for index in range(so_far.blocks, self._block_count):
            block = in_hand.get(index) or self._recall(index)
            while block is None and index in self._crcs and looks < _LOOKS:
                looks += 1
                time.sleep(_LOOK_S)
                block = self._recall(index)
            if block is None and fetched < _MOST_FETCHED_AGAIN:
                block, fetched = self._blob.read_at(index * self._block_size_bytes, self._block_size_bytes), fetched + 1
                self._record({index: block}, announced)
            if block is None:
                _log.info("%s is not verified: the cache loses its blocks before it is whole", self.key)
                running.is_over = False
                self._looked, self._is_lost = 0, True
                return None
            summed.update(block)
        return str(summed.hexdigest())

    def _damaged(self, reason: str) -> Damaged:
        return Damaged(f"{self.key} is damaged: {reason}; if it stays so, ask who keeps the file to store it anew")


def crc32c(data: bytes) -> int:
    """The crc32c of `data`."""
    return int(value(data))


def contribution(crc: int, following_bytes: int) -> int:
    """What a part with crc32c `crc` contributes to the crc32c of a whole in which `following_bytes` bytes follow it.

    The xor of the contributions of all parts is the crc32c of the whole.
    """
    return _times(_zeros(following_bytes), crc)


def _times(a: int, b: int) -> int:
    """The product of two polynomials, modulo `_POLYNOMIAL`."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@lru_cache(maxsize=64)
def _square(exponent: int) -> int:
    """x^(8 * 2^exponent): the operator of 2^exponent zero bytes."""
    if exponent == 0:
        return _X_TO_8
    half = _square(exponent - 1)
    return _times(half, half)


@lru_cache(maxsize=4096)
def _zeros(size_bytes: int) -> int:
    """x^(8 * size_bytes): the operator of so many zero bytes.

    One product for each block of a file: without its highest bit, what follows a block is what follows a later one.
    """
    if not size_bytes:
        return _ONE
    exponent = size_bytes.bit_length() - 1
    return _times(_square(exponent), _zeros(size_bytes ^ 1 << exponent))
