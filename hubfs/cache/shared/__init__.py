"""A cache that daemons of many machines share, on an object store; every failure of the store is a miss.

Door: `cache.SharedCache`. The store itself is `blobs.store`'s; nothing of the disk enters but the interface of indexes.
"""
