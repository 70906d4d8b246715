"""The kernel's questions, answered by the tree: answers, struct stat, and errors as errnos.

Doors: `answers` (what is asked, in any way), `serving` (chooses the way), `mounting` (what every way needs), `errnos`
(the one table). `bindings` has libfuse, to which `operations` gives answers in its shape; `session` the kernel's own
protocol. Neither policy, nor the grammar of paths, nor the network enters.
"""
