"""hubfs in a Python program, without a mount: models by handle, and as a file system of fsspec. No command enters.

`calls` is what `import hubfs` has. `handles` finds the hub of a handle, `model` what is in a model there;
`below_mounts` and `local` find a directory of it.
"""
