#!/usr/bin/env python
"""Write a report on a trained and exported model."""

import sys

from mmattn.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
