"""Fetching what a loader will want next, while it is busy with the graph. Door: `prefetcher.Prefetcher`.

`plan` says which ranges (pure), `ModelReaders` which of them nobody asked for yet, and the blobs how far it may go.
"""
