#!/usr/bin/env python
"""Segment images with a trained model."""

import sys

from mmattn.cli.predict import main

if __name__ == "__main__":
    sys.exit(main())
