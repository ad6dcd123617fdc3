#!/usr/bin/env python
"""Strip a checkpoint to its weights and class names."""

import sys

from mmattn.cli.publish import main

if __name__ == "__main__":
    sys.exit(main())
