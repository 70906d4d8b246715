"""`python -m hubfs` is the command `hubfs`."""

from hubfs.cli import main

main()
