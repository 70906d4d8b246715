"""What the binding sets up around libfuse; the rest of it is tested mounted."""

import os
import subprocess
import sys
from typing import Any

import pytest

from hubfs.fuse.bindings.complaints import Complaints
from hubfs.fuse.bindings.libfuse import _ANY_NAME, _CallableOperations, _ThreadedOperations
from hubfs.fuse.counts import OperationCounts


class Files:
    use_ns = True

    def read(self, path: str, size: int) -> bytes:
        return path.encode()[:size]


def test_the_bindings_find_the_operations_that_there_are_and_no_others() -> None:
    complaints = Complaints()
    complaints.release()
    counts = OperationCounts()
    threaded = _ThreadedOperations(Files(), counts, complaints, lambda _: None)
    callable_ = _CallableOperations(Files(), counts, complaints)
    operations: Any
    for operations in (threaded, callable_):
        assert operations.use_ns is True
        assert operations.read("/a/b", 2) == b"/a"
        assert not hasattr(operations, "write")
    assert callable_("read", "/a/b", 3) == b"/a/"
    assert callable_("write", "/a/b") == 0
    assert {name: stats.count for name, stats in counts.stats().items()} == {"read": 3}


def test_a_name_of_any_bytes_is_decoded_and_encoded_again() -> None:
    for name in (b"/google/spice", "/ünï".encode(), b"/\xff\xfe"):
        assert name.decode(_ANY_NAME) == os.fsdecode(name)
        assert name.decode(_ANY_NAME).encode(_ANY_NAME) == name


FAULTS_OF_REPEATED_BUFFERS = """
import resource, sys, threading
from hubfs.daemon.tuning import tune_process
sys.argv[1] == "default" or tune_process()

def use():
    for _ in range(100):
        replies = [bytes(1 << 20) for _ in range(8)]
        del replies

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.slow
@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another malloc")
def test_buffers_that_were_freed_are_used_again_without_page_faults() -> None:
    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS_OF_REPEATED_BUFFERS, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults("kept") * 10 < faults("default")
