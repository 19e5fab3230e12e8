"""`python -m asynclogd`: the same as the `asynclog` command."""

from asynclogd.cli import main

if __name__ == "__main__":
    main()
