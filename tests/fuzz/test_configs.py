"""Properties of configs that are data: any content is a config or a ConfigError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mmattn.config import find_config, load_config
from mmattn.config.options import parse_cfg_options
from mmattn.config.yaml_json_configs import code_in_data, read_yaml_json
from mmattn.errors import ConfigError, DataError, MissingPackageError
from mmattn.io.plain_data import line_of, parse_json, parse_yaml
from tests.support.fuzzing import finite, scalars, texts, trees

# mmengine leaves its copy of a config open when reading it fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

#: Keys that configs have, so that random ones reach the checks behind them.
keys = st.one_of(
    st.sampled_from(
        ["model", "type", "_base_", "_delete_", "_scope_", "default_scope", "custom_imports",
         "imports", "train_dataloader", "dataset", "pipeline", "optim_wrapper", "default_hooks",
         "checkpoint", "load_from", "resume", "train_cfg", "val_evaluator", "env_cfg", "nms"]
    ),
    st.text("abc_.:", min_size=1, max_size=6),
)  # fmt: skip
leaves = st.one_of(
    scalars,
    st.sampled_from(
        ["mmdet.RetinaNet", "os.system", "mmattn", "mmdet::x.py", "./a.yaml", "{{ fileDirname }}",
         "{{_base_.model}}", "$HOME", "a.b.c", "x.pkl", "Adam", "nms", "auto"]
    ),
)  # fmt: skip
configs = trees(leaves, keys, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs")


def config_or_refusal(path: Path) -> None:
    try:
        load_config(path)
    except (ConfigError, MissingPackageError) as error:
        assert str(error).strip()


@given(configs)
@example({"_base_": {"a": 1}})
@example({"_base_": [None]})
@example({"_base_": 1})
@example({"_base_": None})
@example({"default_scope": 3})
@example({"custom_imports": "mmattn"})
@example({"model": {"type": ["A"]}})
def test_any_json_is_a_config_or_refused(folder: Path, content: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    config_or_refusal(path)


@given(configs)
@example({1: 2, None: 3})
@example({"a": {True: 1}})
def test_any_yaml_is_a_config_or_refused(folder: Path, content: Any) -> None:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    config_or_refusal(path)


@given(st.one_of(texts, st.text("a: -[]{}&*!|>'\"#%@`\n?,~<.0=", max_size=60)))
@example("? [a, b]\n: c\n")
@example("a: 2001-12-14t21:59:43.10-05:00\n")
@example("a: !!binary gIGC\nb: !!set {x}\nc: !!omap [a: 1]\n")
@example("<<: 1\n")
@example("a: 0o7\nb: 1:30\nc: .inf\nd: 0x_\n")
def test_any_text_is_a_yaml_config_or_refused(folder: Path, text: str) -> None:
    path = folder / "text.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    config_or_refusal(path)


@given(st.binary(max_size=60), st.sampled_from(["b.yaml", "b.json", "b.yml"]))
def test_any_bytes_are_a_config_or_refused(folder: Path, content: bytes, name: str) -> None:
    (folder / name).write_bytes(content)
    config_or_refusal(folder / name)


@given(configs, st.sampled_from([".json", ".yaml"]))
def test_settings_that_pass_are_read_as_they_stand(folder: Path, content: Any, suffix) -> None:
    assume(isinstance(content, dict) and finite(content))
    path = folder / f"same{suffix}"
    text = json.dumps(content) if suffix == ".json" else yaml.safe_dump(content)
    path.write_text(text, encoding="utf-8")
    try:
        found = read_yaml_json(path)
    except ConfigError:
        return
    assert found == content


@example({"custom_imports": {}}, "os.system")
@given(configs, st.sampled_from(["os.system", "evil.Thing", "a.b.C", "__import__('os')", ""]))
def test_a_path_of_a_module_is_refused_wherever_it_stands(folder, content, name: str) -> None:
    holders = [content] if isinstance(content, dict) else []
    for holder in holders:
        holders.extend(inner for inner in holder.values() if isinstance(inner, dict))
    assume(holders)
    holders[-1]["type"] = name
    assert any(steps[-1] == "type" for steps, _ in code_in_data(content))
    (folder / "t.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"t\.json"):
        load_config(folder / "t.json")


@given(trees())
def test_json_gives_what_was_written(content: Any) -> None:
    assume(finite(content))
    assert parse_json(json.dumps(content), "x") == content


@given(trees())
def test_yaml_gives_what_was_written(content: Any) -> None:
    assume(finite(content))
    text = yaml.safe_dump(content, allow_unicode=True)
    try:
        found = parse_yaml(text, "x")
    except DataError:  # characters that YAML cannot hold
        with pytest.raises((yaml.YAMLError, ValueError)):
            yaml.safe_load(text)
        return
    assert found == content


@example({"": None}, ["", "0"])
@example({"a": [1]}, ["a", 0, 0])
@given(trees(size=20), st.lists(st.one_of(texts, st.integers(-2, 5)), max_size=4))
def test_a_line_is_one_of_the_text_or_none(content: Any, steps: list) -> None:
    text = json.dumps(content, indent=1)
    line = line_of(text, tuple(steps))
    assert line is None or 1 <= line <= text.count("\n") + 1


@given(st.lists(st.one_of(texts, st.tuples(keys, texts).map("=".join)), max_size=4))
@example(["a=[1, (2]"])
@example(["=1"])
@example(["a.b=1", "a=2"])
@example(["a"])
def test_any_words_are_options_or_refused(words: list[str]) -> None:
    try:
        options = parse_cfg_options(words)
    except ConfigError as error:
        assert str(error).startswith(("--cfg-options ", " ".join(words)))
    else:
        assert options is None or isinstance(options, dict)
        assert bool(options) == bool(words)


@given(st.one_of(texts, st.tuples(texts, texts).map("::".join)))
@example("\x00")
@example("::")
@example("mmdet::")
@example("mmdet::../../../etc/passwd")
@example("/")
@example("a" * 300)
@example("~nobody_here/x.py")
def test_any_name_is_a_config_or_refused(name: str) -> None:
    try:
        assert find_config(name).is_file()
    except ConfigError as error:
        assert str(error).strip()
