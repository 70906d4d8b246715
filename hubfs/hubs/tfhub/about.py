"""TF Hub, as the command line and the settings know it."""

from hubfs.hubs.about import About

ABOUT = About(
    schemes=("https", "http"),
    make="hubfs.hubs.tfhub.hub:make",
    names="hubfs.hubs.tfhub.names.handles:names_of",
    url="https://tfhub.dev",
    endpoint="tfhub",
    variables={
        "format": "TFHUB_MODEL_LOAD_FORMAT",
        "cache_dir": "TFHUB_CACHE_DIR",
        "disable_cert_validation": "TFHUB_DISABLE_CERT_VALIDATION",
    },
    commands={
        "catalog": "hubfs.hubs.tfhub.names.command:catalog",
        "serve": "hubfs.hubs.tfhub.serve.command:serve",
    },
)
