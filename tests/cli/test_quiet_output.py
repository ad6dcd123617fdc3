"""What other packages say among themselves is not told by explain and export; all else is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import mmattn.explain
import mmattn.export
from mmattn.cli import explain, export

CONFIG = str(Path(__file__).parents[1] / "support/configs/tiny_retinanet.py")
HARMLESS = "DeprecationWarning: `num_anchors` is deprecated, for consistency use another name"


def warns(*_: object, **__: object) -> None:
    warnings.warn(HARMLESS, stacklevel=1)
    warnings.warn("the weights are of another network", stacklevel=1)


@pytest.mark.parametrize(
    ("main", "module", "function", "images"),
    [
        (explain.main, mmattn.explain, "explain_images", ["image.png"]),
        (export.main, mmattn.export, "export", []),
    ],
)
def test_only_what_somebody_can_act_on_is_told(
    main: Callable[[list[str]], int],
    module: object,
    function: str,
    images: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.png").write_bytes(b"")
    (tmp_path / "weights.pth").write_bytes(b"")
    monkeypatch.setattr(mmattn.explain, "Network", lambda *_, **__: None)
    monkeypatch.setattr(module, function, warns)
    assert main([CONFIG, "weights.pth", *images, "--out", "out.onnx"]) == 0
    told = capsys.readouterr().err
    assert "warning: the weights are of another network" in told
    assert "num_anchors" not in told and not recwarn.list
