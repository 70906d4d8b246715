"""Figures for those who watch many mounts: durations, the text that Prometheus reads, and the port where it is read.

Doors: `durations` (a histogram that is cheap to add to), `exposition` (a status → families of metrics), `endpoint` (the
port). Which figures there are is `status.py`'s business. No name of a model, no path and no free text enters: the owner
of a hub must not be able to make up series.
"""
