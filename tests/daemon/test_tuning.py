"""What becomes of memory in a process that is treated as the daemon's is."""

import subprocess
import sys

_BLOCKS_THAT_OTHER_THREADS_REPLACE = """
import threading
from hubfs.daemon.tuning import tune_process

def peak_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

tune_process()
before_kib = peak_kib()
kept = [bytearray(1 << 20) for _ in range(64)]

def replace():
    for place in range(64):
        kept[place] = None  # as the memory tier evicts a block for the next one
        kept[place] = bytearray(1 << 20)

for _ in range(4):
    thread = threading.Thread(target=replace)
    thread.start()
    thread.join()
print((peak_kib() - before_kib) >> 10)
"""


def test_a_block_takes_the_place_of_one_that_another_thread_brought() -> None:
    """A pass brings blocks, and readers' threads bring others in their place: memory is not to hold room for both."""
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKS_THAT_OTHER_THREADS_REPLACE], capture_output=True, text=True, check=True
    )
    assert 64 <= int(done.stdout) < 80
