"""Drop-in attention blocks: ``in_channels`` first, (N, C, H, W) in, the same shape out.

One file per block, with its equation, registered by a line in ``projects/_register.py``. A block
imports torch, ``mmattn.registry``, ``layers`` and ``ops``, and nothing of mmdet, mmseg or mmcv.
Weights of other projects are brought by the converter beside it, ``<block>_convert.py``.
"""
