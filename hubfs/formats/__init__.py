"""What bytes mean: gzip, tar, index files, names and limits. Streams and blobs in, bytes and members out.

Doors: `tar.walk`, `gzip.stream` and `gzip.blob`, `inflating.parallel`, `index_file`. No network, no cache and no model
enters; whatever comes in may be hostile, and is bounded here (`limits`, `names`).
"""
