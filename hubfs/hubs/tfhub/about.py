"""TF Hub, as the command line and the settings know it."""

from hubfs.hubs.about import About, Command, Translation

ABOUT = About(
    schemes=("https", "http"),
    make="hubfs.hubs.tfhub.hub:make",
    names="hubfs.hubs.tfhub.names.handles:names_of",
    url="https://tfhub.dev",
    endpoint="tfhub",
    told="any http(s) host of the TF Hub protocol",
    examples="""\
hubfs mount /mnt/tfhub
ls -l /mnt/tfhub/google/spice/2
python -c "import tensorflow as tf; tf.saved_model.load('/mnt/tfhub/google/spice/2')"
hubfs unmount /mnt/tfhub""",
    graph="saved_model.pb",
    variables={
        "format": "TFHUB_MODEL_LOAD_FORMAT",
        "cache_dir": "TFHUB_CACHE_DIR",
        "disable_cert_validation": "TFHUB_DISABLE_CERT_VALIDATION",
    },
    commands={
        "catalog": Command("hubfs.hubs.tfhub.names.command:catalog", "Look at catalogues of handles, and make them."),
        "serve": Command("hubfs.hubs.tfhub.serve.command:serve", "Serve a directory as a model hub."),
    },
    translations=(
        Translation(
            "kaggle",
            "Print what Kaggle calls this model of tfhub.dev instead. Asks nobody.",
            "hubfs.hubs.tfhub.bundled:kaggle_handle",
        ),
        Translation(
            "tfhub",
            "HANDLE is Kaggle's: print its handle at tfhub.dev. Asks nobody.",
            "hubfs.hubs.tfhub.bundled:tfhub_handle",
        ),
    ),
    hosted="hubfs.hubs.tfhub.serve.hosting:hosted",
    refusals="hubfs.hubs.tfhub.extracted.source:untrusted",
)
