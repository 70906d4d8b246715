"""What every BlockCache promises. An implementation passes by subclassing `BlockCacheContract` with `cache_of`."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey

MODEL = "127.0.0.1:8080%2Fhub/google/my.model_1/sub-name/2@0a1b2c"
KEY = CacheKey(MODEL, "variables/variables.data-00000-of-00001")
OTHER = CacheKey("tfhub.dev/google/spice/1@ffff", KEY.path)


def block_of(seed: int, size_bytes: int = BLOCK_SIZE_BYTES) -> bytes:
    """A block of noise; another seed gives another."""
    return random.Random(seed).randbytes(size_bytes)


class BlockCacheContract:
    near = True
    """Whether a look costs no request, so that `has` and `cached_bytes` know."""

    def cache_of(self, limit_bytes: int) -> BlockCache:
        """An empty cache that keeps `limit_bytes`."""
        raise NotImplementedError

    @pytest.fixture
    def cache(self) -> BlockCache:
        return self.cache_of(16 * BLOCK_SIZE_BYTES)

    def counted(self, size_bytes: int) -> int | None:
        return size_bytes if self.near else None

    def test_a_block_that_was_never_put_is_a_miss(self, cache: BlockCache) -> None:
        assert cache.get(KEY, 0) is None

    @pytest.mark.parametrize("size_bytes", [1, 4097, BLOCK_SIZE_BYTES - 1, BLOCK_SIZE_BYTES])
    @pytest.mark.parametrize("index", [0, 1, 5000])
    def test_what_was_put_is_got(self, cache: BlockCache, index: int, size_bytes: int) -> None:
        block = block_of(index, size_bytes)
        cache.put(KEY, index, block)
        got = cache.get(KEY, index)
        assert got == block
        assert type(got) is bytes

    def test_blocks_around_it_stay_misses(self, cache: BlockCache) -> None:
        cache.put(KEY, 4, block_of(4))
        assert [cache.get(KEY, index) is not None for index in range(6)] == [False] * 4 + [True, False]

    def test_has_never_what_get_would_miss(self, cache: BlockCache) -> None:
        assert not cache.has(KEY, 4)
        cache.put(KEY, 4, block_of(4))
        assert not any(cache.has(KEY, index) for index in (0, 3, 5, 5000))
        assert not cache.has(OTHER, 4)
        assert not cache.has(CacheKey(MODEL, "saved_model.pb"), 4)
        cache.drop(MODEL)
        assert not cache.has(KEY, 4)

    def test_has_what_is_near(self, cache: BlockCache) -> None:
        cache.put(KEY, 0, block_of(0))
        cache.put(KEY, 7, block_of(7, 5))
        assert [cache.has(KEY, 0), cache.has(KEY, 7)] == [self.near] * 2

    def test_to_look_counts_for_nothing(self, cache: BlockCache) -> None:
        cache.put(KEY, 0, block_of(0))
        cache.has(KEY, 0)
        cache.has(KEY, 1)
        assert all((tier.hits, tier.misses) == (0, 0) for tier in cache.stats().values())

    def test_models_files_and_indexes_are_kept_apart(self, cache: BlockCache) -> None:
        places = [(key, index) for key in (KEY, OTHER, CacheKey(MODEL, "saved_model.pb")) for index in (0, 1)]
        for seed, (key, index) in enumerate(places):
            cache.put(key, index, block_of(seed, 1000))
        assert [cache.get(*place) for place in places] == [block_of(seed, 1000) for seed in range(len(places))]

    def test_a_block_may_be_put_again(self, cache: BlockCache) -> None:
        assert cache.put(KEY, 3, block_of(3)) == cache.put(KEY, 3, block_of(3))
        assert cache.get(KEY, 3) == block_of(3)
        assert cache.cached_bytes(MODEL) == self.counted(BLOCK_SIZE_BYTES)

    def test_counts_what_is_cached_of_a_model(self, cache: BlockCache) -> None:
        cache.put(KEY, 0, block_of(0))
        cache.put(KEY, 1, block_of(1, 77))
        cache.put(CacheKey(MODEL, "assets/words.txt"), 0, block_of(2, 5))
        cache.put(OTHER, 0, block_of(3))
        assert cache.cached_bytes(MODEL) == self.counted(BLOCK_SIZE_BYTES + 77 + 5)
        assert cache.cached_bytes("tfhub.dev/nobody/has/1@this") == self.counted(0)

    def test_drop_forgets_the_model_and_no_other(self, cache: BlockCache) -> None:
        cache.put(KEY, 0, block_of(0))
        cache.put(OTHER, 0, block_of(1))
        cache.drop(MODEL)
        assert cache.get(KEY, 0) is None
        assert cache.cached_bytes(MODEL) == self.counted(0)
        assert cache.get(OTHER, 0) == block_of(1)

    def test_a_dropped_model_can_be_filled_again(self, cache: BlockCache) -> None:
        cache.put(KEY, 0, block_of(0))
        cache.drop(MODEL)
        cache.put(KEY, 0, block_of(0))
        assert cache.get(KEY, 0) == block_of(0)

    def test_dropping_what_is_not_there_does_nothing(self, cache: BlockCache) -> None:
        cache.drop(MODEL)

    def test_a_hold_can_be_released_twice(self, cache: BlockCache) -> None:
        release, other = cache.hold(MODEL), cache.hold(MODEL)
        release()
        release()
        other()

    def test_is_bounded_in_bytes(self) -> None:
        cache = self.cache_of(4 * BLOCK_SIZE_BYTES)
        for seed in range(12):
            cache.put(CacheKey(f"hub/a/m/{seed}@x", "f"), 0, block_of(seed))
            for stats in cache.stats().values():
                assert stats.used_bytes <= stats.limit_bytes + BLOCK_SIZE_BYTES // 8  # the maps

    def test_a_block_that_cannot_fit_is_refused_quietly(self) -> None:
        cache = self.cache_of(BLOCK_SIZE_BYTES // 2)
        assert cache.put(KEY, 0, block_of(0)) is False
        assert cache.get(KEY, 0) is None

    def test_counts_hits_and_misses(self, cache: BlockCache) -> None:
        cache.get(KEY, 0)
        cache.put(KEY, 0, block_of(0))
        cache.get(KEY, 0)
        stats = cache.stats()
        assert sum(tier.hits for tier in stats.values()) == 1
        assert all(tier.misses == 1 for tier in stats.values())

    def test_is_thread_safe(self, cache: BlockCache) -> None:
        blocks = {index: block_of(index, 50_000) for index in range(8)}

        def use(seed: int) -> bool:
            chance = random.Random(seed)
            for _ in range(40):
                index = chance.randrange(8)
                match chance.randrange(12):
                    case 0:
                        cache.drop(MODEL)
                    case 1 | 2 | 3 | 4:
                        cache.put(KEY, index, blocks[index])
                    case 5:
                        cache.hold(MODEL)()
                    case _:
                        if cache.get(KEY, index) not in (None, blocks[index]):
                            return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(use, range(16)))
        cache.put(KEY, 0, blocks[0])
        assert cache.get(KEY, 0) == blocks[0]
