"""`hubfs fetch` and `hubfs prefetch`: whole models, by an engine without a mount. Door: `command`.

`session` finds a model. `plan` (pure) says what `copying` writes; `filling` reads what the cache lacks, and `mounted`
does through a mount. `progress` (pure) and `telling` say how far it is.
"""
