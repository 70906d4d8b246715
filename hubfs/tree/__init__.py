"""What is at a path of a mount: control files, the hubs, and in each hub folders, models, links and files.

Doors: `virtual_tree` (all of a mount), `hub_tree` (one hub of it); `node` is what is told of a path, and `open_file` a
file that was opened. Errors say what happened. FUSE, errnos and the network stay outside, and a path's grammar is its
hub's.
"""
