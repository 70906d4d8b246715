"""Shared caches for tests: on memory, and a store that fails on demand."""

import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from hubfs.blobs.store import STORE_SETTINGS, ObjectStore, StoredObject, open_store
from hubfs.errors import HubfsError, Unavailable
from hubfs.waiting import Cancellation

T = TypeVar("T")


def memory_store(cancellation: Cancellation) -> ObjectStore:
    return open_store(f"memory://{uuid.uuid4().hex}", STORE_SETTINGS, cancellation)


class Watched:
    """`store`, counting what it is asked, unavailable while `down`; `refuse` says what else it raises, if anything."""

    url = "watched://store"

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.calls: list[tuple[str, str]] = []
        self.down = False
        self.refuse: Callable[[], HubfsError | None] = lambda: None

    def asked(self, method: str) -> list[str]:
        return [name for called, name in self.calls if called == method]

    def _ask(self, method: str, name: str, call: Callable[[], T]) -> T:
        self.calls.append((method, name))
        if self.down:
            raise Unavailable(f"{self.url}/{name}: down, as the test asked")
        error = self.refuse()
        if error is not None:
            raise error
        return call()

    def get(self, name: str) -> bytes | None:
        return self._ask("get", name, lambda: self._store.get(name))

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        return self._ask("put", name, lambda: self._store.put(name, data, if_absent=if_absent))

    def delete(self, name: str) -> None:
        self._ask("delete", name, lambda: self._store.delete(name))

    def list(self, prefix: str) -> Sequence[StoredObject]:
        return self._ask("list", prefix, lambda: self._store.list(prefix))

    def close(self) -> None:
        self._store.close()
