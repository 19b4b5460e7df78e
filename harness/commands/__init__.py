"""What each command does, one file a family. These and cli.py alone reach the sibling packages, inside functions."""

DONE, FAILED, USAGE, INCOMPLETE = 0, 1, 2, 3  # exit codes
