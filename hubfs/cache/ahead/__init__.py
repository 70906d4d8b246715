"""Fetching before anybody asked: how far (`policy`, pure), and for one open file (`blob`).

Nothing here asks a network: what is to be fetched is told to a blob that can prefetch.
"""
