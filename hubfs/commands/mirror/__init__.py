"""`hubfs mirror`: models of any hub in a place that is a hub itself. Door: `command`.

`finding` says which models are meant, `mirroring` makes each ready, and `directory` and `bucket` are places that take
them (`place`). `provenance` says where a model of a place came from.
"""
