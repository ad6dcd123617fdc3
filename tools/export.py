#!/usr/bin/env python
"""Export a trained model and check the file against torch."""

import sys

from mmattn.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
