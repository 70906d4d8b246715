"""libfuse 3 and libfuse 2, by mfusepy and fusepy. Door: `libfuse.load`.

Only here ctypes and the quirks of either library are known. Nothing of the tree enters: operations are any object with
FUSE's methods.
"""
