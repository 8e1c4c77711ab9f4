"""So that `python -m sciml.cli` is the command, too."""

from sciml.cli import main

if __name__ == "__main__":
    main()
