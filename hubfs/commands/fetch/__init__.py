"""`hubfs fetch`: models as plain directories, without a mount. Door: `command.fetch`.

`handles` finds the hub of a handle, `plan` (pure) says what is to be done, `copying` does it, `progress` tells of it.
"""
