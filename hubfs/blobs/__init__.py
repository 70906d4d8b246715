"""Readable bytes, and what is added to them by wrapping: retries, checksums, holes, laziness.

Doors: `blob` (the interfaces), `store` (objects by name); `http`, `gcs` and `streaming` bring bytes. No caches, models
or formats enter.
"""
