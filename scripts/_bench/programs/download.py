"""Downloads a model into the cache of its hub's own client, which is on PYTHONPATH, and says where it is.

    download.py kagglehub | huggingface_hub

Says `{}` once the client is imported, waits for `{"handle": …}`, and then downloads.
"""

import json
import sys
from importlib import import_module

DOWNLOADS = {"kagglehub": "model_download", "huggingface_hub": "snapshot_download"}


def main() -> None:
    client = sys.argv[1]
    download = getattr(import_module(client), DOWNLOADS[client])
    print("{}", flush=True)
    handle = json.loads(sys.stdin.readline())["handle"]
    print(json.dumps({"path": download(handle)}), flush=True)


if __name__ == "__main__":
    main()
