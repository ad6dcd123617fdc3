"""``mmattn.WithPlugins``: any attention block at any place of any backbone, neck or head.

    dict(type='mmattn.WithPlugins',
         inner=dict(type='mmdet.ResNet', depth=18, init_cfg=dict(type='Pretrained', ...)),
         plugins=[dict(cfg=dict(type='mmattn.CBAM'), stages=(False, True, True, True)),
                  dict(cfg=dict(type='mmattn.ECA'), at='layer3.*.conv2')])

What is built is the inner network itself, class and all. The blocks lie in it under ``plugins`` and
are called by forward hooks, so the names of its weights stay what they were: pretrained files load,
``frozen_stages`` freezes what it froze before, and a detector that asks for an attribute of its
backbone finds it. How many channels a place has is found by running the network once
(``mmattn.plugins.dry_run``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from mmattn.errors import ConfigError
from mmattn.registry import MODELS

from .container import plugins_of
from .dry_run import RecordedOutputs, dry_run
from .entries import PluginEntry
from .feature_maps import find_layout


@MODELS.register_module()
def WithPlugins(
    inner: Mapping[str, Any] | nn.Module,
    plugins: Sequence[Mapping[str, Any]],
    *,
    input_shapes: Sequence[tuple[int, int, int]] | None = None,
    pretrained: str | None = None,
    train_cfg: Mapping[str, Any] | None = None,
    test_cfg: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build ``inner`` and insert blocks into it.

    Args:
        inner: Config of a backbone, neck or head, of any scope; or the module itself.
        plugins: Blocks, as a list of dicts with these keys:

            - ``cfg``: the block, as for ``plugins=`` of mmdet's ResNet. ``in_channels`` is found.
            - ``stages``: after which of the maps that the network returns, as one boolean for each
              of them or as their indices. The network's own later stages see the map without it.
            - ``at``: a pattern or a list of patterns; the block goes behind every submodule whose
              name matches, each with weights of its own, and all that follows sees its output.
              ``*``, ``?`` and ``[…]`` match within one part of a name: ``'layer3.*.conv2'``. The
              part of the model may stand in front, as ``mmattn slots`` prints it:
              ``'backbone.layer3'``.
            - ``frozen``: whether its weights and statistics are left as they are; False.

            Exactly one of ``stages`` and ``at``. Entries at one place act in their order.
        input_shapes: (C, H, W) of each map that a neck or head takes, or of an image, for networks
            on which made-up input does not work.
        pretrained: Weights of ``inner``; mmseg hands ``model.pretrained`` to its backbone this way.
        train_cfg: Settings of ``inner``; mmdet's detectors hand theirs to their heads this way.
        test_cfg: The same for tests.

    Returns:
        The inner network, with a new child ``plugins``.

    Raises:
        ConfigError: A pattern that matches nothing, ``stages`` of another length, a block that does
            not exist or cannot work with the channels at its place; ``inner`` is an
            ``nn.Sequential`` without a ``forward`` of its own.
    """
    handed = {"pretrained": pretrained, "train_cfg": train_cfg, "test_cfg": test_cfg}
    network = build_inner("WithPlugins", inner, handed)
    entries = [PluginEntry.read(entry, index) for index, entry in enumerate(_listed(plugins))]
    if not entries:
        return network
    _refuse_bare_sequential(network)
    names = {entry.index: entry.matches(network) for entry in entries}
    watched = dict.fromkeys(["", *(name for matches in names.values() for name in matches)])
    recorded = dry_run(network, list(watched), input_shapes=input_shapes)

    blocks = plugins_of(network)
    blocks.out_channels = _returned_channels(recorded[""])
    for entry in entries:
        for point in entry.insertion_points(network, names[entry.index], recorded):
            blocks.attach(network, point, entry)
    return network


def build_inner(
    wrapper: str, inner: Mapping[str, Any] | nn.Module, handed: Mapping[str, Any]
) -> nn.Module:
    """Build the network that a wrapper is given, with what its own builder hands on.

    Args:
        wrapper: Name of the wrapper, used in messages.
        inner: Config of the network, or the network.
        handed: Further arguments; empty ones are left out.

    Raises:
        ConfigError: ``inner`` is neither, or a network that further arguments come too late for.
    """
    handed = {key: value for key, value in handed.items() if value}
    if isinstance(inner, nn.Module):
        if handed:
            names = ", ".join(handed)
            raise ConfigError(f"{wrapper}: {names} is for an inner config, not a module.")
        return inner
    if isinstance(inner, Mapping):
        return MODELS.build({**inner, **handed})
    raise ConfigError(f"{wrapper}: inner must be a config with a `type`, got {inner!r}.")


def _refuse_bare_sequential(network: nn.Module) -> None:
    if isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward:
        raise ConfigError(
            f"WithPlugins: inner is a bare {type(network).__name__}, which calls all its children "
            "in turn, so also the child 'plugins' that holds the blocks. Make it a part of a "
            "module with a forward of its own (self.layers = nn.Sequential(…); return "
            "self.layers(x)), or put the blocks between the layers yourself."
        )


def _listed(plugins: Any) -> Sequence[Any]:
    if isinstance(plugins, (list, tuple)):
        return plugins
    raise ConfigError(f"WithPlugins: plugins must be a list of dicts, got {plugins!r}.")


def _returned_channels(record: RecordedOutputs) -> list[int] | None:
    """Return the channels of the network's feature maps, if feature maps are what it returns."""
    try:
        no_grids = [None] * len(record.outputs)
        return [
            find_layout(record.shapes(key), no_grids, record.image).channels
            for key in record.item_keys()
        ]
    except (TypeError, ValueError):
        return None
