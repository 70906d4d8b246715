"""Mounts of this machine, ours and others': which there are, who serves them, how they are taken off.

Doors: `table` (asks, and changes nothing), `point` and `taking` (make room, and take off), `presence` (which process).
No question here waits longer than `ANSWER_S` for a mount; nothing of a hub or a model enters.
"""
