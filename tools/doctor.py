#!/usr/bin/env python
"""Show what this installation is made of, and what is broken in it."""

import sys

from mmattn.cli.doctor import main

if __name__ == "__main__":
    sys.exit(main())
