#!/usr/bin/env python
"""Put finished trainings side by side."""

import sys

from mmattn.cli.compare_runs import main

if __name__ == "__main__":
    sys.exit(main())
