"""Settings: a flag beats the environment, which beats the config file, which beats the profile and the default.

Doors: `config.load`, which returns a `Config`, and `effective.rows`, which says where each value comes from; a setting
is a row of `SETTINGS`. `values` reads texts, and raises what they must look like. Only here the environment is read;
nothing here opens a connection or a mount.
"""
