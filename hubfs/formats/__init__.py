"""What bytes mean: gzip, tar, index files, headers of weights, names and limits.

Streams and blobs in, bytes, members and headers out. Doors: `tar.walk`, `gzip.stream` and `gzip.blob`,
`inflating.parallel`, `index_file`, `safetensors`, `gguf`. No network, no cache and no model
enters; whatever comes in may be hostile, and is bounded here (`limits`, `names`).
"""
