"""The one transport: requests over HTTP, with bounds, to hosts that are not trusted, and credentials for some of them.

Doors: `client.HttpClient` for replies, `blob.HttpBlob` for what is read by ranges, and always the same bytes.
Only here requests and urllib3 are known. No name of a hub, a bucket or a model enters.
"""
