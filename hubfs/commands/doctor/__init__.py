"""`hubfs doctor`: one file for each thing that a mount stands on; a check is a function that returns a `Finding`.

Door: `command`. Nothing is changed, and nothing raises: what stands in the way is a finding, with advice.
"""
