#!/usr/bin/env python
"""Measure models side by side, or the speed of a config's data."""

import sys

from mmattn.cli.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
