"""A directory of files as an archive that a hub can publish, with its index. Doors: `archive`, `listing`.

`listing` says what is in a directory at one moment, `archive` writes that. No network enters, and no name of a hub.
"""
