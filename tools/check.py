#!/usr/bin/env python
"""Check a config, its data and its model without training."""

import sys

from mmattn.cli.check import main

if __name__ == "__main__":
    sys.exit(main())
