"""Drop-in attention blocks: ``in_channels`` first, (N, C, H, W) in, the same shape out.

One file per block, with its equation. A block imports torch and mmengine, and nothing of mmdet,
mmseg or mmcv. Weights of other projects are brought by the converter beside it,
``<block>_convert.py``.
"""
