"""Models that tensorflow_hub extracted on this machine. Door: `source.find_extracted`.

Nothing is believed that another user could have put there; nothing of it goes into the cache, or over the network.
"""
