#!/usr/bin/env python
"""Print a script by which a shell completes mmattn."""

import sys

from mmattn.cli.completion import main

if __name__ == "__main__":
    sys.exit(main())
