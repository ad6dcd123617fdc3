#!/usr/bin/env python
"""Fetch weights by name, list, verify and bundle them."""

import sys

from mmattn.cli.weights import main

if __name__ == "__main__":
    sys.exit(main())
