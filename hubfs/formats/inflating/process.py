"""Starting the inflating process, and ending it."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import hubfs
from hubfs.errors import HubfsError
from hubfs.formats.inflating.protocol import SLOT_BYTES, SLOTS, Ring, Window, anonymous_memory

# The package in the folder of this daemon, whatever else is on the path, and without what its __init__ is for.
_HUBFS = """
import sys
package = sys.modules["hubfs"] = type(sys)("hubfs")
package.__path__ = [sys.argv[1]]
"""
_PROGRAM = f"""{_HUBFS}
sys.path.append(sys.argv[2])
from hubfs.formats.inflating.worker import main
main()
"""
_TRIAL = f"""{_HUBFS}
from hubfs.formats.inflating.sandbox import confine, missing
print("; ".join(missing(confine())))
"""
_TRIAL_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 5.0


class WorkerLost(HubfsError):
    """The inflating process cannot say what the archive inflates to: it would not start, it died, or it met something
    that another engine must judge. Nothing is known of the archive by that.
    """


def unconfined_by() -> str:
    """What an inflating process of this daemon could not give up, in words; empty if it gives up all that it must.

    A process like it tries, without an archive: it takes 30 ms.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-I", "-S", "-c", _TRIAL, str(Path(hubfs.__file__).parent)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=_TRIAL_TIMEOUT_S,
            cwd="/",
            env={},
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"nothing is known, for the trial failed ({type(error).__name__})"
    return done.stdout.strip()


class WorkerProcess:
    """One inflating process for one archive, its sockets and its rings. Raises `WorkerLost` if it does not start.

    `input` and `input_ring` are for the thread that feeds, `output` and `output_ring` for the one that consumes: each
    closes its own (`close_input`, `close`). `kill` may be called from any thread.
    """

    def __init__(self, size_bytes: int, window: Window) -> None:
        spec = importlib.util.find_spec("rapidgzip")
        if spec is None or spec.origin is None:
            raise WorkerLost("rapidgzip is not installed")
        try:
            with contextlib.ExitStack() as opened:
                self._start(opened, size_bytes, window, spec.origin)
                opened.pop_all()
        except OSError as error:
            raise WorkerLost(f"the inflating process did not start: {error}") from error

    def _start(self, opened: contextlib.ExitStack, size_bytes: int, window: Window, rapidgzip: str) -> None:
        """Everything that was made before a failure is in `opened`."""
        with contextlib.ExitStack() as for_the_worker:
            memories = []
            for name, ring_bytes in (("compressed", window.size_bytes), ("inflated", SLOTS * SLOT_BYTES)):
                memory = anonymous_memory(f"hubfs-{name}", ring_bytes)
                for_the_worker.callback(os.close, memory)
                memories.append(memory)
            self.input_ring = Ring(memories[0], window.size_bytes)
            opened.callback(self.input_ring.close)
            self.output_ring = Ring(memories[1], SLOTS * SLOT_BYTES)
            opened.callback(self.output_ring.close)
            self.input, its_input = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.callback(self.input.close)
            for_the_worker.callback(its_input.close)
            self.output, its_output = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.callback(self.output.close)
            for_the_worker.callback(its_output.close)
            descriptors = [*memories, its_input.fileno(), its_output.fileno()]
            paths = [Path(hubfs.__file__).parent, Path(rapidgzip).parent]
            arguments = [*paths, *descriptors, size_bytes, window.chunk_bytes, window.workers]
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, "-I", "-S", "-c", _PROGRAM, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=descriptors,
                cwd="/",
                env={},
                start_new_session=True,  # ^C of a foreground mount ends the daemon, and that ends this
            )

    def kill(self) -> None:
        """Ends the process; threads that wait for it see the ends of its sockets."""
        self._process.kill()

    def how_it_ended(self) -> str:
        """For a message, once its sockets have ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_END_TIMEOUT_S)
            return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return "still running"

    def close_input(self) -> None:
        """Ends the process, too: there is nothing more to come."""
        self.input.close()
        self.input_ring.close()

    def close(self) -> None:
        """Ends the process at once, and gives everything back but the input."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel; it cannot run any more
            self._process.wait(_END_TIMEOUT_S)
        self.output.close()
        self.output_ring.close()
