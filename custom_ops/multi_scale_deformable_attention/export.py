"""Multi-scale deformable attention in exported graphs: which standard operators they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from . import reference

_FORMS = {"grid_sample": reference.forward, "gather": reference.forward_by_gather}
_form = "grid_sample"


@contextmanager
def export_deform_attention_as(form: str) -> Iterator[None]:
    """Choose the operators that exported graphs hold.

    Args:
        form: ``"grid_sample"`` (the default) for one GridSample per level, or ``"gather"`` for row
            lookups and arithmetic, which runtimes that lack or mistreat grid sampling need.

    Raises:
        ValueError: The form is unknown.

    Example:
        >>> with export_deform_attention_as("gather"):
        ...     pass  # torch.onnx.export(model, ...)
    """
    global _form
    if form not in _FORMS:
        raise ValueError(
            f"export_deform_attention_as: unknown form {form!r}, choose from {', '.join(_FORMS)}"
        )
    before, _form = _form, form
    try:
        yield
    finally:
        _form = before


def exported(
    value: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    spatial_shapes: Sequence[int],
    level_starts: Sequence[int],
) -> Tensor:
    """Compute with operators that a graph may hold; arguments are checked already."""
    forward = _FORMS[_form]
    return forward(value, sampling_locations, attention_weights, spatial_shapes, level_starts)
