#!/usr/bin/env python
"""Write the generated shapes dataset."""

import sys

from mmattn.cli.data import main

if __name__ == "__main__":
    sys.exit(main(["shapes", *sys.argv[1:]]))
