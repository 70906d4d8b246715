"""Hosts of the TF Hub protocol. Door: `hub.make`.

The protocol (`questions`, `resolver`, `versions`), what TF.js models are made of (`tfjs`), the public catalogue
(`bundled`), and what tensorflow_hub extracted here (`extracted`). How bytes are fetched and kept does not enter.
"""
