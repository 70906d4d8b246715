"""Buckets of Google Cloud Storage, and of emulators of it: listings, and the objects as blobs and streams.

`GcsClient` is the door. Every request goes over an `HttpClient` of its own; gcsfs, which `credentials` alone imports,
and not before a token is needed, makes the tokens. No transport of its own enters, and no name of a model.
"""
