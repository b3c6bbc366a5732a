"""`python -m plexbridge`."""

from plexbridge.cli import main

if __name__ == "__main__":
    main()
