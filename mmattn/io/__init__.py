"""Files: weights that are read as data only, and files that appear only when complete.

Importing this package is cheap; torch is imported by the first function that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.lazy import lazy_attributes

if TYPE_CHECKING:
    from .atomic import atomic_write as atomic_write
    from .atomic import sweep_leftovers as sweep_leftovers
    from .checkpoint_files import read_checkpoint as read_checkpoint
    from .checkpoint_files import read_trusted_pickle as read_trusted_pickle
    from .checkpoint_files import save_safetensors as save_safetensors
    from .checkpoint_files import save_torch as save_torch
    from .load_into_model import LoadReport as LoadReport
    from .load_into_model import load_state_dict as load_state_dict

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "atomic_write": "atomic",
        "sweep_leftovers": "atomic",
        "LoadReport": "load_into_model",
        "load_state_dict": "load_into_model",
        "read_checkpoint": "checkpoint_files",
        "read_trusted_pickle": "checkpoint_files",
        "save_safetensors": "checkpoint_files",
        "save_torch": "checkpoint_files",
    },
)
