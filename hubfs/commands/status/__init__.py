"""`hubfs status` and `hubfs top`: how mounts are, for people. Doors: `command`, `top`.

Both read `/.hubfs/status.json` alone. `change` (pure) says what happened between two looks, `report` (pure) makes
tables of it, and `screen` (pure) arranges these for `top`. `drawing` is the one place that knows how rich draws.
"""
