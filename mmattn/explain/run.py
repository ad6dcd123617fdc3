"""Explain predictions of images: figures, arrays and a summary in a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mmattn.errors import ConfigError, did_you_mean

from .attention.views import attention_modules
from .checks import BASELINES, FaithfulnessOptions, check_maps
from .explanation import Explanation, NothingToShow
from .figures import Group, draw
from .gates import gate_modules
from .methods import METHODS, explain
from .networks import Network, Sample
from .page import write_page
from .pairs import matching_target
from .result import Result
from .sanity import check_randomisation
from .summary import summary_tables, write_summary
from .target import Target
from .targets import Wish, choose_target, parse_target

#: Shown where no method is asked for: what every network has, and what some have.
DEFAULT_METHODS = ("hires-cam", "attention", "gates")
#: File of the page.
PAGE = "report.html"


@dataclass
class Options:
    """What is explained and how it is checked.

    Attributes:
        methods: Keys of ``METHODS``; by default those of ``DEFAULT_METHODS`` that the network has
            something for.
        at: Module, pattern or ``auto``.
        target: Words such as ``class=car``.
        faithfulness: How maps are checked by deletion and insertion; None leaves it out.
        sanity_seeds: Repetitions of each step of parameter randomisation; 0 leaves it out.
    """

    methods: Sequence[str] = ()
    at: str = "auto"
    target: Sequence[str] = ()
    faithfulness: FaithfulnessOptions | None = None
    sanity_seeds: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(
                    f"--method {method}: no such method.{did_you_mean(method, METHODS)} There are "
                    f"{', '.join(METHODS)}"
                )


def explain_images(
    networks: Sequence[Network],
    images: Sequence[str | Path],
    out: str | Path,
    options: Options,
    log: Callable[[str], object] = print,
    command: str = "",
) -> list[Result]:
    """Explain images one by one and write PNG, npz, ``summary.json`` and ``report.html``.

    Args:
        networks: A network, or two that are compared: the second one explains what the first
            one's target is.
        images: Files, folders and patterns.
        out: Folder to write to.
        options: Methods, place and target.
        log: Receives a line for every image and the tables of the summary.
        command: Command that asked for it, for the page; "" where a program does.

    Raises:
        DataError: An image is missing, cannot be read, or has no such target.
        ConfigError: A method, a module or a class is not there.
    """
    from mmattn.inference.images import find_images
    from mmattn.inference.prediction_files import check_outputs

    folder = Path(out)
    for index, network in enumerate(networks[1:]):  # names of arrays and rows tell them apart
        if network.name in [other.name for other in networks[: index + 1]]:
            network.name += " (second)"
    wish = parse_target(options.target, networks[0].classes)
    files = find_images(images)
    names = check_outputs(files, folder, (figure_path, arrays_path))
    results: list[Result] = []
    figures: list[tuple[str, Path]] = []
    for file in files:
        found = _explain_image(networks, file, wish, options, log)
        results += found
        figure = figure_path(names[file], folder)
        figure.parent.mkdir(parents=True, exist_ok=True)
        several = len(networks) > 1
        draw(figure, [_group(result, several) for result in found])
        save_arrays(arrays_path(names[file], folder), found)
        figures.append((f"{file.name}: {found[0].target.name}", figure))
        target = found[0].target
        log(f"{file}: {target.name}{target.chosen and f' ({target.chosen})'}; {figure}")
    write_summary(folder / "summary.json", results, _settings(networks, options))
    tables = summary_tables(results)
    notes = list(_notes(networks[0], options, results))
    page = write_page(folder / PAGE, figures, tables, notes, command)
    for line in (*(f"\n{table.text()}" for table in tables), *notes, f"Report: {page}"):
        log(line)
    return results


def _notes(network: Network, options: Options, results: Sequence[Result]) -> Iterator[str]:
    """Yield what has to be known about the numbers, and what else could be looked at."""
    if options.faithfulness is not None:
        yield _how_checked(options.faithfulness)
    else:
        yield "raw: not checked; --faithfulness measures the maps against random ones"
    if not options.methods and options.at == "auto":
        shown = [one for result in results for one in result.explanations]
        for method, modules in (("attention", attention_modules), ("gates", gate_modules)):
            layers = {one.layer for one in shown if one.method == method}
            if layers:
                yield from _other_layers(method, layers, modules(network.model, "auto"))
    elif options.methods and not {"attention", "gates"} & set(options.methods):
        with suppress(NothingToShow):
            (first, *others) = attention_modules(network.model, "auto")
            have = f" and {len(others)} more have" if others else " has"
            yield f"{first}{have} attention or gates: --method attention, or gates, shows them"


def _other_layers(
    method: str, shown: Collection[str], modules: Mapping[str, nn.Module]
) -> Iterator[str]:
    """Yield a line where there are more layers of the kind of those that are shown."""
    kinds = {type(modules[name]) for name in shown if name in modules}
    others = [name for name, m in modules.items() if type(m) in kinds and name not in shown]
    if others:
        many = f"{len(others)} more layers" if len(others) > 1 else "another layer"
        like = f", such as {others[0]}" if len(others) > 1 else f", {others[0]}"
        yield f"{method} of {many}: --method {method} --at NAME{like}"


def _explain_image(
    networks: Sequence[Network],
    file: Path,
    wish: Wish,
    options: Options,
    log: Callable[[str], object],
) -> list[Result]:
    results: list[Result] = []
    for network in networks:
        sample = network.prepare(file)
        outputs = network.outputs_of(sample)
        if results:
            target = matching_target(results[0].target, results[0].sample, network, outputs, sample)
            if target is None:
                log(f"{file}: {network.name} finds nothing like {results[0].target.name}")
                continue
        else:
            target = choose_target(wish, network, outputs, sample)
        results.append(_explain(network, sample, target, options, log))
    return results


def _explain(
    network: Network,
    sample: Sample,
    target: Target,
    options: Options,
    log: Callable[[str], object],
) -> Result:
    result = Result(network.name, sample, target, [])
    for method in options.methods or DEFAULT_METHODS:
        try:
            result.explanations += explain(network, sample, target, method, options.at)
        except ConfigError as error:
            if method in (*options.methods, DEFAULT_METHODS[0]):
                raise
            if not isinstance(error, NothingToShow):  # it has some, which cannot be shown
                log(f"{sample.file}: {method} is left out: {error}")
    # A receptive field is none of the target.
    shown = [one for one in result.explanations if one.method != "receptive-field"]
    maps = [one for one in shown if one.values is not None]
    if options.faithfulness is not None and maps:
        grids = len({one.values.shape for one in maps if one.values is not None})
        passes = options.faithfulness.passes(len(maps), grids)
        several = f"{len(maps)} map{'s' * (len(maps) > 1)}"
        log(f"{sample.file}: the network runs {passes:,} times to check {several}")
        result.check = check_maps(network, sample, target, maps, options.faithfulness)
    if options.sanity_seeds:
        for one in maps:
            result.sanity[one.across] = check_randomisation(
                network, sample, one, _repeat(network, sample, target, one, options.at),
                seeds=options.sanity_seeds,
            )  # fmt: skip
            whole = result.sanity[one.across].spearman[-1]
            one.numbers["spearman_with_random_weights"] = whole
    return result


def _repeat(
    network: Network, sample: Sample, target: Target, first: Explanation, at: str
) -> Callable[[], Explanation]:
    """Return what makes the map ``first`` once more, with the weights as they are then."""

    def again() -> Explanation:
        found = explain(network, sample, target, first.method, at)
        same = [one for one in found if (one.place, one.name) == (first.place, first.name)]
        return (same or found)[0]

    return again


def _group(result: Result, several: bool) -> Group:
    label = result.network if several else ""
    return Group(result.sample, result.target, result.explanations, label)


def figure_path(name: Path, out: Path) -> Path:
    """Return the file for the figure of an image of this name."""
    return out / name.parent / f"{name.name}_explained.png"


def arrays_path(name: Path, out: Path) -> Path:
    """Return the file for the raw maps of an image of this name."""
    return out / name.parent / f"{name.name}_explained.npz"


def save_arrays(path: Path, results: Sequence[Result]) -> None:
    """Write the raw maps, gates and points of an image; a second network's keys have its name."""
    from mmattn.io import atomic_write

    arrays: dict[str, Any] = {}
    for index, result in enumerate(results):
        prefix = f"{result.network}_" if index else ""
        for explanation in result.explanations:
            key = prefix + explanation.key
            if explanation.values is not None:
                arrays[key] = explanation.values
            if explanation.channels is not None:
                arrays[f"{key}_channels"] = explanation.channels
            if explanation.points is not None:
                for part in ("places", "weights", "levels", "heads"):
                    arrays[f"{key}_{part}"] = getattr(explanation.points, part)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


def _settings(networks: Sequence[Network], options: Options) -> dict[str, Any]:
    return {
        "networks": [network.name for network in networks],
        "methods": list(options.methods or DEFAULT_METHODS),
        "at": options.at,
        "target": list(options.target),
        "faithfulness": None if options.faithfulness is None else asdict(options.faithfulness),
        "sanity_seeds": options.sanity_seeds,
    }


def _how_checked(options: FaithfulnessOptions) -> str:
    context = "; the target's own pixels were left alone" if options.context else ""
    return (
        f"Differences are to the mean of {options.random_maps} random maps of the same grid; "
        f"{options.steps} steps; deletion leaves {BASELINES[options.baseline]}, insertion begins "
        f"with a blur{context}; seed {options.seed}. Smaller is better for deletion, larger for "
        "insertion."
    )
