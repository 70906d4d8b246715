"""Downloads a model by kagglehub, which is on PYTHONPATH, into its cache, and says where it is.

Says `{}` once kagglehub is imported, waits for `{"handle": …}`, and then downloads.
"""

import json
import sys

import kagglehub


def main() -> None:
    print("{}", flush=True)
    handle = json.loads(sys.stdin.readline())["handle"]
    print(json.dumps({"path": kagglehub.model_download(handle)}), flush=True)


if __name__ == "__main__":
    main()
