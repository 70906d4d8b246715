"""A bucket as a hub: models by their handles below a prefix, found by listing. Door: `hub.make`.

A model is a folder or an archive there. How a bucket is asked belongs to `blobs.gcs`, and what a bucket's model is read
by belongs to `sources`.
"""
