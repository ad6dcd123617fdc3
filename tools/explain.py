#!/usr/bin/env python
"""Show what a prediction rests on: attention, gates and gradient maps."""

import sys

from mmattn.cli.explain import main

if __name__ == "__main__":
    sys.exit(main())
