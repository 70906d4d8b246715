"""An object as a stream over several connections. Door: `stream.RangedStream`; `ramp` decides how many, and is pure.

What a range is, and who is asked for it, is behind the interface in `ranges`: no HTTP here.
"""
