"""`hubfs cache`: what a cache directory keeps, for people. Door: `command.cache`.

`kept` reads the directory and takes models away, by `DiskStore` alone; `selecting` (pure) filters and sorts; `moving`,
`exporting` and `importing` carry models from one machine to another.
"""
