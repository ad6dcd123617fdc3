#!/usr/bin/env python
"""Run a script of mmdet's or mmseg's tools."""

import sys

from mmattn.cli.upstream import main

if __name__ == "__main__":
    sys.exit(main())
