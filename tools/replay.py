#!/usr/bin/env python
"""Repeat a training step whose numbers were not finite."""

import sys

from mmattn.cli.replay import main

if __name__ == "__main__":
    sys.exit(main())
