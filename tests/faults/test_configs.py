"""Promise: a wrong config is refused before the first log line, with key, value and fix.

The table is ``tests/support/config_faults.py``; the checks read the config alone. Sound configs of
mmdet, mmseg and ours pass: ``test_sound_configs_pass`` here, all of them with ``-m slow``.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.config.run_settings import set_work_dir
from mmattn.errors import ConfigError
from mmattn.preflight.run import check_config, setting_problems
from tests.support.config_faults import BASES, FAULTS, sound

SPLITS = ("train", "val")
#: Upstream's own mistakes, which the checks find.
WRONG_UPSTREAM = {
    "common/": "model is missing",  # bases of others
    "solov2/solov2-light_": "unexpected argument 'by_epoch'",
    "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712-cocofmt": "unexpected argument 'eval_mode'",
    "v3det/fcos_swinb_fpn_8x4_sample1e-3": "unexpected argument 'force_grad_on_level'",
    "qdtrack/": "MOTChallengeMetrics",
    "masktrack_rcnn/": "MOTChallengeMetrics",
    "crowdhuman-mot20train_test-mot20test": "MOTChallengeMetrics",
    "": "the package 'mmpretrain' is not installed",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_config_is_refused(name: str) -> None:
    fault = FAULTS[name]
    cfg = fault.config()
    with pytest.raises(ConfigError) as error:
        check_config(cfg, SPLITS, whole=True)
    said = " ".join(str(error.value).split())
    key = re.sub(r"\[\d+\]", "", next(iter(fault.changes)))
    last = key.rpartition(".")[2]
    words = fault.words or re.escape("pipeline" if last.isdigit() else last)
    assert re.search(words, said), said
    assert str(cfg.filename) in said


@pytest.mark.parametrize("base", BASES)
def test_sound_configs_pass(base: str) -> None:
    check_config(sound(base), ("train", "val", "test"), whole=True)


def test_all_mistakes_are_told_at_once() -> None:
    names = ("lr NaN", "max_iters 0", "pipeline empty", "rule unknown", "num_classes 0", "std 0")
    cfg = sound("seg")
    for name in names:
        for path, value in FAULTS[name].changes.items():
            cfg.merge_from_dict({path: value})
    with pytest.raises(ConfigError, match=f"{len(names)} settings are wrong") as error:
        check_config(cfg, SPLITS, whole=True)
    for key in ("lr=nan", "max_iters=0", "pipeline is empty", "rule='max'", "num_classes=0", "std"):
        assert key in str(error.value)


def test_a_training_that_is_cut_short_is_told_of_what_no_longer_begins(caplog) -> None:
    cfg = sound("det")
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler[1].begin = 4
    check_config(cfg, SPLITS, whole=True)
    assert "param_scheduler[1].begin=4, but the training ends at 1" in caplog.text


def test_a_part_of_a_config_can_be_checked() -> None:
    """``check`` takes a config of data alone, and a model without a schedule."""
    cfg = sound("seg")
    for key in ("model", "train_cfg", "val_cfg", "optim_wrapper"):
        cfg.pop(key)
    check_config(cfg, SPLITS)
    with pytest.raises(ConfigError, match="val_cfg missing"):
        check_config(FAULTS["validation without loop"].config(), SPLITS, whole=True)
    check_config(FAULTS["validation without loop"].config(), SPLITS)


def test_the_table_is_as_large_as_it_says() -> None:
    assert len(FAULTS) >= 190


# --- files ---------------------------------------------------------------------------------------

FILES: dict[str, tuple[dict[str, str], str]] = {
    "a circle": (
        {"a.py": "_base_ = 'b.py'\n", "b.py": "_base_ = ['a.py']\n"},
        r"_base_ goes in a circle: a\.py -> b\.py -> a\.py",
    ),
    "its own base": ({"a.py": "_base_ = './a.py'\n"}, r"goes in a circle: a\.py -> a\.py"),
    "a base that is not there": ({"a.py": "_base_ = 'c.py'\n"}, r"There is no config c\.py"),
    "a base of the same keys": (
        {"a.py": "_base_ = ['b.py', 'c.py']\n", "b.py": "x = 1\n", "c.py": "x = 2\n"},
        r"two files of _base_ have the same keys: x",
    ),
    "no Python": ({"a.py": "model = dict(type='X'\n"}, r"a\.py: the config cannot be read: Syntax"),
    "a name that is not there": ({"a.py": "model = modle\n"}, r"NameError"),
    "no JSON": ({"a.json": '{"model": }'}, r"a\.json is not valid JSON"),
    "no YAML": ({"a.yaml": "model: [1\n"}, r"a\.yaml is not valid YAML"),
    "YAML of a list": ({"a.yaml": "- 1\n"}, r"a\.yaml holds list, not a mapping"),
    "another ending": ({"a.toml": "model = 1\n"}, r"its name must end in"),
    "bytes": ({"a.yaml": "\udcff\udcfe"}, r"'utf-8' codec|not a text in UTF-8"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config(name: str, tmp_path: Path) -> None:
    files, message = FILES[name]
    for file, text in files.items():
        (tmp_path / file).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / next(iter(files)))


@pytest.mark.parametrize("inner", ["", "/run/again"])
def test_a_work_dir_that_is_a_file(inner: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    cfg = sound("seg")
    cfg.work_dir = f"{tmp_path}/file{inner}"
    with pytest.raises(
        ConfigError, match=r"work_dir=.*/file is a file, where a folder is expected"
    ):
        check_config(cfg, SPLITS, whole=True)
    with pytest.raises(ConfigError, match=r"is a file, where a folder is expected"):
        set_work_dir(sound("seg"), f"{tmp_path}/file{inner}")


def test_a_text_of_numbers_in_yaml_is_told(tmp_path: Path) -> None:
    """YAML 1.1 takes 1e-2 for a text."""
    (tmp_path / "a.yaml").write_text(
        f"_base_: {BASES['seg']}\noptim_wrapper: {{optimizer: {{lr: 1e-2}}}}\n"
    )
    with pytest.raises(ConfigError, match=r"optimizer\.lr='1e-2' is not a number"):
        check_config(load_config(tmp_path / "a.yaml"), SPLITS, whole=True)


# --- no false alarms -----------------------------------------------------------------------------


def configs_of(package: str, repo: Path) -> list[Path]:
    if package == "mmattn":
        root = repo / "configs"
    else:
        (place,) = find_spec(package).submodule_search_locations
        root = Path(place) / ".mim" / "configs"
    return [path for path in sorted(root.rglob("*.py")) if "_base_" not in path.parts]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["mmattn", "mmdet", "mmseg"])
def test_every_config_of_the_packages_passes(package: str, repo: Path) -> None:
    found: dict[str, list[str]] = {}
    for path in configs_of(package, repo):
        try:
            cfg = load_config(path)
        except (ConfigError, ImportError):
            continue  # a package that is not installed here
        enter_scope(cfg)
        problems = setting_problems(cfg, ("train", "val", "test"), whole=True)
        expected = [words for part, words in WRONG_UPSTREAM.items() if part in str(path)]
        left = [p for p in problems if not any(words in p for words in expected)]
        if left:
            found[str(path)] = left
    assert not found
