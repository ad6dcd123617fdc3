#!/usr/bin/env python
"""Test a checkpoint of any config of mmdet, mmseg or mmattn."""

import sys

from mmattn.cli.test import main

if __name__ == "__main__":
    sys.exit(main())
