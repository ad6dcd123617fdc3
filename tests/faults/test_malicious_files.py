"""Promise: files of data run nothing and lead nowhere: configs, annotations, lists, archives.

Each artefact would make a canary file, or read outside of its folder, where a reader trusts it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from mmattn.boxes import BoxFolder, FolderDetDataset
from mmattn.config import load_config
from mmattn.data.datasets.folder import FolderSegDataset
from mmattn.errors import ConfigError, DataError
from mmattn.preflight.data import check_dataset
from tests.support.box_folders import (
    objects_of,
    write_coco,
    write_image,
    write_panoptic,
    write_voc,
    write_yolo,
)

# mmengine leaves its copy of a config open when reading it fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TRAIN = "annotations/instances_train2017.json"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that an artefact makes when it is run."""
    return tmp_path / "canary"


# --- configs -------------------------------------------------------------------------------------


def touch(canary: Path) -> str:
    """Python that makes the canary."""
    return f"__import__('pathlib').Path({str(canary)!r}).touch()"


def yaml_bomb() -> str:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


#: Name -> text of a YAML file; CANARY stands for the path.
YAML: dict[str, tuple[str, str]] = {
    "apply": (
        "model:\n  type: !!python/object/apply:os.system ['touch CANARY']\n",
        r"config\.yaml, line 2: the tag !!python/object/apply:os\.system",
    ),
    "apply eval": (
        "x: !!python/object/apply:builtins.eval [\"open('CANARY', 'w')\"]\n",
        r"line 1: the tag !!python/object/apply:builtins\.eval",
    ),
    "apply Popen": (
        "x: !!python/object/apply:subprocess.Popen [['touch', 'CANARY']]\n",
        r"line 1: the tag !!python/object/apply:subprocess\.Popen",
    ),
    "new with state": (
        "a: 1\nx: !!python/object/new:type\n  args: ['z', !!python/tuple [], "
        "{'extend': !!python/name:exec }]\n  listitems: \"open('CANARY', 'w')\"\n",
        r"line 2: the tag !!python/object/new:type",
    ),
    "object": (
        "x: !!python/object:collections.Counter {}\n",
        r"line 1: the tag !!python/object:collections\.Counter",
    ),
    "name": ("x: !!python/name:os.system\n", r"the tag !!python/name:os\.system"),
    "module": ("x: !!python/module:antigravity\n", r"the tag !!python/module:antigravity"),
    "own tag": ("x: !evil\n  cmd: touch CANARY\n", r"line 1: the tag !evil"),
    "tagged key": (
        "? !!python/object/apply:os.system ['touch CANARY']\n: 1\n",
        r"line 1: the tag !!python/object/apply",
    ),
    "tag directive": (
        "%TAG ! tag:yaml.org,2002:python/object/apply:\n---\nx: !os.system ['touch CANARY']\n",
        r"line 3: the tag !!python/object/apply:os\.system",
    ),
    "bomb": (yaml_bomb(), r"line \d+: references to references stand for more than"),
    "contains itself": ("x: &x [*x]\n", r"line 1: a value contains itself"),
    "depth": ("x: " + "[" * 5000, r"nested too deeply"),
    "a key twice": (
        "model: {type: A}\nmodel: {type: B}\n",
        r"line 2: the key 'model' is there twice",
    ),
    "dotted type": (
        "model:\n  type: os.system\n  command: touch CANARY\n",
        r"line 2: model\.type='os\.system': 'os' is not a package with registries.*Python config",
    ),
    "custom_imports": (
        "custom_imports:\n  imports: [evil]\n",
        r"line 2: custom_imports\.imports\[0\]='evil': .*Python config",
    ),
}


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("place", ["itself", "base of YAML", "base of Python"])
def test_yaml_configs(name: str, place: str, tmp_path: Path, canary: Path, monkeypatch) -> None:
    text, message = YAML[name]
    (tmp_path / "evil.py").write_text(f"{touch(canary)}\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("CANARY", str(canary)))
    if place == "base of YAML":
        (tmp_path / "child.yml").write_text("_base_: ./config.yaml\n")
        config = tmp_path / "child.yml"
    elif place == "base of Python":
        (tmp_path / "child.py").write_text("_base_ = ['config.yaml']\n")
        config = tmp_path / "child.py"
    with pytest.raises(ConfigError, match=message) as error:
        load_config(config)
    assert "config.yaml" in str(error.value)
    assert not canary.exists()


def test_the_yaml_payloads_are_armed(tmp_path: Path, canary: Path) -> None:
    """PyYAML's full loader, which mmengine uses, makes the canary."""
    for name in ("apply", "apply eval", "apply Popen", "tagged key", "tag directive"):
        canary.unlink(missing_ok=True)
        text = YAML[name][0].replace("CANARY", str(canary))
        try:
            made = yaml.load(text, Loader=yaml.UnsafeLoader)
        except yaml.YAMLError:
            made = None
        for value in made.values() if isinstance(made, dict) else ():
            if isinstance(value, subprocess.Popen):
                value.wait()
        assert canary.exists(), name


JSON: dict[str, tuple[Any, str]] = {
    "function": ({"model": {"type": "os.system", "command": "touch CANARY"}}, r"model\.type="),
    "deep": (
        {
            "train_dataloader": {
                "dataset": {"pipeline": [{"type": "subprocess.run", "args": ["x"]}]}
            }
        },
        r"train_dataloader\.dataset\.pipeline\[0\]\.type='subprocess\.run'",
    ),
    "path of a class": ({"model": {"type": "mmdet.models.RetinaNet"}}, r"not by the path of a mod"),
    "hook": ({"custom_hooks": [{"type": "evil.Hook"}]}, r"'evil' is not a package with regis"),
    "constructor": ({"optim_wrapper": {"constructor": "evil.Make"}}, r"optim_wrapper\.constructor"),
    "worker_init_fn": (
        {"train_dataloader": {"worker_init_fn": {"type": "evil.start"}}},
        r"worker_init_fn\.type='evil\.start'",
    ),
    "collate_fn": (
        {"train_dataloader": {"collate_fn": {"type": "os.system"}}},
        r"collate_fn\.type='os\.system'",
    ),
    "runner_type": ({"runner_type": "evil.Runner"}, r"runner_type='evil\.Runner'"),
    "default_scope": ({"default_scope": "evil"}, r"default_scope='evil': .*it would be imported"),
    "scope": ({"model": {"type": "A", "_scope_": "evil"}}, r"model\._scope_='evil'"),
    "expression": (
        {"model": {"type": "__import__('os').system('touch CANARY')"}},
        r"not by the path of a module",
    ),
    "evaluated NMS": (
        {"model": {"test_cfg": {"nms": {"type": "exec", "x": 1}}}},
        r"model\.test_cfg\.nms\.type='exec': the name of an NMS operator",
    ),
    "evaluated NMS text": (
        {"model": {"test_cfg": {"nms": {"type": "open('CANARY', 'w')"}}}},
        r"model\.test_cfg\.nms\.type=",
    ),
    "evaluated mode": (
        {"model": {"motion": {"type": "CameraMotionCompensation", "warp_mode": "open('CANARY')"}}},
        r"warp_mode=.*this text is evaluated as code",
    ),
    "custom_imports": ({"custom_imports": {"imports": "evil"}}, r"custom_imports\.imports='evil'"),
    "custom_imports, some": (
        {"custom_imports": {"imports": ["mmattn", "evil"], "allow_failed_imports": True}},
        r"custom_imports\.imports\[1\]='evil'",
    ),
    "Python base": ({"_base_": "evil.py"}, r"_base_='evil\.py': a Python config runs when it is"),
    "Python bases": ({"_base_": ["./evil.py"]}, r"_base_\[0\]='\./evil\.py'"),
    "out of a package": (
        {"_base_": "mmdet::../../../../../../../../../../../evil.py"},
        r"There is no config|leads out of the configs of the package",
    ),
    "pickle": (
        {"model": {"decode_head": {"loss": {"class_weight": "weights.pkl"}}}},
        r"class_weight='weights\.pkl': a pickle runs what it contains",
    ),
    "pickled arrays": (
        {"test_pipeline": [{"type": "LoadBiomedicalImageFromFile", "decode_backend": "pickle"}]},
        r"decode_backend='pickle': a pickle runs",
    ),
}


@pytest.mark.parametrize("name", JSON)
def test_json_configs(name: str, tmp_path: Path, canary: Path, monkeypatch) -> None:
    content, message = JSON[name]
    for folder in ("evil", "evil/registry"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "__init__.py").write_text(f"{touch(canary)}\n")
    (tmp_path / "evil.py").write_text(f"{touch(canary)}\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(content, indent=2).replace("CANARY", str(canary)))
    with pytest.raises(ConfigError, match=message) as error:
        load_config(config)
    assert "config.json" in str(error.value)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, r"nested too deeply"),
        ('{"model": {}, "model": {"type": "X"}}', r"the key 'model' twice"),
        ('{"a": ' + "9" * 5000 + "}", r"cannot be read as JSON"),
        ("[1, 2]", r"holds list, not a mapping"),
        ('{"model": ', r"not valid JSON"),
        ('{"_base_": "config.json"}', r"goes in a circle: config\.json -> config\.json"),
    ],
)
def test_json_that_is_no_config(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "config.json")


def test_names_of_data_are_not_imported_at_the_build(
    tmp_path: Path, canary: Path, monkeypatch
) -> None:
    """A bare name is looked up in registries alone; mmengine imports the module of that name."""
    from mmengine.registry import MODELS

    (tmp_path / "evil_module.py").write_text(f"{touch(canary)}\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.json").write_text('{"model": {"type": "evil_module"}}')
    cfg = load_config(tmp_path / "config.json")
    with pytest.raises(KeyError, match="evil_module"):
        MODELS.build(dict(cfg.model))
    assert not canary.exists()


def test_names_of_a_package_are_registered_ones(tmp_path: Path, canary: Path) -> None:
    """``mmengine.load`` is a function of a package that may be named."""
    from mmengine.registry import MODELS

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Payload(canary)))
    content = {"model": {"type": "mmengine.load", "file": str(tmp_path / "x.p")}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    cfg = load_config(tmp_path / "config.json")
    with pytest.raises(KeyError, match=r"mmengine\.load|load is not in"):
        MODELS.build({"type": cfg.model.type, "file": str(tmp_path / "x.pkl")})
    assert not canary.exists()


def test_ordinary_data_configs_load(tmp_path: Path) -> None:
    text = """\
    _base_: mmattn::_base_/default_runtime.py
    default_scope: mmdet
    custom_imports: {imports: [mmattn]}
    load_from: https://example.org/detectron2.pkl
    model: {type: mmdet.RetinaNet, neck: {type: mmattn.WithPlugins}, size: !!python/tuple [1, 2]}
    """
    (tmp_path / "c.yaml").write_text(re.sub(r"(?m)^    ", "", text))
    cfg = load_config(tmp_path / "c.yaml")
    assert cfg.model.neck.type == "mmattn.WithPlugins" and cfg.default_scope == "mmdet"
    assert cfg.model["size"] == (1, 2)


def test_mmengine_reads_yaml_as_data_too(tmp_path: Path, canary: Path) -> None:
    import mmengine

    (tmp_path / "x.yaml").write_text(YAML["apply"][0].replace("CANARY", str(canary)))
    with pytest.raises(yaml.YAMLError):
        mmengine.load(str(tmp_path / "x.yaml"))
    with pytest.raises(ConfigError, match=r"x\.yaml, line 2: the tag"):
        mmengine.Config.fromfile(str(tmp_path / "x.yaml"))
    assert not canary.exists()


# --- pickles -------------------------------------------------------------------------------------


class Payload:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple:
        return open, (self.canary, "w")


@pytest.mark.parametrize("ending", ["pkl", "pickle"])
@pytest.mark.parametrize("cls", ["mmdet.CocoDataset", "mmseg.ADE20KDataset"])
def test_annotations_that_are_pickles(ending: str, cls: str, tmp_path: Path, canary: Path) -> None:
    path = tmp_path / f"ann.{ending}"
    path.write_bytes(pickle.dumps(Payload(canary)))
    cfg = {"type": cls, "data_root": str(tmp_path), "ann_file": path.name, "pipeline": []}
    with pytest.raises(DataError, match=rf"ann\.{ending}' is a pickle, .* save it as JSON"):
        check_dataset(cfg, "train_dataloader.dataset")
    assert not canary.exists()


def test_mmengine_s_own_reader_refuses_them_too(tmp_path: Path, canary: Path) -> None:
    from mmengine.dataset import BaseDataset

    (tmp_path / "ann.pkl").write_bytes(pickle.dumps(Payload(canary)))
    with pytest.raises(DataError, match=r"ann\.pkl is a pickle"):
        BaseDataset(ann_file=str(tmp_path / "ann.pkl"))
    assert not canary.exists()


def test_the_pickle_is_armed(canary: Path) -> None:
    pickle.loads(pickle.dumps(Payload(canary))).close()
    assert canary.exists()


# --- archives ------------------------------------------------------------------------------------


def tar_of(path: Path, member: tarfile.TarInfo, content: bytes = b"", mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zip_of(path: Path, name: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "tar, parent": lambda d: tar_of(d / "a.tar", tarfile.TarInfo("../canary"), b"x"),
    "tar, absolute": lambda d: tar_of(d / "a.tar", tarfile.TarInfo(str(d / "canary")), b"x"),
    "tar, symbolic link": lambda d: tar_of(d / "a.tar", link("x", "/etc", tarfile.SYMTYPE)),
    "tar, hard link": lambda d: tar_of(d / "a.tar", link("x", "/etc/passwd", tarfile.LNKTYPE)),
    "tar, device": lambda d: tar_of(d / "a.tar", link("x", "", tarfile.CHRTYPE)),
    "tar, pipe": lambda d: tar_of(d / "a.tar", link("x", "", tarfile.FIFOTYPE)),
    "tar.gz": lambda d: tar_of(d / "a.tar.gz", tarfile.TarInfo("../canary"), b"x", "w:gz"),
    "tar.xz bomb": lambda d: tar_of(d / "a.tar.xz", tarfile.TarInfo("b"), bytes(10**6), "w:xz"),
    "zip, parent": lambda d: zip_of(d / "a.zip", "../canary"),
    "zip, absolute": lambda d: zip_of(d / "a.zip", str(d / "canary")),
    "zip bomb": lambda d: zip_of(d / "a.zip", "b", bytes(10**6)),
    "zip by another name": lambda d: zip_of(d / "a.json", "../canary"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_refused_with_the_command(name: str, tmp_path: Path, canary: Path) -> None:
    (tmp_path / "d").mkdir()
    archive = ARCHIVES[name](tmp_path / "d")
    before = sorted(tmp_path.rglob("*"))
    message = r"is an archive, .*\(python -m (zipfile|tarfile --filter data) -e "
    with pytest.raises(DataError, match=message):
        FolderDetDataset(str(archive))
    with pytest.raises(DataError, match=message):
        FolderSegDataset(str(archive))
    cfg = {"type": "mmdet.CocoDataset", "data_root": str(archive), "pipeline": []}
    with pytest.raises(DataError, match=message):
        check_dataset(cfg, "here")
    assert sorted(tmp_path.rglob("*")) == before and not canary.exists()


@pytest.mark.parametrize("name", ["tar, parent", "zip, parent", "tar, symbolic link"])
def test_the_command_leads_nowhere_either(name: str, tmp_path: Path, canary: Path) -> None:
    if sys.version_info < (3, 11, 4):
        pytest.skip("this Python's tarfile has no --filter on its command line")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/out").mkdir()
    archive = ARCHIVES[name](tmp_path / "d")
    with pytest.raises(DataError) as error:
        FolderDetDataset(str(archive))
    command = re.search(r"\(python (-m [^)]*)\)", str(error.value))
    assert command
    subprocess.run([sys.executable, *command[1].split()], capture_output=True, timeout=60)
    outside = [path for path in (tmp_path / "d").iterdir() if path.name == "canary"]
    assert not outside and not canary.exists()
    assert not any(path.is_symlink() for path in (tmp_path / "d").rglob("*"))


# --- paths that lead out -------------------------------------------------------------------------


def change(file: Path, edit: Callable[[dict], Any]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """An image outside of the dataset."""
    path = tmp_path / "private/secret.png"
    write_image(path, objects_of(0))
    return path


def coco_absolute(root: Path, secret: Path) -> None:
    change(root / TRAIN, lambda c: c["images"][0].update(file_name=str(secret)))


def coco_device(root: Path, secret: Path) -> None:
    change(root / TRAIN, lambda c: c["images"][0].update(file_name="/dev/zero"))


def coco_zero_byte(root: Path, secret: Path) -> None:
    change(root / TRAIN, lambda c: c["images"][0].update(file_name="/etc/a\0.png"))


def coco_link(root: Path, secret: Path) -> None:
    image = next((root).rglob("000.png"))
    image.unlink()
    image.symlink_to(secret)


def coco_pipe(root: Path, secret: Path) -> None:
    image = next((root).rglob("000.png"))
    image.unlink()
    os.mkfifo(image)


@pytest.mark.parametrize(
    "spoil", [coco_absolute, coco_device, coco_link, coco_pipe, coco_zero_byte]
)
def test_coco_folders(spoil: Callable[[Path, Path], None], tmp_path: Path, secret: Path) -> None:
    root = write_coco(tmp_path / "d")
    spoil(root, secret)
    message = r"1 images lie outside of .*A dataset reads only below its own folder.*allow_outside"
    if spoil in (coco_pipe, coco_zero_byte):  # there is no such file
        message = r"1 of 4 images that it names are not below"
    with pytest.raises(DataError, match=message):
        BoxFolder(str(root)).records("train")
    if spoil in (coco_absolute, coco_link):
        assert len(BoxFolder(str(root), allow_outside=True).records("train").images) == 4


@pytest.mark.parametrize(
    "name", ["../../private/secret.png", "ABSOLUTE", "https://a.example/b.png"]
)
def test_plain_coco(name: str, tmp_path: Path, secret: Path, monkeypatch) -> None:
    root = write_coco(tmp_path / "d")
    name = name.replace("ABSOLUTE", str(secret))
    change(root / TRAIN, lambda c: c["images"][0].update(file_name=name))
    cfg = {
        "type": "mmdet.CocoDataset",
        "data_root": str(root),
        "ann_file": TRAIN,
        "data_prefix": {"img": "train2017/"},
        "metainfo": {"classes": ("dot", "cell", "rod")},
        "pipeline": [{"type": "LoadImageFromFile"}],
    }
    with pytest.raises(DataError, match=r"1 files lie outside of .*MMATTN_ALLOW_OUTSIDE=1"):
        check_dataset(cfg, "train_dataloader.dataset")
    if not name.startswith("http"):
        monkeypatch.setenv("MMATTN_ALLOW_OUTSIDE", "1")
        assert check_dataset(cfg, "train_dataloader.dataset").entries == 4


@pytest.mark.parametrize("name", ["../../../private/secret.png", "ABSOLUTE"])
def test_panoptic_maps(name: str, tmp_path: Path, secret: Path) -> None:
    root = write_panoptic(tmp_path / "d")
    file = next(root.rglob("panoptic*train*.json"))
    name = name.replace("ABSOLUTE", str(secret))
    change(file, lambda c: c["annotations"][1].update(file_name=name))
    with pytest.raises(DataError, match=r"1 panoptic maps lie outside of"):
        BoxFolder(str(root), targets="panoptic").records("train")


def yolo_list(root: Path, line: str) -> Path:
    (root / "list.txt").write_text(f"{line}\n")
    description = root / "data.yaml"
    description.write_text("names: [cell, dot, rod]\ntrain: list.txt\nval: list.txt\n")
    return description


@pytest.mark.parametrize("line", ["../private/secret.png", "ABSOLUTE"])
def test_lists_of_yolo(line: str, tmp_path: Path, secret: Path) -> None:
    root = write_yolo(tmp_path / "d")
    line = line.replace("ABSOLUTE", str(secret))
    secret.with_suffix(".txt").write_text("0 0.5 0.5 0.1 0.1\n")
    description = yolo_list(root, line)
    with pytest.raises(DataError, match=r"files lie outside of .*secret\.png.*allow_outside"):
        BoxFolder(str(description)).records("train")
    allowed = BoxFolder(str(description), allow_outside=True)
    assert len(allowed.records("train").images) == 1


@pytest.mark.parametrize("entry", ["../private", "ABSOLUTE", "/"])
def test_folders_of_a_data_yaml(entry: str, tmp_path: Path, secret: Path) -> None:
    root = write_yolo(tmp_path / "d")
    entry = entry.replace("ABSOLUTE", str(secret.parent))
    (root / "data.yaml").write_text(f"names: [cell, dot, rod]\ntrain: {entry}\nval: {entry}\n")
    with pytest.raises(DataError, match=r"data\.yaml: .*1 places lie outside of .*allow_outside"):
        BoxFolder(str(root / "data.yaml")).records("train")


def test_a_path_in_a_data_yaml(tmp_path: Path, secret: Path) -> None:
    root = write_yolo(tmp_path / "d")
    write_image(secret.parent / "inner/a.png", objects_of(0))
    (root / "data.yaml").write_text(f"path: {secret.parent}\nnames: [a]\ntrain: inner\n")
    with pytest.raises(DataError, match=r"lie outside of"):
        BoxFolder(str(root / "data.yaml")).records("train")


def test_an_object_in_a_data_yaml(tmp_path: Path, canary: Path) -> None:
    root = write_yolo(tmp_path / "d")
    text = f"train: images\nnames: !!python/object/apply:os.system ['touch {canary}']\n"
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data\.yaml, line 2: the tag !!python/object/apply"):
        BoxFolder(str(root / "data.yaml"))
    assert not canary.exists()


@pytest.mark.parametrize("line", ["../../private/secret", "ABSOLUTE"])
def test_lists_of_plain_voc(line: str, tmp_path: Path, secret: Path) -> None:
    root = write_voc(tmp_path / "d")
    line = line.replace("ABSOLUTE", str(secret.with_suffix("")))
    lists = root / "ImageSets/Main/train.txt"
    lists.write_text(f"{lists.read_text().splitlines()[0]}\n{line}\n")
    # The reader finds an annotation and an image there.
    for ending in (".xml", ".jpg"):
        secret.with_suffix(ending).write_bytes((root / "Annotations/000.xml").read_bytes())
    for image in (root / "JPEGImages").glob("*.png"):
        image.rename(image.with_suffix(".jpg"))
    cfg = {
        "type": "mmdet.VOCDataset",
        "data_root": str(root),
        "ann_file": "ImageSets/Main/train.txt",
        "data_prefix": {"sub_data_root": ""},
        "metainfo": {"classes": ("cell", "dot", "rod")},
        "pipeline": [{"type": "LoadImageFromFile"}],
    }
    with pytest.raises(DataError, match=r"files lie outside of|cannot be read"):
        check_dataset(cfg, "here")


def test_lists_of_mmseg(tmp_path: Path, secret: Path) -> None:
    write_image(tmp_path / "d/img/a.png", objects_of(0))
    cv2.imwrite(str(tmp_path / "d/img/a_mask.png"), np.zeros((64, 96), np.uint8))
    (tmp_path / "d/list.txt").write_text("a\n../../private/secret\n")
    cfg = {
        "type": "mmseg.BaseSegDataset",
        "data_root": str(tmp_path / "d"),
        "ann_file": "list.txt",
        "img_suffix": ".png",
        "data_prefix": {"img_path": "img", "seg_map_path": "img"},
        "metainfo": {"classes": ("a", "b")},
        "pipeline": [{"type": "LoadImageFromFile"}],
    }
    with pytest.raises(DataError, match=r"files lie outside of .*secret\.png"):
        check_dataset(cfg, "here")


def test_links_in_a_folder_of_masks(tmp_path: Path, secret: Path) -> None:
    root = tmp_path / "d"
    for index in range(4):
        write_image(root / f"images/{index}.png", objects_of(index))
        (root / "masks").mkdir(exist_ok=True)
        mask = np.zeros((64, 96), np.uint8)
        mask[:9] = 1
        cv2.imwrite(str(root / f"masks/{index}.png"), mask)
    FolderSegDataset(str(root), "all")
    (root / "images/2.png").unlink()
    (root / "images/2.png").symlink_to(secret)
    with pytest.raises(DataError, match=r"1 files lie outside of .*2\.png \(a link to .*secret"):
        FolderSegDataset(str(root), "all")
    assert len(FolderSegDataset(str(root), "all", allow_outside=True)) == 4


# --- what users do is not refused ----------------------------------------------------------------


def test_linked_folders_are_followed_and_said(tmp_path: Path) -> None:
    stored = write_coco(tmp_path / "disk")
    root = tmp_path / "d"
    root.mkdir()
    for folder in stored.iterdir():
        (root / folder.name).symlink_to(folder)
    dataset = FolderDetDataset(str(root), "train")
    assert len(dataset) == 4
    assert any("is a link to" in note and "disk" in note for note in dataset.notes)


def test_links_inside_of_the_folder_are_followed(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    image = next(root.rglob("000.png"))
    (root / "store").mkdir()
    target = root / "store/elsewhere.bin"
    image.rename(target)
    image.symlink_to(target)
    assert len(FolderDetDataset(str(root), "train")) == 4


def test_links_of_files_within_a_linked_folder(tmp_path: Path) -> None:
    """A split as links into a pool beside it, all on another disk."""
    stored = write_yolo(tmp_path / "disk")
    pool = stored / "pool"
    pool.mkdir()
    for image in list((stored / "images").rglob("*.png")):
        image.rename(pool / image.name)
        image.symlink_to(pool / image.name)
    (tmp_path / "d").symlink_to(stored)
    assert len(BoxFolder(str(tmp_path / "d")).records("train").images)


# --- XML and images ------------------------------------------------------------------------------

ENTITIES = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (f'<!DOCTYPE a [<!ENTITY e0 "xxxxxxxxxx">{ENTITIES}]>', r"not valid XML"),
        ('<!DOCTYPE a [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>', r"not valid XML"),
    ],
)
def test_xml_entities(document: str, message: str, tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    file = root / "Annotations/001.xml"
    file.write_text(document + file.read_text().replace("<name>rod", "<name>&e9;"))
    with pytest.raises(DataError, match=message):
        BoxFolder(str(root)).records("train")


def png_of(path: Path, width: int, height: int) -> None:
    """Write a PNG whose header claims any size."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_an_image_of_a_billion_pixels_is_refused_from_its_header(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    png_of(root / "JPEGImages/001.png", 50_000, 50_000)
    cfg = {
        "type": "mmattn.FolderDetDataset",
        "data_root": str(root),
        "pipeline": [{"type": "mmattn.LoadImageFromFile"}],
    }
    with pytest.raises(DataError, match=r"2500000000 pixels; the limit is .*MMATTN_MAX_IMAGE_PIX"):
        check_dataset(cfg, "here")
