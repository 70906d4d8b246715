from pathlib import Path

from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.store import DiskStore
from tests.contracts.disk_store_contract import DiskStoreContract
from tests.support.disk_cache import KEY, MODEL, another_process, tier


class TestTheDaemonsOwnStore(DiskStoreContract):
    def stores_of(self, layout: CacheLayout) -> tuple[DiskStore, DiskStore]:
        store = DiskStore(layout)
        return store, store


class TestAStoreBesideADaemon(DiskStoreContract):
    """Two stores on one directory, which share nothing but the files: as those of two processes."""

    def stores_of(self, layout: CacheLayout) -> tuple[DiskStore, DiskStore]:
        return DiskStore(CacheLayout(layout.root)), DiskStore(CacheLayout(layout.root))


def test_what_another_process_holds_is_not_removed_until_it_is_killed(tmp_path: Path) -> None:
    root = tmp_path
    program = "cache.hold(MODEL); cache.put(KEY, 0, b'x'); print('held', flush=True); sys.stdin.read()"
    with another_process(root, program) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        store = DiskStore(CacheLayout(root))
        facts = store.facts(MODEL)
        assert facts is not None
        assert facts.in_use
        assert not store.remove(MODEL)
        holder.kill()
        holder.wait()
        assert tier(root).get(KEY, 0) == b"x"
        assert store.remove(MODEL)
        assert tier(root).get(KEY, 0) is None
