"""`hubfs debug`: a support bundle.

Doors: `command`, `secrets` (what must not be in it). Nothing enters a bundle but by `Secrets.without`.
"""
