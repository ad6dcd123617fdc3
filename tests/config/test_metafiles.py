"""Promise: model-index.yml and its metafiles have OpenMMLab's form, and name what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.json_schema import errors

ROOT = Path(__file__).resolve().parents[2]
INDEX = yaml.safe_load((ROOT / "model-index.yml").read_text("utf-8"))
TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
PAPER = {
    "type": "object",
    "properties": {
        "Title": {"type": "string"},
        "URL": {"type": "string", "pattern": "^https://"},
    },
    "required": ["Title", "URL"],
    "additionalProperties": False,
}
METADATA = {
    "type": "object",
    "properties": {
        "Task": TEXTS,
        "Training Data": TEXTS,
        "Training Techniques": TEXTS,
        "Training Resources": {"type": "string"},
        "Architecture": {"type": "array", "items": {"type": "string"}},
        "Parameters": {"type": "number"},
        "FLOPs": {"type": "number"},
        "Epochs": {"type": "number"},
        "Iterations": {"type": "number"},
    },
    "additionalProperties": False,
}
RESULT = {
    "type": "object",
    "properties": {
        "Task": {"type": "string"},
        "Dataset": {"type": "string"},
        "Metrics": {"type": "object", "additionalProperties": {"type": "number"}},
    },
    "required": ["Task", "Dataset", "Metrics"],
    "additionalProperties": False,
}
COLLECTION = {
    "type": "object",
    "properties": {
        "Name": {"type": "string"},
        "License": {"type": "string"},
        "Metadata": METADATA,
        "Paper": PAPER,
        "README": {"type": "string"},
        "Frameworks": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["Name", "Paper", "README"],
    "additionalProperties": False,
}
MODEL = {
    "type": "object",
    "properties": {
        "Name": {"type": "string"},
        "Alias": {"type": "string"},
        "In Collection": {"type": "string"},
        "Config": {"type": "string", "pattern": r"^configs/.*\.py$"},
        "Weights": {"type": "string"},
        "Metadata": METADATA,
        "Results": {"type": "array", "items": RESULT},
        "Paper": PAPER,
        "README": {"type": "string"},
    },
    "required": ["Name", "In Collection", "Config", "Metadata"],
    "additionalProperties": False,
}
METAFILE = {
    "type": "object",
    "properties": {
        "Collections": {"type": "array", "items": COLLECTION},
        "Models": {"type": "array", "items": MODEL},
    },
    "required": ["Models"],
    "additionalProperties": False,
}


def metafile(path: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_the_index_lists_every_metafile_of_the_configs() -> None:
    assert set(INDEX) == {"Import"}
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/*/metafile.yml")}
    assert set(INDEX["Import"]) == found and len(INDEX["Import"]) == len(found)


@pytest.mark.parametrize("path", INDEX["Import"])
def test_a_metafile_has_the_form(path: str) -> None:
    assert list(errors(metafile(path), METAFILE, METAFILE)) == []


def test_collections_are_there_and_their_pages_too() -> None:
    every = [metafile(path) for path in INDEX["Import"]]
    collections = [one for content in every for one in content.get("Collections", ())]
    names = [one["Name"] for one in collections]
    assert len(names) == len(set(names))
    assert all((ROOT / one["README"]).is_file() for one in collections)
    models = [model for content in every for model in content["Models"]]
    assert {model["In Collection"] for model in models} == set(names)
    assert all(Path(model["Config"]).stem == model["Name"] for model in models)


def test_a_wrong_metafile_is_found() -> None:
    wrong = {"Models": [{"Name": "a", "Config": "a.py", "Metadata": {"Parameters": "2 M"}}]}
    said = "\n".join(errors(wrong, METAFILE, METAFILE))
    assert "In Collection: missing" in said and "does not fit" in said and "2 M" in said


def test_the_metafile_of_a_system_passes_on_those_of_its_configs() -> None:
    for path in ROOT.glob("projects/*/metafile.yml"):
        content = yaml.safe_load(path.read_text("utf-8"))
        assert set(content) == {"Import"}, path
        for name in content["Import"]:
            assert (path.parent / name).resolve().relative_to(ROOT).as_posix() in INDEX["Import"]
