"""What was found of a hub: models for life, answers that may change for a while, troubles until they are over.

Door: `models.Models`. `answers` and `reachability` decide when a hub is asked and who waits for it; `troubles` and
`uses` say which models fail, and which are read. No path and no byte of a model enters, nor what kind of hub it is.
"""
