#!/usr/bin/env python
"""Work on configs."""

import sys

from mmattn.cli.config import main

if __name__ == "__main__":
    sys.exit(main())
