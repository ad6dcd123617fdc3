#!/usr/bin/env python
"""List the models that mmattn knows by name."""

import sys

from mmattn.cli.models import main

if __name__ == "__main__":
    sys.exit(main())
