"""A cache directory: models as files, with maps of the blocks that are there; several processes share it.

Door: `store.DiskStore` (models, facts, records, verify, remove, pin, whole); `tier.DiskTier` makes a tier of it, and
`indexes`, `latest`, `turns` keep what else lasts. Nothing here knows an origin, and no error of the disk fails a read.
"""
