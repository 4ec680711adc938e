"""``python -m omnitrace``: the command line, where its script is not on the path."""

from omnitrace.cli.app import main

if __name__ == "__main__":
    main()
