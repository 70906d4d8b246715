"""Kaggle Models as a hub: `kaggle:` and `kaggle:OWNER`. Door: `hub.make`.

`names` is the grammar, `dialects` puts questions (both pure), and `api` asks Kaggle. No bytes of files pass here: they
come by `blobs.http`.
"""
