"""A process that inflates on several threads, confined by a sandbox. Door: `parallel`.

The daemon's side is `process`, `feed`, `pump` and `ring`; `worker` and `sandbox` run in the other process, and import
nothing that they do not need there. Their messages to one another are in `protocol`.
"""
