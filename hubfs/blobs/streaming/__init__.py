"""An object as a stream over several connections. Door: `stream.RangedStream`; `ramp` decides how many, and is pure.

`http_stream.HttpStream` is the same for whatever is behind a URL. How hosts are asked is in the room of HTTP, which
knows nothing of this one.
"""
