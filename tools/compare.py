#!/usr/bin/env python
"""Compare attention blocks in one network on equal terms."""

import sys

from mmattn.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
