"""The systems. One import line per system is the whole table of contents."""

if not __name__.startswith("mmattn."):
    raise ImportError("import mmattn.projects, not projects")

from . import bevanet as bevanet
from . import cbam as cbam
from . import ccnet as ccnet
from . import coordinate_attention as coordinate_attention
from . import eca as eca
from . import ela as ela
from . import global_context as global_context
from . import simam as simam
from . import squeeze_excitation as squeeze_excitation
from . import triplet_attention as triplet_attention
