#!/usr/bin/env python
"""List every place of a model where an attention block can be inserted."""

import sys

from mmattn.cli.slots import main

if __name__ == "__main__":
    sys.exit(main())
