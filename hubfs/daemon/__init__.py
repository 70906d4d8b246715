"""The life of a mount's process: starting in the background, readiness, signals, the log, starting again, the end.

Doors: `life` (one mount, from start to end), `spawn` (a daemon in the background), `supervisor` (one that is followed
by another), `keeper` (what a daemon says, and leaves, to who follows it), `reload` (a daemon that follows itself).
What is mounted is `mount.py`'s business.
"""
