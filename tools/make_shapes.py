#!/usr/bin/env python
"""Write the generated shapes dataset."""

import sys

from mmattn.cli.make_shapes import main

if __name__ == "__main__":
    sys.exit(main())
