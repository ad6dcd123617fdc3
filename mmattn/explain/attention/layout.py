"""Where the tokens of attention layers lie, told by the modules around these layers.

A layer of torch gets a row of tokens. It knows neither the map that they were, nor which of them
stand for classes, nor that its keys are a smaller map. The modules listed here know: what one of
them says holds for all attention inside of it. A new one needs a function and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ..layers import token_grid
from .layer import Attention, Grid
from .names import qualified_names


@dataclass(frozen=True)
class Layout:
    """Where tokens lie.

    Attributes:
        grid: Rows and columns of the image tokens; None for queries, which have no place.
        reduction: Keys are made of squares of this many tokens a side.
        behind: Tokens behind those of the grid, one for each class.
    """

    grid: Grid | None
    reduction: int = 1
    behind: int = 0


#: (module, args, kwargs) of a call -> the layout of the attention inside.
LayoutReader = Callable[[Any, tuple, dict[str, Any]], Layout]


def _of_spatial_reduction(module: Any, args: tuple, kwargs: dict[str, Any]) -> Layout:
    """SegFormer, Twins and PVT: keys are a map that a strided convolution has made smaller."""
    given = {**dict(zip(("x", "hw_shape"), args, strict=False)), **kwargs}
    height, width = given["hw_shape"]
    return Layout((int(height), int(width)), reduction=int(module.sr_ratio))


def _of_vit(module: Any, args: tuple, kwargs: dict[str, Any]) -> Layout:
    """ViT of mmseg: patches behind a class token, the image padded to whole patches or cut."""
    image = args[0] if args else kwargs["inputs"]
    side = int(module.patch_size)
    padded = module.patch_embed.adap_padding is not None
    height, width = (-(-n // side) if padded else n // side for n in image.shape[2:])
    return Layout((int(height), int(width)))


def _of_segmenter(module: Any, args: tuple, kwargs: dict[str, Any]) -> Layout:
    """Segmenter: patches first, then a token for each class."""
    maps = args[0] if args else kwargs["inputs"]
    index = module.in_index
    one = maps[index if isinstance(index, int) else index[0]]
    return Layout((one.shape[2], one.shape[3]), behind=int(module.num_classes))


def _of_queries(module: Any, args: tuple, kwargs: dict[str, Any]) -> Layout:
    """Kernels of K-Net, proposals of Sparse R-CNN: as many may be there as a map has cells."""
    return Layout(None)


#: Name of a class -> how it tells the layout, for the class and those that are derived from it.
LAYOUTS: dict[str, LayoutReader] = {
    "mmseg.models.backbones.mit.EfficientMultiheadAttention": _of_spatial_reduction,
    "mmdet.models.backbones.pvt.SpatialReductionAttention": _of_spatial_reduction,
    "mmseg.models.backbones.vit.VisionTransformer": _of_vit,
    "mmseg.models.decode_heads.segmenter_mask_head.SegmenterMaskTransformerHead": _of_segmenter,
    "mmseg.models.decode_heads.knet_head.KernelUpdateHead": _of_queries,
    "mmdet.models.roi_heads.bbox_heads.dii_head.DIIHead": _of_queries,
}


@contextmanager
def layouts_of(model: nn.Module) -> Iterator[list[Layout]]:
    """Keep, while the network runs, the layouts that hold at the moment; the last one is inmost.

    Heads of mmseg call their own ``forward``, past all hooks: it is wrapped, and put back.
    """
    current: list[Layout] = []

    def wrapped(module: Any, read: LayoutReader) -> Callable[..., Any]:
        forward = module.forward

        def inside(*args: Any, **kwargs: Any) -> Any:
            current.append(read(module, args, kwargs))
            try:
                return forward(*args, **kwargs)
            finally:
                current.pop()

        return inside

    found: list[tuple[Any, Any]] = []
    try:
        for module in model.modules():
            read = next((LAYOUTS[n] for n in qualified_names(module) if n in LAYOUTS), None)
            if read is not None:
                found.append((module, vars(module).get("forward")))
                module.forward = wrapped(module, read)
        yield current
    finally:
        for module, own in found:
            if own is None:
                del module.forward
            else:
                module.forward = own


def placed(attention: Attention, layout: Layout | None, image: Grid) -> Attention:
    """Fill in where tokens lie, as far as the layer does not know it itself.

    Without a layout the grid is that of a stride of the image, see ``token_grid``.

    Args:
        attention: What a layer recorded.
        layout: Layout of the module around it.
        image: Height and width of the network's input.
    """
    if attention.query_grids or attention.key_grids:
        return attention
    if layout is not None:
        return _by_layout(attention, layout)
    keys = token_grid(attention.tokens, image)
    queries = token_grid(attention.queries, image) if attention.kind == "self" else None
    return replace(
        attention,
        query_grids=() if queries is None else (queries,),
        key_grids=() if keys is None else (keys,),
    )


def _by_layout(attention: Attention, layout: Layout) -> Attention:
    """Apply a layout; where its numbers are not those of the tokens, these have no place."""
    if layout.grid is None:
        return attention
    (height, width), side = layout.grid, layout.reduction
    keys = (height // side, width // side)
    if attention.queries < height * width + layout.behind:
        return attention
    if attention.tokens < keys[0] * keys[1] + layout.behind:
        return attention
    return replace(
        attention,
        kind="self",
        query_grids=(layout.grid,),
        key_grids=(keys,),
        reduction=side,
        behind=layout.behind,
    )
