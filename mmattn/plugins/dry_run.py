"""Run a network on made-up input to record what its submodules return, and change nothing in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmattn.errors import ConfigError

from .feature_maps import Grid, grid_of

Shape = tuple[int, ...]
Input = Tensor | list[Tensor]
Result = TypeVar("Result")
#: Pairs of (height, width), the first that works is used. Not square, and width grows more than
#: height, which is what `find_layout` asks for; then sizes for networks that are particular.
_IMAGES = (((64, 96), (96, 160)), ((64, 64), (128, 128)), ((256, 256), (512, 512)))
_FIXED_IMAGES = (((224, 224),), ((256, 256),), ((384, 384),))


@dataclass
class RecordedOutputs:
    """Outputs of one module in a dry run, one for each size of the input.

    Attributes:
        outputs: Each output with every tensor replaced by its shape.
        grids: Height and width of the grid of tokens in each output, where the module was told.
        image: Height and width of the first input, if it was an image.
    """

    outputs: list[Any] = field(default_factory=list)
    grids: list[Grid | None] = field(default_factory=list)
    image: Grid | None = None

    def item_keys(self) -> list[Any]:
        """Return the keys of the items of an output; [None] where it is one tensor."""
        first = self.outputs[0]
        if isinstance(first, tuple):  # a shape
            return [None]
        return list(first) if isinstance(first, dict) else list(range(len(first)))

    def shapes(self, key: Any) -> list[Any]:
        """Return the shapes of the item ``key`` of all outputs, or of the outputs for None."""
        return [output if key is None else output[key] for output in self.outputs]

    def only_map(self) -> int | None:
        """Return the index of the only feature map in the output; None for the output itself."""
        first = self.outputs[0]
        if isinstance(first, list):
            maps = [i for i, item in enumerate(first) if isinstance(item, tuple) and len(item) == 4]
            if len(maps) == 1:
                return maps[0]
        return None


def dry_run(
    network: nn.Module,
    names: Sequence[str],
    *,
    input_shapes: Sequence[Shape] | None = None,
) -> dict[str, RecordedOutputs]:
    """Record what submodules of ``network`` return.

    The network is run in eval mode on zeros, at two sizes where it can be; weights, buffers, modes
    and the random state are afterwards what they were.

    Args:
        network: A backbone, which takes images, or a neck or head, which takes a list of maps.
        names: Names of submodules; ``""`` is the network itself.
        input_shapes: (C, H, W) of each map that it is given, or one for an image. By default
            it is made up from the network's ``in_channels``.

    Raises:
        ConfigError: The network could not be run; the message says how to help.
    """

    return _on_made_up_input(
        network, input_shapes, lambda inputs: record_outputs(network, names, inputs)
    )


def record_outputs(
    network: nn.Module, names: Sequence[str], inputs: Sequence[Input]
) -> dict[str, RecordedOutputs]:
    """Record what submodules of ``network`` return for each of ``inputs``, in eval mode.

    Args:
        network: Network; its buffers, modes and the random state are afterwards what they were.
        names: Names of submodules; ``""`` is the network itself.
        inputs: Inputs of the network, one after the other.
    """
    first = inputs[0]
    image = (first.shape[2], first.shape[3]) if isinstance(first, Tensor) else None
    recorded = {name: RecordedOutputs(image=image) for name in names}
    with preserve_state(network), _recording(network, recorded), torch.no_grad():
        for example in inputs:
            network(example)
    return recorded


def parameters_behind(network: nn.Module, num_maps: int) -> set[nn.Parameter]:
    """Find the parameters that the first feature maps of a backbone depend on.

    Args:
        network: Backbone, which takes images and returns feature maps.
        num_maps: Number of feature maps to look at, from the first.

    Raises:
        ConfigError: The network could not be run.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]

    def run(inputs: Sequence[Input]) -> set[nn.Parameter]:
        with torch.enable_grad():
            total = torch.stack([feature.sum() for feature in network(inputs[0])[:num_maps]]).sum()
            grads = torch.autograd.grad([total], parameters, allow_unused=True)
        return {p for p, grad in zip(parameters, grads, strict=True) if grad is not None}

    return _on_made_up_input(network, None, run)


def _on_made_up_input(
    network: nn.Module,
    input_shapes: Sequence[Shape] | None,
    run: Callable[[Sequence[Input]], Result],
) -> Result:
    """Call ``run`` on the first inputs that ``network`` can take."""
    failure: Exception | None = None
    with preserve_state(network):
        for inputs in _candidates(network, input_shapes):
            try:
                return run(inputs)
            except Exception as error:  # whatever a network raises on an input that is not for it
                failure = failure or error
    reason = " ".join(str(failure).split())[:300]
    raise ConfigError(
        f"{type(network).__name__} could not be run on made-up input to find its channels "
        f"({type(failure).__name__}: {reason}). Say what it is given: "
        "input_shapes=[(channels, height, width), …], one for each map, or one for an image."
    ) from failure


@contextmanager
def preserve_state(network: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards modes, buffers and random state are what they were."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    devices = {t.device for t in network.parameters() if t.device.type == "cuda"}
    for module, _ in modes:
        module.training = False  # not eval(): networks that freeze stages do more there
    try:
        with torch.random.fork_rng(sorted(devices, key=str)):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


@contextmanager
def _recording(network: nn.Module, recorded: Mapping[str, RecordedOutputs]) -> Iterator[None]:
    def recorder(record: RecordedOutputs):
        def hook(module, args, kwargs, output) -> None:
            record.outputs.append(shapes_of(output))
            tokens = isinstance(output, Tensor) and output.ndim == 3
            record.grids.append(grid_of(output, args, kwargs) if tokens else None)

        return hook

    handles = [
        network.get_submodule(name).register_forward_hook(recorder(record), with_kwargs=True)
        for name, record in recorded.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def shapes_of(output: Any) -> Any:
    """Return ``output`` with every tensor in it replaced by its shape."""
    if isinstance(output, Tensor):
        return Shape(output.shape)
    if isinstance(output, Mapping):
        return {key: shapes_of(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return [shapes_of(value) for value in output]
    return type(output)


def _candidates(network: nn.Module, input_shapes: Sequence[Shape] | None) -> Iterator[list[Input]]:
    """Yield inputs to try, each a list of inputs of growing size for one network."""
    weight = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))

    def zeros(*shape: int) -> Tensor:
        return weight.new_zeros((1, *shape))

    if input_shapes is not None:
        yield from _given(network, input_shapes, zeros)
        return
    if takes_maps(network):
        for levels in _map_channels(network, getattr(network, "in_channels", None)):
            # From the largest map down, each half the size of the one before.
            yield [
                [zeros(c, h >> i, w >> i) for i, c in enumerate(levels)]
                for h, w in ((64, 128), (128, 256))
            ]
        return
    for planes in _image_channels(network):
        for sizes in (*_IMAGES, *_own_sizes(network), *_FIXED_IMAGES):
            yield [zeros(planes, h, w) for h, w in sizes]


def _given(network: nn.Module, shapes: Sequence[Shape], zeros) -> Iterator[list]:
    try:
        shapes = [(int(c), int(h), int(w)) for c, h, w in shapes]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"input_shapes must be a list of (C, H, W), got {shapes!r}.") from error
    for bigger in ((1, 2), (1, 1)):
        runs = [[zeros(c, h * k, w * k) for c, h, w in shapes] for k in dict.fromkeys(bigger)]
        single = [[maps[0] for maps in runs]] if len(shapes) == 1 else []
        # A head of mmseg would take one map for a batch of them.
        yield from [runs, *single] if takes_maps(network) else [*single, runs]


def takes_maps(network: nn.Module) -> bool:
    """Return whether this is a neck or a head, which takes feature maps, and no backbone."""
    return (
        isinstance(getattr(network, "in_channels", None), (tuple, list))
        or ".necks." in type(network).__module__
        or is_head(network)
    )


def is_head(network: nn.Module) -> bool:
    """Return whether this is a head; those of mmseg choose their feature maps by ``in_index``."""
    return hasattr(network, "in_index") or "_heads." in type(network).__module__


def _map_channels(network: nn.Module, channels: Any) -> Iterator[list[int]]:
    """Yield the channels of the maps that a neck or head may take, from the largest map down."""
    index = getattr(network, "in_index", None)
    if index is not None:
        yield _maps_by_index(index, channels)
    elif isinstance(channels, (tuple, list)):
        yield list(channels)
        yield list(channels)[::-1]  # necks of the YOLO family count from the smallest map
    elif isinstance(channels, int):
        stated = getattr(network, "num_levels", None) or getattr(network, "num_ins", None)
        for levels in (stated,) if isinstance(stated, int) else (4, 5, 3, 1):
            yield [channels] * levels


def _maps_by_index(index: int | Sequence[int], channels: int | Sequence[int]) -> list[int]:
    """Return channels of maps: ``channels`` for those at ``index``, 1 for those between."""
    indices = [index] if isinstance(index, int) else list(index)
    if isinstance(channels, int):
        # Of maps that are concatenated, mmseg's heads keep the sum.
        channels = [channels - len(indices) + 1] + [1] * (len(indices) - 1)
    # Enough for those from either end, apart from each other.
    maps = [1] * (max(0, *(i + 1 for i in indices)) + max(0, *(-i for i in indices)))
    for position, width in zip(indices, channels, strict=True):
        maps[position] = width
    return maps


def _image_channels(network: nn.Module) -> Iterator[int]:
    """Yield numbers of channels that images may have, the likeliest first; 3 is among them.

    The first convolution comes before ``in_channels``, since some networks count that up while they
    build their layers. It may have others too: YOLO's stem folds four pixels into channels.
    """
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    stated = [getattr(network, name, None) for name in ("in_channels", "in_chans")]
    yield from dict.fromkeys(
        count for count in (first and first.in_channels, *stated, 3) if isinstance(count, int)
    )


def _own_sizes(network: nn.Module) -> Iterator[tuple[tuple[int, int], ...]]:
    """Yield the size that a network says it is made for."""
    for name in ("img_size", "pretrain_img_size", "input_size"):
        size = getattr(network, name, None)
        if isinstance(size, int):
            yield ((size, size),)
        elif isinstance(size, (tuple, list)) and len(size) >= 2:
            yield (tuple(size[-2:]),)
