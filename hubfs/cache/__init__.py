"""Bytes that were read are kept here, block by block: in memory, on disk, in a store that a fleet shares.

Doors: `block_cache` (the interface of every tier), `cached_blob` (a blob that is read through the cache), `tiered` (two
tiers as one). Where bytes come from, and what a model is, stay outside: a block belongs to a model's name and a path.
"""
