"""Hosts of the TF Hub protocol. Door: `hub.make`.

The names of models (`names`), the protocol (`questions`, `resolver`, `versions`), what TF.js models are made of
(`tfjs`), the public catalogue (`bundled`), what tensorflow_hub extracted here (`extracted`), and `hubfs serve`, a host
of the protocol (`serve`). How bytes are fetched and kept does not enter.
"""
