#!/usr/bin/env python
"""Work on datasets: the command mmattn data."""

import sys

from mmattn.cli.data import main

if __name__ == "__main__":
    sys.exit(main())
