"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021)."""

from .reference import ms_deform_attn as ms_deform_attn
