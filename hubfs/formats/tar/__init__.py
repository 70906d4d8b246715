"""tar, read once from its start to its end. Door: `walk.members`.

`header` reads what is said of a member (a block of it by the standard library's tarfile), `sparse` where its holes are.
Nothing is unpacked here.
"""
