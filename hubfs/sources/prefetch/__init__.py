"""Fetching what a loader will want next, while it is busy with the graph. Door: `prefetcher.Prefetcher`.

`plan` says which ranges (pure), `readers` which of them nobody asked for yet (no I/O). How far it may go say the blobs.
"""
