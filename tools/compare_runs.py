#!/usr/bin/env python
"""Put finished trainings side by side: another name of tools/report.py."""

import sys

from mmattn.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
