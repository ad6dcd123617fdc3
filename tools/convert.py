#!/usr/bin/env python
"""Convert a checkpoint of another project's layout to safetensors."""

import sys

from mmattn.cli.convert import main

if __name__ == "__main__":
    sys.exit(main())
