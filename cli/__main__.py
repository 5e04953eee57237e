"""`python -m cli`: the command line without installing it."""

from cli.app import main

if __name__ == "__main__":
    main()
