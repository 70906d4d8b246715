"""The Hugging Face Hub: `hf:`, `hf:NAMESPACE` and https://huggingface.co. Door: `hub.make`.

`names` is the grammar, `trees` reads lists of files, `limits` and `refusals` read what the hub says beside an answer
(all pure), and `api` asks the hub. Bytes of large files do not pass here: they come by `blobs.http`.
"""
