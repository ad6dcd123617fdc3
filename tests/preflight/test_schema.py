"""Promise: the schema takes sound configs, and refuses what the checks before a run refuse."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.errors import ConfigError, MMAttnError
from mmattn.preflight.schema import DIALECT, config_schema
from mmattn.type_names import scope_and_name
from tests.support.json_schema import errors

SOUND = {
    "mmdet": (
        "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py",
        "mmattn::folder/yolov12-n_1xb16-100e_folder-640x640.py",
    ),
    "mmseg": (
        "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
        "mmattn::folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py",
    ),
}
CASES = [(scope, name) for scope, names in SOUND.items() for name in names]


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    """As they are written: plain JSON."""
    return {scope: json.loads(json.dumps(config_schema(scope))) for scope in SOUND}


def plain(name: str) -> dict[str, Any]:
    """A config as a YAML file has it: classes by their names, tuples as lists."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: convert(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [convert(inner) for inner in value]
        return ".".join(map(str, scope_and_name(value, None))) if callable(value) else value

    return convert(load_config(name).to_dict())


@pytest.mark.parametrize(("scope", "name"), CASES)
def test_sound_configs_fit(scope: str, name: str, schemas: dict) -> None:
    config, schema = plain(name), schemas[scope]
    assert list(errors(config, schema, schema)) == []
    if importlib.util.find_spec("jsonschema"):
        import jsonschema

        jsonschema.Draft202012Validator(schema).validate(config)


@pytest.mark.slow
@pytest.mark.parametrize("scope", SOUND)
def test_a_config_of_each_of_upstreams_folders_fits(scope: str, schemas: dict) -> None:
    spec = importlib.util.find_spec(scope)
    assert spec is not None and spec.origin is not None
    folders = sorted((Path(spec.origin).parent / ".mim" / "configs").iterdir())
    fitting, wrong = 0, {}
    for folder in folders:
        file = next(iter(sorted(folder.glob("*.py"))), None)
        if folder.name == "_base_" or file is None:
            continue
        try:
            config = plain(str(file))
        except MMAttnError:
            continue  # it needs a package that is not installed
        if config.get("default_scope", scope) == scope:
            found = list(errors(config, schemas[scope], schemas[scope]))
            fitting += not found
            wrong |= {str(file): found} if found else {}
    assert not wrong
    assert fitting > 20


def test_a_yaml_config_that_is_loaded_fits(schemas: dict, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(plain(SOUND["mmdet"][0])))
    read = yaml.safe_load(file.read_text())
    assert list(errors(read, schemas["mmdet"], schemas["mmdet"])) == []
    loaded = load_config(str(file))
    assert loaded.model.backbone.type == read["model"]["backbone"]["type"]


@pytest.fixture(scope="module")
def mask_rcnn() -> dict[str, Any]:
    return plain(SOUND["mmdet"][1])


# Key, value, what is said of it.
WRONG = [
    ("model.type", 3, "fits none of"),
    ("train_dataloader.dataset.type", "CocoDataste", "fits none of"),
    ("train_dataloader.batch_sise", 2, "unexpected"),
    ("train_dataloader.dataset.pipeline.0.type", "LoadImage", "fits none of"),
    ("train_dataloader.dataset.pipeline.0.to_float", True, "unexpected"),
    ("train_dataloader.dataset.ann_file", 3, "is none of"),
    ("optim_wrapper.optimizer.type", "Adaam", "fits none of"),
    ("optim_wrapper.optimizer.momentumm", 0.9, "unexpected"),
    ("model.backbone.frozen_stages", "one", "fits none of"),
    ("val_evaluator.metriks", "bbox", "unexpected"),
    ("default_hooks.checkpoint.intervall", 1, "unexpected"),
    ("randomness.sead", 1, "unexpected"),
    ("log_processor.windw_size", 50, "unexpected"),
    ("train_dataloader.sampler.shufle", True, "unexpected"),
    ("default_scope", "mmseg", "is not 'mmdet'"),
    ("param_scheduler.0.start_factor", "small", "fits none of"),
]


@pytest.mark.parametrize(("key", "value", "said"), WRONG, ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_told_at_its_place(
    key: str, value: Any, said: str, schemas: dict, mask_rcnn: dict
) -> None:
    config = {**copy.deepcopy(mask_rcnn), "randomness": {"seed": 0}}
    *path, last = key.split(".")
    block: Any = config
    for part in path:
        block = block[int(part)] if part.isdigit() else block[part]
    block[last] = value
    found = list(errors(config, schemas["mmdet"], schemas["mmdet"]))
    place = re.sub(r"\.(\d+)", r"[\1]", key)
    assert any(one.startswith(f"{place}: ") and said in one for one in found), found


def test_what_is_missing_is_told(schemas: dict) -> None:
    config = {"train_dataloader": {"dataset": {"type": "RepeatDataset", "dataset": {}}}}
    assert list(errors(config, schemas["mmdet"], schemas["mmdet"])) == [
        "train_dataloader.dataset.times: missing"
    ]


def test_a_config_that_inherits_may_hold_parts(schemas: dict) -> None:
    config = {
        "_base_": "other.py",
        "model": {"bbox_head": {"num_classes": 3, "_delete_": True}},
        "train_dataloader": {"dataset": {"data_root": "here"}},
        "my_variable": {"type": "anything"},
    }
    assert list(errors(config, schemas["mmdet"], schemas["mmdet"])) == []


def test_the_schema_completes_names_arguments_and_defaults(schemas: dict) -> None:
    schema = schemas["mmdet"]
    assert schema["$schema"] == DIALECT
    names = schema["$defs"]["MODELS/TASK_UTILS"]["properties"]["type"]["anyOf"][0]["enum"]
    assert {"MaskRCNN", "mmdet.MaskRCNN", "mmattn.CBAM", "mmseg.FCNHead"} <= set(names)
    assert "FCNHead" not in names and "CBAM" not in names, "of other scopes"
    hook = schema["$defs"]["HOOKS: mmattn.engine.hooks.last_epochs_pipeline.LastEpochsPipelineHook"]
    assert hook["properties"]["last_epochs"]["default"] == 10
    assert hook["properties"]["last_epochs"]["description"] == "int = 10"
    assert hook["description"].startswith("Replace the training pipeline")
    assert hook["additionalProperties"] is False


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.schema.json"
    assert main(["config", "schema", "mmdet", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["properties"]["default_scope"] == {"const": "mmdet"}
    assert "definitions, for configs of mmdet" in capsys.readouterr().out
    assert main(["config", "schema", "mmdte"]) == 2
    assert "no scope is called 'mmdte'" in capsys.readouterr().err
    assert main(["config", "schema", "mmdet", "--import", "no_such_package"]) == 2
    assert "--import no_such_package: cannot be imported" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="Did you mean 'mmseg'"):
        config_schema("mmsegg")
