"""The commands of `hubfs` for every hub, one file a command: its arguments, and the text of its result.

`cli.py` is the door: it has the group, and a row for each command, which it imports once it is called. Nothing here
does the work of a command, and nothing below imports anything of here.
"""
