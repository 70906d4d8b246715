"""The kernel's questions, answered by the tree: operations, struct stat, and errors as errnos.

Doors: `operations` (what is asked), `mounting` (what any way of serving needs), `errnos` (the one table). Libfuse is in
`bindings`; a session of our own on /dev/fuse belongs beside it, and calls the same operations. Neither policy, nor the
grammar of paths, nor the network enters.
"""
