"""A bucket, as the command line and the settings know it. Its models are named as those of the default hub are."""

from hubfs.hubs.about import About

ABOUT = About(schemes=("gs",), make="hubfs.hubs.bucket.hub:make", told="gs://bucket/prefix")
