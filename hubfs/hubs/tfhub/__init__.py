"""Hosts of the TF Hub protocol. Door: `hub.make`.

The protocol (`questions`, `resolver`, `versions`), what TF.js models are made of (`tfjs`), and the public catalogue
(`bundled`). No other room knows a word of the protocol; how bytes are fetched and kept does not enter.
"""
