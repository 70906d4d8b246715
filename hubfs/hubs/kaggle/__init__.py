"""Kaggle Models as a hub: `kaggle:` and `kaggle:OWNER`. Door: `hub.make`.

`names` is the grammar, `dialects` puts questions, `kagglehub_cache` is what kagglehub looks for (all pure), and `api`
asks Kaggle. No bytes of files pass here: they come by `blobs.http`.
"""
