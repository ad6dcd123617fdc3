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
        results: What was measured: dataset, metric and value.
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
    results: tuple[tuple[str, str, float], ...] = field(default=())


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
    results = model.get("Results") or ()
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
        results=tuple(
            (str(one.get("Dataset", "")), metric, value)
            for one in results
            for metric, value in (one.get("Metrics") or {}).items()
        ),
    )


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value or ())
