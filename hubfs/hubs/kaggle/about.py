"""Kaggle Models, as the command line and the settings know it."""

from hubfs.hubs.about import About

ABOUT = About(
    schemes=("kaggle",),
    make="hubfs.hubs.kaggle.hub:make",
    names="hubfs.hubs.kaggle.named:names_of",
    endpoint="kaggle",
)
