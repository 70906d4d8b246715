"""The kernel's FUSE protocol, spoken on /dev/fuse without libfuse.

Doors: `door` (mounts and serves, as `bindings.libfuse.Binding` does), `session.Session` (serves a descriptor, however
it was mounted). The tree is asked through `fuse.answers` alone; paths, policy and hubs stay outside.
"""
