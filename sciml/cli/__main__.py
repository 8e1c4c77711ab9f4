"""So that `python -m sciml.cli` is the command, too."""

from sciml.cli import main

main()
