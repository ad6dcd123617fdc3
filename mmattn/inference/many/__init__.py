"""Predict a great many images: listed lazily, in shards and processes, restarted where it ended."""

from __future__ import annotations

from .merge import all_finished as all_finished
from .merge import merge_parts as merge_parts
from .options import ManyOptions as ManyOptions
from .processes import predict_in_processes as predict_in_processes
from .run import predict_many as predict_many
from .shard import Shard as Shard
from .shard import launched_shard as launched_shard
from .shard import read_shard as read_shard
from .sources import ManySources as ManySources

__all__ = [
    "ManyOptions",
    "ManySources",
    "Shard",
    "all_finished",
    "launched_shard",
    "merge_parts",
    "predict_in_processes",
    "predict_many",
    "read_shard",
]
