"""Attention systems, one per folder, and drop-in attention blocks, one file each in ``blocks``.

Importing this package imports none of them. The registries find their classes by name
(``mmattn.registry``), by way of ``_register``, which has one line for each.
"""

if not __name__.startswith("mmattn."):
    raise ImportError("import mmattn.projects, not projects")
