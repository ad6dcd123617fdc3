"""The index of models: ``model-index.yml`` and the metafiles that it imports.

It lies beside the configs, in a checkout as in an installed package. A model may have an ``Alias``
there, a short name for it; those that have are the recipes for a folder of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError
from mmattn.io.plain_data import parse_yaml, read_text

#: Configs that are parts of others lie in folders of this name.
_BASES = "_base_"


@dataclass(frozen=True)
class Result:
    """Numbers of one model on one dataset, measured here.

    Attributes:
        data: Dataset and split.
        metrics: Name of a metric -> value.
        command: Command that trained the model, or measured it.
        commit: Commit of mmattn that ran it.
        machine: What it ran on.
        page: File of the repository that tells the run, with an anchor where it has one.
        note: What else a reader has to know; empty where there is nothing.
    """

    data: str
    metrics: Mapping[str, float] = field(hash=False)
    command: str = ""
    commit: str = ""
    machine: str = ""
    page: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{numbers(self.metrics)} on {self.data}{self.note and f' ({self.note})'}"


@dataclass(frozen=True)
class PaperResult:
    """Numbers of one model on one dataset, as its authors published them.

    Attributes:
        data: Dataset and split.
        metrics: Name of a metric -> value.
        source: Who says so: the paper, or a page of its authors.
        table: Table of the source; empty where it is not known.
        row: Row of the table.
        reproduced: Whether mmattn reaches the number, in words.
        note: What else a reader has to know; empty where there is nothing.
    """

    data: str
    metrics: Mapping[str, float] = field(hash=False)
    source: str
    table: str = ""
    row: str = ""
    reproduced: str = ""
    note: str = ""

    @property
    def place(self) -> str:
        """Source, table and row."""
        return ", ".join(filter(None, (self.source, self.table, self.row and f"row {self.row}")))

    def __str__(self) -> str:
        return f"{numbers(self.metrics)} on {self.data}{self.note and f' ({self.note})'}"


@dataclass(frozen=True)
class ModelEntry:
    """One model of the index.

    Attributes:
        name: Name of the model, which is that of its config.
        config: File of its config.
        alias: Short name; empty where it has none.
        collection: Name of the system that it belongs to.
        task: What it is for; several tasks are separated by commas.
        data: What it is trained on.
        architecture: Parts of the network.
        paper: Title and address of the paper; empty where the index names none.
        page: File of the repository with the system's page; empty where the index names none.
        parameters: Number of parameters; None where the index does not tell it.
        results: What was measured here.
        published: What the authors publish of this model.
        weights: Names of weights (``mmattn weights``) of other projects that fit the config.
    """

    name: str
    config: Path
    alias: str = ""
    collection: str = ""
    task: str = ""
    data: str = ""
    architecture: tuple[str, ...] = ()
    paper: tuple[str, str] = ("", "")
    page: str = ""
    parameters: int | None = None
    results: tuple[Result, ...] = ()
    published: tuple[PaperResult, ...] = ()
    weights: tuple[str, ...] = ()


@cache
def read_index(root: Path) -> tuple[ModelEntry, ...]:
    """Read the index that lies beside ``root``.

    Args:
        root: Folder ``configs``. ``model-index.yml`` lies beside it and names files relative to its
            own folder.

    Returns:
        The models in the order of the index.

    Raises:
        ConfigError: A file of it cannot be read, or names a config that is not there.
    """
    files = [root.parent / name for name in _read(root.parent / "model-index.yml")["Import"]]
    contents = [(file, _read(file)) for file in files]
    collections = {
        one["Name"]: one for _, content in contents for one in content.get("Collections", ())
    }
    return tuple(
        _entry(model, collections.get(model.get("In Collection"), {}), root.parent, file)
        for file, content in contents
        for model in content.get("Models", ())
    )


@cache
def config_names(root: Path) -> Mapping[str, tuple[Path, ...]]:
    """Return the configs below ``root`` by their names without ``.py``; bases are left out."""
    found: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*.py")):
        if _BASES not in file.parts:
            found.setdefault(file.stem, []).append(file)
    return {name: tuple(files) for name, files in found.items()}


def names_of(entries: Sequence[ModelEntry]) -> Iterator[tuple[str, Path]]:
    """Yield every name by which a model of the index can be called, and its config."""
    for entry in entries:
        if entry.alias:
            yield entry.alias, entry.config
    for entry in entries:
        yield entry.name, entry.config


def _read(file: Path) -> dict[str, Any]:
    return parse_yaml(read_text(file, ConfigError), file, ConfigError, fast=True) or {}


def _entry(
    model: Mapping[str, Any], collection: Mapping[str, Any], root: Path, file: Path
) -> ModelEntry:
    config = root / model["Config"]
    if not config.is_file():
        raise ConfigError(f"{file}: the config of {model['Name']} is not there: {config}")
    metadata = {**(collection.get("Metadata") or {}), **(model.get("Metadata") or {})}
    paper = model.get("Paper") or collection.get("Paper") or {}
    return ModelEntry(
        name=model["Name"],
        config=config,
        alias=model.get("Alias", ""),
        collection=model.get("In Collection", ""),
        task=_joined(metadata.get("Task")),
        data=_joined(metadata.get("Training Data")),
        architecture=tuple(metadata.get("Architecture") or ()),
        paper=(paper.get("Title", ""), paper.get("URL", "")),
        page=model.get("README") or collection.get("README") or "",
        parameters=metadata.get("Parameters"),
        results=tuple(_result(one) for one in model.get("Results") or ()),
        published=tuple(_paper_result(one) for one in model.get("Paper Results") or ()),
        weights=tuple(model.get("Weights Names") or ()),
    )


def numbers(metrics: Mapping[str, float]) -> str:
    """Return metrics in words, ``86.0 AP50, 56.4 AP``."""
    return ", ".join(f"{float(value)} {metric}" for metric, value in metrics.items())


def _result(one: Mapping[str, Any]) -> Result:
    return Result(
        data=str(one.get("Dataset", "")),
        metrics=dict(one.get("Metrics") or {}),
        command=one.get("Command", ""),
        commit=str(one.get("Commit", "")),
        machine=one.get("Machine", ""),
        page=one.get("Page", ""),
        note=one.get("Note", ""),
    )


def _paper_result(one: Mapping[str, Any]) -> PaperResult:
    return PaperResult(
        data=str(one.get("Dataset", "")),
        metrics=dict(one.get("Metrics") or {}),
        source=one.get("Source", ""),
        table=str(one.get("Table", "")),
        row=str(one.get("Row", "")),
        reproduced=one.get("Reproduced", ""),
        note=one.get("Note", ""),
    )


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value or ())
