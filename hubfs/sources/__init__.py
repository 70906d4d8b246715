"""One model: its entries, and the blobs behind them.

Doors: `source` (the interface), `kit` (makes the sources of every hub, and is the pipeline below an open file). A model
is a list of files (`files`) or an archive (`archive`). When a model is looked for, and what stays found, is the affair
of `models`; no path outside of a model enters.
"""
