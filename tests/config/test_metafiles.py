"""Promise: model-index.yml and its metafiles have OpenMMLab's form, and name what is there."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmattn.weights.index import PACKAGED, read_index
from tests.docs.test_site import anchors
from tests.support.code_blocks import read_code_blocks
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
TEXT = {"type": "string", "pattern": r"\S"}
NUMBERS = {
    "Task": {"type": "string"},
    "Dataset": TEXT,
    "Metrics": {"type": "object", "additionalProperties": {"type": "number"}},
    "Note": TEXT,
}
#: What was measured here. Behind ``Metrics`` our own keys begin, which mim reads past.
RESULT = {
    "type": "object",
    "properties": {
        **NUMBERS,
        "Command": {"type": "string", "pattern": r"\bmmattn (train|test) "},
        "Commit": {"type": "string", "pattern": r"^[0-9a-f]{7,40}(-dirty)?$"},
        "Machine": TEXT,
        "Page": {"type": "string", "pattern": r"^docs/results/.*README\.md"},
    },
    "required": ["Task", "Dataset", "Metrics", "Command", "Commit", "Machine", "Page"],
    "additionalProperties": False,
}
#: What the authors publish, and whether it was reached here.
PAPER_RESULT = {
    "type": "object",
    "properties": {
        **NUMBERS,
        "Source": TEXT,
        "Table": TEXT,
        "Row": TEXT,
        "Reproduced": {"type": "string", "pattern": r"^(not )?reproduced\b"},
    },
    "required": ["Task", "Dataset", "Metrics", "Source", "Reproduced"],
    "additionalProperties": False,
}
WORDS = {
    "type": "object",
    "properties": {"Task": TEXT, "Parameters": TEXT, "Measured": TEXT, "Export": TEXT},
    "required": ["Task", "Measured", "Export"],
    "additionalProperties": False,
}
#: Cells of the READMEs' tables in two languages, and a paragraph for docs/models.md.
SUMMARY = {
    "type": "object",
    "properties": {"en": WORDS, "zh": WORDS, "Details": TEXT},
    "required": ["Details"],
    # A row in one README is one in the other; networks of others have none.
    "if": {"anyOf": [{"required": ["en"]}, {"required": ["zh"]}]},
    "then": {"required": ["en", "zh"]},
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
        "Summary": SUMMARY,
    },
    "required": ["Name", "README", "Summary"],
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
        "Metadata": {"allOf": [METADATA], "required": ["Task", "Training Data", "Parameters"]},
        "Results": {"type": "array", "items": RESULT},
        "Paper Results": {"type": "array", "items": PAPER_RESULT},
        "Weights Names": {"type": "array", "items": {"type": "string"}},
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
    with_paper = {one["Name"] for one in collections if "Paper" in one}
    assert all("Paper" in model or model["In Collection"] in with_paper for model in models)


GOOD = {
    "Collections": [
        {
            "Name": "A",
            "Paper": {"Title": "a", "URL": "https://arxiv.org/abs/2001.00001"},
            "README": "a.md",
            "Summary": {
                "en": {"Task": "t", "Measured": "m", "Export": "e"},
                "zh": {"Task": "t", "Measured": "m", "Export": "e"},
                "Details": "d",
            },
        }
    ],
    "Models": [
        {
            "Name": "a",
            "In Collection": "A",
            "Config": "configs/a/a.py",
            "Metadata": {"Task": "t", "Training Data": "d", "Parameters": 2},
            "Results": [
                {
                    "Task": "t",
                    "Dataset": "d",
                    "Metrics": {"mIoU": 1.0},
                    "Command": "OMP_NUM_THREADS=1 mmattn train a.py",
                    "Commit": "0123abc",
                    "Machine": "a CPU",
                    "Page": "docs/results/README.md#a",
                }
            ],
            "Paper Results": [
                {
                    "Task": "t",
                    "Dataset": "d",
                    "Metrics": {"mIoU": 2.0},
                    "Source": "the paper",
                    "Reproduced": "not reproduced",
                }
            ],
        }
    ],
}


def test_a_right_metafile_passes() -> None:
    assert list(errors(GOOD, METAFILE, METAFILE)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("Models[0].In Collection", None, "In Collection: missing"),
        ("Models[0].Config", "a.py", "does not fit"),
        ("Models[0].Metadata.Parameters", "2 M", "is none of"),
        ("Models[0].Metadata.Parameters", None, "Parameters: missing"),
        ("Models[0].Metadata.Params", 2, "unexpected"),
        ("Models[0].Results[0].Command", "python train.py a.py", "does not fit"),
        ("Models[0].Results[0].Command", None, "Command: missing"),
        ("Models[0].Results[0].Commit", "main", "does not fit"),
        ("Models[0].Results[0].Machine", None, "Machine: missing"),
        ("Models[0].Results[0].Page", "projects/a/README.md", "does not fit"),
        ("Models[0].Results[0].Metrics.mIoU", "66", "is none of"),
        ("Models[0].Paper Results[0].Source", None, "Source: missing"),
        ("Models[0].Paper Results[0].Reproduced", None, "Reproduced: missing"),
        ("Models[0].Paper Results[0].Reproduced", "no", "does not fit"),
        ("Models[0].Paper Results[0].Page", "docs/results/README.md", "unexpected"),
        ("Collections[0].Summary.zh", None, "zh: missing"),
        ("Collections[0].Summary.Details", None, "Details: missing"),
        ("Collections[0].Summary.en.Measured", "", "does not fit"),
        ("Collections[0].Summary.fr", {}, "unexpected"),
    ],
)
def test_a_wrong_metafile_is_found(path: str, value: object, said: str) -> None:
    wrong = deepcopy(GOOD)
    *inside, last = re.findall(r"[A-Z][A-Za-z ]+|[a-z]+[A-Za-z]*|\d+", path)
    place: Any = wrong
    for key in inside:
        place = place[int(key) if key.isdigit() else key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert said in "\n".join(errors(wrong, METAFILE, METAFILE))


def entries(key: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the results of all models under ``key``, each with its model."""
    models = [model for path in INDEX["Import"] for model in metafile(path)["Models"]]
    return [(model, one) for model in models for one in model.get(key, ())]


def test_the_example_of_the_guide_is_a_right_metafile() -> None:
    """Its numbers are those of the metafile that it is cut out of."""
    blocks = read_code_blocks(ROOT / "docs/add_a_system.md")
    example = yaml.safe_load(next(one.code for one in blocks if one.language == "yaml"))
    assert list(errors(example, METAFILE, METAFILE)) == []
    real = {model["Name"]: model for model in metafile("configs/ccnet/metafile.yml")["Models"]}
    for model in example["Models"]:
        ours = real[model["Name"]]
        assert model["Metadata"].items() <= ours["Metadata"].items()
        for key in ("Results", "Paper Results"):
            assert all(one in ours[key] for one in model.get(key, ()))


def test_what_was_measured_here_stands_on_its_page() -> None:
    """Every number, in percent or as a share, the commit, and the config that was trained."""
    wrong = []
    for model, result in entries("Results"):
        name, _, anchor = result["Page"].partition("#")
        text = (ROOT / name).read_text("utf-8")
        for value in result["Metrics"].values():
            if str(float(value)) not in text and f"{value / 100:.3f}" not in text:
                wrong.append(f"{model['Name']}: {value} is not on {name}")
        if result["Commit"] not in text:
            wrong.append(f"{model['Name']}: {result['Commit']} is not on {name}")
        if anchor and anchor not in anchors(ROOT / name):
            wrong.append(f"{model['Name']}: {result['Page']}")
        if f"{model['Name']}.py" not in result["Command"]:
            wrong.append(f"{model['Name']}: the command is of another config")
    assert not wrong


def test_a_number_is_called_reproduced_only_where_it_is_measured() -> None:
    for model, result in entries("Paper Results"):
        if result["Reproduced"].startswith("reproduced"):
            measured = {one["Dataset"] for one in model.get("Results", ())}
            assert result["Dataset"] in measured, model["Name"]


def test_published_numbers_are_those_of_the_index_of_weights() -> None:
    """Weights of a config of ours that the authors trained say the same number."""
    published: dict[str, set[float]] = {}
    for model, result in entries("Paper Results"):
        numbers = published.setdefault(f"mmattn::{model['Config'][8:]}", set())
        numbers.update(result["Metrics"].values())
    compared = 0
    for entry in read_index(PACKAGED).entries.values():
        authors = entry.system in ("BEVANet", "YOLOv12")  # the others' are trained by upstream
        if entry.metric and authors and entry.config in published:
            value = entry.metric.paper or entry.metric.upstream
            assert value in published[entry.config], entry.name
            compared += 1
    assert compared >= 6


def test_weights_that_a_metafile_names_are_in_the_index() -> None:
    known = read_index(PACKAGED).entries
    named = [model.get("Weights Names", ()) for path in INDEX["Import"]
             for model in metafile(path)["Models"]]  # fmt: skip
    assert {name for names in named for name in names} <= set(known)


def test_the_metafile_of_a_system_passes_on_those_of_its_configs() -> None:
    found = list(ROOT.glob("projects/*/metafile.yml"))
    assert {path.parent for path in found} == {p.parent for p in ROOT.glob("projects/*/README.md")}
    for path in found:
        content = yaml.safe_load(path.read_text("utf-8"))
        assert set(content) == {"Import"}, path
        for name in content["Import"]:
            assert (path.parent / name).resolve().relative_to(ROOT).as_posix() in INDEX["Import"]
