"""``python -m popframe``: the same as the command ``popframe``."""

import sys

from popframe.cli import main

if __name__ == "__main__":
    sys.exit(main())
