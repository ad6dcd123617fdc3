"""Neighborhood attention: NAT (CVPR 2023) and DiNAT, and their attention as a block."""

from .attention import NeighborhoodAttention as NeighborhoodAttention
from .backbone import NAT as NAT
