"""`hubfs serve`: a folder of models as a hub host, on aiohttp. Doors: `server`, and `command` for the command line.

Nothing of the mounting side enters but formats and handles; no other room imports this one.
"""
