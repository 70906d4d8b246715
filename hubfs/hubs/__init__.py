"""Kinds of hubs, one folder each: the names of a hub, and where its models are.

Doors: `hub` (the interface, and `make_hub`), `names` (what a path is), `registry` (the kinds, by their `about`). A hub
answers with sources, which the kit makes, and remembers nothing that may change. Neither caching nor retries nor FUSE
enter, and no hub knows another.
"""
