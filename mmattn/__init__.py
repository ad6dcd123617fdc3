"""mmattn: attention systems for dense prediction, as plugins for mmdet and mmseg.

Importing this package turns the bridge on (see ``mmattn.bridge``): mmcv, mmdet and mmseg then run
without mmcv's compiled extension, ``mmattn::``, ``mmdet::`` and ``mmseg::`` configs resolve, and
checkpoints are never unpickled. Nothing heavy is imported here.
"""

from .bridge import install as _install_bridge

__version__ = "0.1.0"

_install_bridge()
