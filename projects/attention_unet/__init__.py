"""Attention U-Net (Oktay et al., MIDL 2018, arXiv:1804.03999)."""

from .backbone import GatedUNet as GatedUNet
