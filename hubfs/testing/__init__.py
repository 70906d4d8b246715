"""Fakes for tests of code that stands on hubfs: in memory, scripted, with every call noted.

The room for stand-ins of hubfs's own interfaces; they pass the contract suites of the real implementations. The door is
this file: `Clock`, `MemorySource`, `ScriptedBlob`. Nothing in hubfs imports the room. It imports no pytest, opens no
socket and writes no file.
"""

from hubfs.testing.blob import ScriptedBlob
from hubfs.testing.clock import Clock
from hubfs.testing.source import MemorySource

__all__ = ["Clock", "MemorySource", "ScriptedBlob"]
