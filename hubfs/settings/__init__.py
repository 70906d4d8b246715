"""Settings: a flag beats the environment, which beats the config file, which beats the default.

Door: `config.load`, which returns a `Config`; a setting is a row of `SETTINGS`. `values` reads texts, and raises what
they must look like. Only here the environment is read; nothing here opens a connection or a mount.
"""
