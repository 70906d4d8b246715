"""`hubfs fetch` and `hubfs prefetch`: whole models, by an engine without a mount. Door: `command`.

`handles` finds the hub of a handle, `session` the model there. `plan` (pure) says what `copying` writes; `filling`
reads what the cache lacks. `progress` (pure) and `telling` say how far it is.
"""
