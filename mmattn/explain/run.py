"""Explain predictions of images: figures, arrays and a summary in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.errors import ConfigError, did_you_mean

from .explanation import Explanation
from .gradient_maps import outputs_of
from .methods import METHODS, explain
from .networks import Network, Sample
from .targets import Target, choose_target, parse_target

if TYPE_CHECKING:
    from mmengine.config import Config

DEFAULT_METHOD = "hires-cam"


@dataclass
class Options:
    """What is explained and how it is checked.

    Attributes:
        methods: Keys of ``METHODS``.
        at: Module, pattern or ``auto``.
        target: Words such as ``class=car``.
    """

    methods: Sequence[str] = (DEFAULT_METHOD,)
    at: str = "auto"
    target: Sequence[str] = ()

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(
                    f"--method {method}: no such method.{did_you_mean(method, METHODS)} There are "
                    f"{', '.join(METHODS)}"
                )


@dataclass
class Result:
    """Explanations of one image.

    Attributes:
        sample: The image.
        target: What is explained in it.
        explanations: Maps of all methods.
    """

    sample: Sample
    target: Target
    explanations: list[Explanation]


def explain_images(
    network: Network,
    images: Sequence[str | Path],
    out: str | Path,
    options: Options,
    log: Callable[[str], object] = print,
) -> list[Result]:
    """Explain images one by one and write PNG, npz and ``summary.json``.

    Args:
        network: Network.
        images: Files, folders and patterns.
        out: Folder to write to.
        options: Methods, place and target.
        log: Receives a line for every image.

    Returns:
        What was found.

    Raises:
        DataError: An image is missing, cannot be read, or has no such target.
        ConfigError: A method, a module or a class is not there.
    """
    from mmattn.inference.images import find_images
    from mmattn.inference.prediction_files import check_outputs

    from .figures import draw

    folder = Path(out)
    wish = parse_target(options.target, network.classes)
    files = find_images(images)
    names = check_outputs(files, folder, (figure_path, arrays_path))
    results = []
    for file in files:
        sample = network.prepare(file)
        target = choose_target(wish, network, outputs_of(network, sample), sample)
        found = [
            explanation
            for method in options.methods
            for explanation in explain(network, sample, target, method, options.at)
        ]
        results.append(Result(sample, target, found))
        figure = figure_path(names[file], folder)
        figure.parent.mkdir(parents=True, exist_ok=True)
        draw(figure, sample, target, found)
        save_arrays(arrays_path(names[file], folder), found)
        log(f"{file}: {target.name}; {figure}")
    return results


def figure_path(name: Path, out: Path) -> Path:
    """Return the file for the figure of an image of this name."""
    return out / name.parent / f"{name.name}_explained.png"


def arrays_path(name: Path, out: Path) -> Path:
    """Return the file for the raw maps of an image of this name."""
    return out / name.parent / f"{name.name}_explained.npz"


def save_arrays(path: Path, explanations: Sequence[Explanation]) -> None:
    """Write the raw maps, gates and points of an image."""
    from mmattn.io import atomic_write

    arrays: dict[str, Any] = {}
    for explanation in explanations:
        key = explanation.key
        if explanation.values is not None:
            arrays[key] = explanation.values
        if explanation.channels is not None:
            arrays[f"{key}_channels"] = explanation.channels
        if explanation.points is not None:
            for part in ("places", "weights", "levels", "heads"):
                arrays[f"{key}_{part}"] = getattr(explanation.points, part)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)
