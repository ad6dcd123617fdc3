#!/usr/bin/env python
"""Detect objects in images and videos, or segment them."""

import sys

from mmattn.cli.predict import main

if __name__ == "__main__":
    sys.exit(main())
