"""Deformable convolution (Dai et al., ICCV 2017; with modulation Zhu et al., CVPR 2019)."""

from .reference import deform_conv2d as deform_conv2d
from .reference import deform_im2col as deform_im2col
