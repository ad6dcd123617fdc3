"""``python -m mmattn``: the same as the command ``mmattn``."""

import sys

from mmattn.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
