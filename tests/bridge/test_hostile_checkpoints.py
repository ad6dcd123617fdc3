"""Promise: reading weights runs nothing that is in the file, whichever way it is read.

Every payload creates one harmless file, the canary. A first test unpickles each file, to show that
it is armed; all others read it the way users do and look for the canary.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader, load_checkpoint

from mmattn.errors import CheckpointError, ConfigError
from mmattn.io import read_checkpoint
from tests.support.toy_training import ToyModel, toy_runner


class Call:
    """Pickles as the instruction to call ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any):
        self.function = function
        self.arguments = arguments

    def __reduce__(self):
        return self.function, self.arguments

    def __call__(self) -> None:
        """Not called; pickle wants to see that what it is to call could be."""


def payloads(canary: Path) -> dict[str, Any]:
    """Objects that create ``canary`` when they are unpickled."""
    code = f"open({str(canary)!r}, 'w').close()"
    hidden = np.empty(1, dtype=object)
    hidden[0] = Call(eval, code)
    array = Call(Call(getattr, torch.ones(1), "numpy"))
    return {
        "os.system": Call(os.system, f"touch '{canary}'"),
        "builtins.eval": Call(eval, code),
        "builtins.exec": Call(exec, code),
        "method by getattr": Call(Call(getattr, canary, "touch")),
        # Only getattr and a tensor: mmengine's allow list has both names.
        "getattr chain": Call(Call(getattr, array, "tofile"), str(canary)),
        "numpy reconstruct": hidden,
    }


def _tar(payload: Any) -> bytes:
    """torch's format before 0.1.10: a tar of pickles."""
    buffer = io.BytesIO()
    nothing = pickle.dumps(0, 2)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in {
            "storages": nothing + pickle.dumps([], 2),
            "tensors": nothing,
            "pickle": pickle.dumps(payload, 2),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _zip_of(content: bytes) -> bytes:
    """torch.hub's old format: a zip with one torch file in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.pth", content)
    return buffer.getvalue()


def _torch(payload: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"head.weight": payload}}, buffer, **kwargs)
    return buffer.getvalue()


FORMATS = {
    "zip.pth": _torch,
    "protocol4.pth": partial(_torch, pickle_protocol=4),
    "legacy.pth": partial(_torch, _use_new_zipfile_serialization=False),
    "legacy.tar": _tar,
    "legacy.zip": lambda payload: _zip_of(_torch(payload, _use_new_zipfile_serialization=False)),
    "plain.pkl": lambda payload: pickle.dumps({"model": payload}, 4),
    "renamed.safetensors": _torch,
}
PAYLOADS = list(payloads(Path("canary")))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def write(tmp_path: Path, canary: Path, payload: str, form: str) -> Path:
    file = tmp_path / form
    file.write_bytes(FORMATS[form](payloads(canary)[payload]))
    return file


def unpickle(file: Path) -> None:
    """What any loader without protection does."""
    if file.name == "plain.pkl":
        pickle.loads(file.read_bytes())
        return
    # Not by name: tars are looked for in real files only, and torch heeds the name's ending.
    with open(file, "rb") as opened:
        inner = opened
        if file.name == "legacy.zip":
            inner = io.BytesIO(zipfile.ZipFile(opened).read("model.pth"))
        torch.load(inner, weights_only=False)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_is_armed_and_reading_does_not_fire_it(tmp_path, canary, payload, form) -> None:
    file = write(tmp_path, canary, payload, form)
    with pytest.raises(CheckpointError, match=form):
        read_checkpoint(file)
    assert not canary.exists()
    unpickle(file)
    assert canary.exists(), "this payload does nothing, so that it did not run proves nothing"


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ("os.system", "posix.system"),
        ("builtins.eval", "eval"),
        ("numpy reconstruct", "numpy._core.multiarray._reconstruct"),
    ],
)
@pytest.mark.parametrize("form", ["zip.pth", "protocol4.pth", "legacy.pth"])
def test_error_names_file_culprit_and_way_out(tmp_path, canary, payload, name, form) -> None:
    file = write(tmp_path, canary, payload, form)
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(file)
    text = str(raised.value)
    assert str(file) in text
    assert f"{name}'" in text
    assert "mmattn convert --i-trust-this-file" in text
    assert "weights_only" not in text, "nobody shall be told how to switch the protection off"


def test_others_allowances_and_environment_do_not_count(tmp_path, canary, monkeypatch) -> None:
    file = write(tmp_path, canary, "builtins.eval", "zip.pth")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with torch.serialization.safe_globals([eval]):
        with pytest.raises(CheckpointError, match="eval"):
            read_checkpoint(file)
        assert eval in torch.serialization.get_safe_globals(), "not ours to take away for good"
    assert not canary.exists()


def by_load_checkpoint(file: Path) -> None:
    load_checkpoint(ToyModel(), str(file))


def by_checkpoint_loader(file: Path) -> None:
    CheckpointLoader.load_checkpoint(str(file), map_location="cpu")


def by_load_from(file: Path) -> None:
    toy_runner(file.parent / "run", load_from=str(file)).train()


def by_resume(file: Path) -> None:
    toy_runner(file.parent / "run", load_from=str(file), resume=True).train()


def by_auto_resume(file: Path) -> None:
    run = file.parent / "run"
    run.mkdir()
    (run / "last_checkpoint").write_text(str(file))
    toy_runner(run, resume=True).train()


def by_pretrained(file: Path) -> None:
    ToyModel(init_cfg={"type": "Pretrained", "checkpoint": str(file)}).init_weights()


def by_pretrained_prefix(file: Path) -> None:
    init = {"type": "Pretrained", "checkpoint": str(file), "prefix": "head"}
    ToyModel(init_cfg=init).init_weights()


def by_backbone_of_mmdet(file: Path) -> None:
    from mmdet.models import SwinTransformer
    from mmengine import ConfigDict

    init = ConfigDict(type="Pretrained", checkpoint=str(file))
    SwinTransformer(embed_dims=12, depths=(1, 1, 1, 1), init_cfg=init).init_weights()


def by_strategy(file: Path) -> None:
    from mmengine._strategy import SingleDeviceStrategy

    SingleDeviceStrategy(work_dir=str(file.parent / "run")).load_checkpoint(str(file))


ROUTES = [
    by_load_checkpoint,
    by_checkpoint_loader,
    by_load_from,
    by_resume,
    by_auto_resume,
    by_pretrained,
    by_pretrained_prefix,
    by_backbone_of_mmdet,
    by_strategy,
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
@pytest.mark.parametrize("payload", ["os.system", "getattr chain"])
def test_mmengine_refuses_too(tmp_path, canary, payload, route) -> None:
    file = write(tmp_path, canary, payload, "zip.pth")
    with pytest.raises(CheckpointError, match=r"zip\.pth: refused"):
        route(file)
    assert not canary.exists()


def test_downloads_are_refused_too(tmp_path, canary, monkeypatch) -> None:
    file = write(tmp_path, canary, "os.system", "zip.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(CheckpointError, match="refused"):
            load_checkpoint(ToyModel(), f"http://127.0.0.1:{server.server_port}/{file.name}")
    finally:
        server.shutdown()
        server.server_close()
    assert (tmp_path / "cache" / "hub" / "checkpoints" / file.name).exists(), "was not downloaded"
    assert not canary.exists()


@pytest.mark.parametrize("scheme", ["torchvision://resnet18", "open-mmlab://resnet50_v1c"])
def test_model_zoos_are_refused_too(tmp_path, canary, monkeypatch, scheme) -> None:
    """The zoo's file lies in the cache already, and is hostile."""
    from mmengine.runner import checkpoint as mm

    file = write(tmp_path, canary, "os.system", "zip.pth")
    urls = {**mm.get_torchvision_models(), **mm.get_external_models()}
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    cached = tmp_path / "cache/hub/checkpoints" / Path(urls[scheme.split("://")[1]]).name
    cached.parent.mkdir(parents=True)
    shutil.copy(file, cached)
    with pytest.raises(CheckpointError, match="refused"):
        load_checkpoint(ToyModel(), scheme)
    assert not canary.exists()


def test_no_other_way_to_unpickle_weights_in_upstream() -> None:
    """Upstream's calls of torch.load are exactly those that the bridge replaces."""
    import mmcv
    import mmdet
    import mmengine
    import mmseg

    unsafe = ("torch.load(", "load_state_dict_from_url", "torch.jit.load(")
    found = set()
    for package in (mmengine, mmcv, mmdet, mmseg):
        root = Path(package.__file__).parent
        for file in root.rglob("*.py"):
            if ".mim" in file.parts:  # copies of upstream's scripts, which nobody imports
                continue
            if any(call in file.read_text(encoding="utf-8") for call in unsafe):
                found.add(file.relative_to(root.parent).as_posix())
    # hub.py reads in `load_url`, for torch < 1.7 only, and names torch's in its docstring.
    assert found == {"mmengine/runner/checkpoint.py", "mmengine/utils/dl_utils/hub.py"}


@pytest.fixture
def config_bomb(tmp_path: Path, canary: Path) -> Path:
    """A checkpoint of plain data alone, whose config's text creates ``canary`` when it is run."""
    text = f"open({str(canary)!r}, 'w').close()\ngpu_ids = [0]\nmodel = dict(type='ToyModel')\n"
    toy_runner(tmp_path / "run").train()
    content = torch.load(tmp_path / "run" / "epoch_2.pth", weights_only=True)
    content["meta"] |= {"config": text, "cfg": text}
    content["message_hub"]["runtime_info"]["cfg"] = text
    torch.save(content, tmp_path / "bomb.pth")
    return tmp_path / "bomb.pth"


def test_config_texts_are_armed(config_bomb: Path, canary: Path) -> None:
    from mmengine.config import Config

    text = torch.load(config_bomb, weights_only=True)["meta"]["config"]
    with pytest.raises(Exception, match=r"(?s).*"):
        Config.fromstring(text + "1 / 0", file_format=".py")
    assert canary.exists()


def test_resume_runs_no_config_text(config_bomb: Path, canary: Path) -> None:
    settings = {"train_cfg": {"by_epoch": True, "max_epochs": 3}}
    run = config_bomb.parent / "resumed"
    runner = toy_runner(run, load_from=str(config_bomb), resume=True, **settings)
    runner.train()
    assert runner.epoch == 3
    assert not canary.exists()


def test_flexible_runner_runs_no_config_text(config_bomb: Path, canary: Path) -> None:
    from mmengine._strategy import SingleDeviceStrategy

    strategy = SingleDeviceStrategy(work_dir=str(config_bomb.parent / "flexible"))
    strategy.model = ToyModel()
    assert "config" not in strategy.load_checkpoint(str(config_bomb))["meta"]
    assert not canary.exists()


def test_inferencers_run_no_config_text(config_bomb: Path, canary: Path) -> None:
    from mmdet.apis import DetInferencer
    from mmseg.apis import MMSegInferencer

    for inferencer in (DetInferencer, MMSegInferencer):
        with pytest.raises(ConfigError, match=r"bomb\.pth: the config inside .* is not run"):
            inferencer(None, weights=str(config_bomb), device="cpu")
    assert not canary.exists()


def test_no_other_way_to_run_config_texts_in_upstream() -> None:
    import mmdet
    import mmengine
    import mmseg

    found = set()
    for package in (mmengine, mmdet, mmseg):
        root = Path(package.__file__).parent
        for file in root.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if ".mim" not in file.parts and "Config.fromstring(" in text:
                found.add(file.relative_to(root.parent).as_posix())
    # runner.py and _flexible_runner.py at a resume, infer.py where no config is given.
    assert found <= {
        "mmengine/runner/runner.py",
        "mmengine/runner/_flexible_runner.py",
        "mmengine/infer/infer.py",
    }


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("form", ["zip.pth", "protocol4.pth", "legacy.pth"])
def test_payload_that_is_not_needed_is_left_out(tmp_path, canary, payload, form, caplog) -> None:
    """It need not stop anybody from loading the weights: it stays a name."""
    kwargs = FORMATS[form].keywords if isinstance(FORMATS[form], partial) else {}
    content = {"state_dict": ToyModel().state_dict(), "meta": {"x": payloads(canary)[payload]}}
    torch.save(content, tmp_path / form, **kwargs)
    logger = MMLogger.get_current_instance()  # which hands nothing on to the root
    logger.addHandler(caplog.handler)
    try:
        load_checkpoint(ToyModel(), str(tmp_path / form))
    finally:
        logger.removeHandler(caplog.handler)
    assert f"{form}: left out what is not data: meta.x (" in caplog.text
    assert not canary.exists()
    unpickle(tmp_path / form)
    assert canary.exists()
