"""`python -m hgm`: the command line."""

import sys

from hgm.cli import main

if __name__ == "__main__":
    sys.exit(main())
