"""The systems. One import line per system is the whole table of contents."""

if not __name__.startswith("mmattn."):
    raise ImportError("import mmattn.projects, not projects")

from . import ccnet as ccnet
