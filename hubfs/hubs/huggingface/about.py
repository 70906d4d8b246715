"""The Hugging Face Hub, as the command line and the settings know it."""

from hubfs.hubs.about import About

ABOUT = About(
    schemes=("hf",),
    hosts=("huggingface.co", "www.huggingface.co", "hf.co"),
    make="hubfs.hubs.huggingface.hub:make",
    names="hubfs.hubs.huggingface.named:names_of",
    endpoint="hf",
    endpoint_variable="HF_ENDPOINT",
    is_endpoint_plain=True,
    told="hf: for the Hugging Face Hub",
)
