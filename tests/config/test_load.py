"""A config is found by path or by package name, and what is wrong with it is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.config import load_config, parse_cfg_options
from mmattn.config.walk import walk
from mmattn.errors import ConfigError

FCN = "fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024"


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("mmdet::yolox/yolox_nano_8xb8-300e_coco.py", "mmdet"),
        (f"mmseg::{FCN}.py", "mmseg"),
        (f"mmseg::{FCN}", "mmseg"),
    ],
)
def test_names_of_installed_packages_resolve(name: str, scope: str) -> None:
    assert load_config(name).default_scope == scope


def test_our_own_names_resolve_to_the_checkout(repo: Path) -> None:
    cfg = load_config("mmattn::_base_/datasets/shapes_semantic.py")
    assert Path(cfg.filename) == repo / "configs/_base_/datasets/shapes_semantic.py"


def test_a_path_and_options(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("model = dict(type='A', parts=[dict(n=1), dict(n=2)])\n")
    cfg = load_config(tmp_path / "a.py", {"model.parts.1.n": 5, "model.type": "B"})
    assert cfg.model == {"type": "B", "parts": [{"n": 1}, {"n": 5}]}


def test_an_option_that_cannot_be_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("parts = [dict(n=1)]\ndepths = [1, 2]\n")
    for option in ({"parts.3.n": 1}, {"depths.0": 5}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            load_config(tmp_path / "a.py", option)


def test_bases_of_all_packages_mix_in_one_config(tmp_path: Path) -> None:
    """Our bases name mmseg's parts without scope: they must be left to the default scope."""
    (tmp_path / "a.py").write_text(
        "_base_ = ['mmseg::_base_/default_runtime.py',"
        " 'mmattn::_base_/datasets/shapes_semantic.py']\n"
    )
    cfg = load_config(tmp_path / "a.py")
    assert cfg.default_scope == "mmseg"
    assert cfg.train_dataloader.dataset.get("_scope_") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "mmdet::yolox/yolox_nan_8xb8-300e_coco.py",
            "'mmdet::yolox/yolox_nano_8xb8-300e_coco.py'",
        ),
        (f"mmseg::fnc/{Path(FCN).name}.py", f"'mmseg::{FCN}.py'"),
        ("mmdt::yolox/yolox_nano_8xb8-300e_coco.py", "'mmdet'"),
        ("no/such/folder/a.py", "folder"),
        ("tests", "is a folder"),
        ("README.md", "must end in .py"),
    ],
)
def test_what_is_not_there_is_named_with_its_neighbours(
    name: str, said: str, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    with pytest.raises(ConfigError) as error:
        load_config(name)
    assert said in str(error.value)
    assert name in str(error.value) or name.partition("::")[0] in str(error.value)


def test_a_misspelt_file_gets_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "ccnet_r50.py").write_text("")
    with pytest.raises(ConfigError, match=r"Did you mean 'ccnet_r50.py'"):
        load_config(tmp_path / "ccnet_r5.py")


@pytest.mark.parametrize(
    "text", ["_base_ = 'gone.py'\n", "model = dict(\n", "model = unknown_name\n"]
)
def test_a_config_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.py"):
        load_config(tmp_path / "broken.py")


def test_cfg_options_are_read_as_upstream_reads_them() -> None:
    words = ["a.b=1", "c=[1,(2,3)]", "d=x,y", "e=True", "f=None", "g=1e-3", "h=text=more"]
    assert parse_cfg_options(words) == {
        "a.b": 1,
        "c": [1, (2, 3)],
        "d": ["x", "y"],
        "e": True,
        "f": None,
        "g": 1e-3,
        "h": "text=more",
    }
    assert parse_cfg_options(None) is None


@pytest.mark.parametrize("key", ["data_root", "data"])
@pytest.mark.parametrize("folder", ["my data/Luftbilder (süd)", "a, b", "x (1", "2024", "none"])
def test_the_path_of_a_folder_is_taken_as_it_is(key: str, folder: str) -> None:
    assert parse_cfg_options([f"{key}={folder}"]) == {key: folder}


def test_spaces_inside_of_values_are_kept() -> None:
    words = ["data.ann_dir=my masks (old)", "a=[x y, (1, 2 ), [ z]]", "b= 3 ", "c='two words'"]
    assert parse_cfg_options(words) == {
        "data.ann_dir": "my masks (old)",
        "a": ["x y", (1, 2), ["z"]],
        "b": 3,
        "c": "two words",
    }


def test_a_bracket_without_its_counterpart_is_named_with_the_option() -> None:
    with pytest.raises(ConfigError, match=r"data.ann_dir=my \(masks,.*Imbalanced"):
        parse_cfg_options(["data.ann_dir=my (masks,"])


def test_cfg_options_without_a_value_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.depth: expected key=value"):
        parse_cfg_options(["model.depth"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("package.py", "_base_ = ['mmdett::x.py']"),
        ("file.py", "_base_ = ['mmdet::faster_rcnn/gone.py']"),
        ("cut_off.py", "model = dict("),
        ("cut_off.json", '{"model": 1,'),
        ("cut_off.yaml", "model: [1, 2"),
    ],
)
def test_a_wrong_base_or_a_file_that_was_cut_off_is_named(
    tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(ConfigError, match=rf"{name}(: the config cannot be read| is not valid)"):
        load_config(file)


# --- bases ---------------------------------------------------------------------------------------


@pytest.fixture
def bases(tmp_path: Path) -> Path:
    (tmp_path / "_base_/models").mkdir(parents=True)
    (tmp_path / "_base_/models/fcn_r50.py").write_text("model = dict(type='X')\n")
    (tmp_path / "_base_/runtime.py").write_text("default_scope = 'mmseg'\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("_base_ = '_base_/models/fcn_r5.py'", ("fcn_r5.py", "Did you mean 'fcn_r50.py'")),
        ("_base_ = ['_base_/model/fcn_r50.py']", ("does not exist", "Did you mean 'models'")),
        ("_base_ = ['mmseg::_base_/models/fcn_r50-d9.py']", ("mmseg::_base_/models", "_base_: ")),
        ("_base_ = ['mmsge::x.py']", ("'mmsge' is installed", "Did you mean 'mmseg'")),
        ("_bsae_ = ['_base_/runtime.py']", ("_bsae_ = ", "read from '_base_' only")),
        ("_base = ['_base_/runtime.py']", ("_base = ", "read from '_base_' only")),
        ("_bases_ = '_base_/runtime.py'", ("read from '_base_' only",)),
        ("base = ['_base_/runtime.py']", ("read from '_base_' only",)),
    ],
)
def test_a_misspelt_base_is_named_with_its_nearest(line: str, parts: tuple, bases: Path) -> None:
    (bases / "mine.py").write_text(f"{line}\n")
    with pytest.raises(ConfigError) as error:
        load_config(bases / "mine.py")
    for part in ("mine.py: ", *parts):
        assert part in str(error.value)
    assert "Traceback" not in str(error.value) and "\n" not in str(error.value)


def test_every_wrong_base_is_told_also_those_of_bases(bases: Path) -> None:
    (bases / "inner.py").write_text("_base_ = ['_base_/runtim.py']\n")
    (bases / "mine.py").write_text("_base_ = ['inner.py', '_base_/models/fcn_r5.py']\n")
    with pytest.raises(ConfigError, match="2 bases are wrong") as error:
        load_config(bases / "mine.py")
    assert "inner.py: _base_" in str(error.value) and "'runtime.py'" in str(error.value)
    assert "'fcn_r50.py'" in str(error.value)


def test_a_base_of_a_json_config(bases: Path) -> None:
    (bases / "mine.json").write_text('{"_base_": "_base_/runtim.py"}')
    with pytest.raises(ConfigError, match=r"Did you mean 'runtime\.py'"):
        load_config(bases / "mine.json")


# --- options that change nothing -----------------------------------------------------------------


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text(
        "crop = 4\nmax_iters = 9\ntrain_cfg = dict(max_iters=max_iters)\n"
        "train_dataloader = dict(batch_size=2)\n"
    )
    return tmp_path / "a.py"


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ({"batch_size": "four"}, "Did you mean train_dataloader.batch_size?"),
        ({"lod_from": "w.pth"}, "Did you mean 'load_from'"),
        ({"dat_root": "data"}, "nothing reads the key 'dat_root'. Did you mean 'data_root'"),
        ({"zebra": 1}, "nothing reads the key 'zebra'"),
    ],
)
def test_an_option_that_nothing_reads_is_refused(option: dict, hint: str, plain: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(plain, option)
    assert hint in str(error.value) and f"a.py: {next(iter(option))}=" in str(error.value)


def test_an_option_that_sets_a_variable_is_a_warning(plain: Path, caplog) -> None:
    load_config(plain, {"max_iters": 5})
    assert "sets a variable of the file" in caplog.text
    assert "Did you mean train_cfg.max_iters?" in caplog.text


def test_settings_that_a_config_lacks_may_be_added(plain: Path, caplog) -> None:
    load_config(plain, {"load_from": "w.pth", "randomness.seed": 3, "experiment_name": "a"})
    assert not caplog.records


def test_two_bases_with_the_same_keys_are_told_in_order(tmp_path: Path) -> None:
    keys = ["zebra", "apple", "mango", "cherry", "lemon"]
    for name in "ab":
        (tmp_path / f"{name}.py").write_text("".join(f"{key} = 1\n" for key in keys))
    (tmp_path / "mine.py").write_text("_base_ = ['a.py', 'b.py']\n")
    said = "same keys: apple, cherry, lemon, mango, zebra. Inherit one of them and override"
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "mine.py")


@pytest.mark.parametrize(
    "config", sorted(Path(__file__).parents[2].glob("configs/folder/ccnet*.py"))
)
def test_losses_of_the_folder_configs_leave_unlabelled_pixels_out(config: Path) -> None:
    """As in the other configs: the mean is over the labelled pixels alone."""
    losses = [
        value
        for _, value in walk(load_config(config).model.to_dict(), "model")
        if isinstance(value, dict) and value.get("type") == "CrossEntropyLoss"
    ]
    assert losses and all(loss.get("avg_non_ignore") for loss in losses)
