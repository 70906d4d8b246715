"""gzip as a stream, and any range of it for the price of the spans around. Doors: `stream.inflate`, `blob.GzipBlob`.

`index` says where inflating may start, `recorder` makes it while a stream passes, `span` moves bits to byte boundaries.
"""
