"""Which handles exist, as a file, a hub's own document, or the package says; and the grammar of handles and of paths.

The doors are `handles.Handles`, and `command` for `hubfs catalog`. `provider` has the catalogue as it is now, and
`places.place_of` says without any I/O what a path is. A catalogue shows names and settles where a version is in a name
with numbers. The hub has the last word on what exists, so nothing that asks a hub about a model enters here, and
nothing that reads one.
"""
