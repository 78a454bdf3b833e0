"""``python -m kuttab``: the same as the program ``kuttab``."""

from kuttab.cli.main import main

if __name__ == "__main__":
    main()
