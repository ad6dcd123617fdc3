#!/usr/bin/env python
"""Train any config of mmdet, mmseg or mmattn."""

import sys

from mmattn.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
