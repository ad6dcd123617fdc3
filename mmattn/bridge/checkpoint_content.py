"""The content of mmengine's checkpoints, as plain data and back.

mmengine saves its log as ``HistoryBuffer`` objects, numpy's numbers and, now and then, functions.
Reading these back takes unpickling. Written plain they take none, and at resume they are rebuilt.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import torch

from mmattn.errors import CheckpointError
from mmattn.io.weights_only import to_weights_only

# Resuming without one of these would go on silently with something else.
_ESSENTIAL = ("state_dict", "ema_state_dict", "optimizer")
_BUFFER = {"log_history", "count_history", "max_length"}


def plain_checkpoint(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``checkpoint`` that ``torch.load(weights_only=True)`` reads; tensors are shared.

    Objects that are not data are left out with a warning. Functions among the parameter
    schedulers' state (``OneCycleLR``'s, say) are left out silently: the config makes them anew.

    Raises:
        CheckpointError: If the weights or the optimizer's state hold such an object.
    """
    return {
        key: to_weights_only(_without_buffers(key, value), _on_foreign, str(key))
        for key, value in checkpoint.items()
    }


def revive(checkpoint: Any) -> Any:
    """Rebuild, in place, the log of a checkpoint that ``plain_checkpoint`` made; return it."""
    hub = checkpoint.get("message_hub") if isinstance(checkpoint, dict) else None
    scalars = hub.get("log_scalars") if isinstance(hub, dict) else None
    if isinstance(scalars, dict):
        from mmengine.logging import HistoryBuffer

        for name, value in scalars.items():
            if isinstance(value, dict) and set(value) == _BUFFER:
                scalars[name] = HistoryBuffer(
                    value["log_history"].cpu().numpy(),
                    value["count_history"].cpu().numpy(),
                    value["max_length"],
                )
    return checkpoint


def _without_buffers(key: str, value: Any) -> Any:
    if key != "message_hub" or not isinstance(value, dict) or "log_scalars" not in value:
        return value
    scalars = {name: _plain_buffer(buffer) for name, buffer in value["log_scalars"].items()}
    return {**value, "log_scalars": scalars}


def _plain_buffer(buffer: Any) -> Any:
    from mmengine.logging import HistoryBuffer

    if not isinstance(buffer, HistoryBuffer):
        return buffer
    values, counts = buffer.data
    return {
        "log_history": torch.from_numpy(values.copy()),
        "count_history": torch.from_numpy(counts.copy()),
        "max_length": int(buffer.max_length),
    }


def _on_foreign(path: str, value: Any) -> None:
    root = re.split(r"[.\[]", path, maxsplit=1)[0]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if root in _ESSENTIAL:
        raise CheckpointError(
            f"The checkpoint cannot be saved as plain data: {path} is a {kind}. "
            "Store tensors, numbers, strings and containers of these."
        )
    if root == "param_schedulers" and callable(value):
        return
    from mmengine.logging import print_log

    print_log(
        f"{path} is left out of the checkpoint: a {kind} is not plain data.",
        logger="current",
        level=logging.WARNING,
    )
