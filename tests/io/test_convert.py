"""Promise: a converted checkpoint is the same network, and its origin is recorded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmdet.models.backbones import MobileNetV2 as MMDetMobileNetV2
from mmseg.models.backbones import MobileNetV2 as MMSegMobileNetV2
from torch import nn
from torchvision.models import mobilenet_v2

from mmattn.errors import CheckpointError
from mmattn.io import convert as convert_module
from mmattn.io import load_state_dict, read_checkpoint, save_safetensors
from mmattn.io.convert import (
    Converter,
    convert_checkpoint,
    converters,
    find_converter,
    register_converter,
    rename_keys,
    weights_of,
    write_converted,
)

MMSEG, MMDET = "torchvision-mobilenetv2-mmseg", "torchvision-mobilenetv2-mmdet"


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's network with random weights and statistics."""
    torch.manual_seed(0)
    net = mobilenet_v2(weights=None).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net


def check_same(theirs: nn.Module, state_dict: dict) -> None:
    """Both of mm's backbones give torchvision's maps at every stage, bit for bit."""
    mmseg = MMSegMobileNetV2(out_indices=(0, 1, 2, 3, 4, 5, 6))
    mmdet = MMDetMobileNetV2(out_indices=(0, 1, 2, 3, 4, 5, 6, 7))
    x = torch.randn(1, 3, 64, 96)
    expected, maps = x, []
    with torch.no_grad():
        for i, layer in enumerate(theirs.features):
            expected = layer(expected)
            if i in (1, 3, 6, 10, 13, 16, 17, 18):
                maps.append(expected)
        for name, net, count in ((MMSEG, mmseg, 7), (MMDET, mmdet, 8)):
            conversion = convert_checkpoint(state_dict, name)
            assert load_state_dict(net, conversion.state_dict, strict=True).complete
            net.eval()
            for ours, map_ in zip(net(x), maps[:count], strict=True):
                assert torch.equal(ours, map_)


def test_mobilenet_is_the_same_network(theirs: nn.Module) -> None:
    check_same(theirs, theirs.state_dict())


def test_real_mobilenet_weights_give_torchvisions_features(shared_data: Path) -> None:
    weights = read_checkpoint(shared_data / "weights" / "mobilenetv2_imagenet_features.safetensors")
    theirs = mobilenet_v2(weights=None).eval()
    theirs.load_state_dict(weights_of(weights), strict=False)
    check_same(theirs, weights)


def test_what_has_no_place_is_told(theirs: nn.Module) -> None:
    conversion = convert_checkpoint(theirs.state_dict(), MMDET)
    assert conversion.left_out == ("classifier.1.weight", "classifier.1.bias")
    conversion = convert_checkpoint(theirs.state_dict(), MMSEG)
    assert {key.rsplit(".", 2)[0] for key in conversion.left_out} == {"features.18", "classifier"}
    kept = len(theirs.state_dict()) - len(conversion.left_out)
    assert len(conversion.state_dict) == kept


def test_wrappers_and_prefixes_are_seen_through(theirs: nn.Module) -> None:
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    for checkpoint in ({"state_dict": state, "meta": {"epoch": 3}}, {"model": state}, state):
        assert set(weights_of(checkpoint)) == set(theirs.state_dict())


def test_unknown_key_in_a_known_layout_is_an_error(theirs: nn.Module) -> None:
    for key in ("features.19.0.weight", "features.2.conv.4.weight", "extra"):
        with pytest.raises(CheckpointError, match=f"not of this layout: {key}"):
            convert_checkpoint({**theirs.state_dict(), key: torch.zeros(1)}, MMSEG)


def test_choice_of_a_converter(theirs: nn.Module) -> None:
    state = theirs.state_dict()
    with pytest.raises(CheckpointError, match=f"several.*{MMDET}, {MMSEG}.*--converter"):
        find_converter(state)
    with pytest.raises(CheckpointError, match=f"no converter 'torchvision-mobilenetv2'.*{MMSEG}"):
        find_converter(state, "torchvision-mobilenetv2")
    with pytest.raises(CheckpointError, match=r"does not recognise this layout.*some\.weight"):
        find_converter({"some.weight": torch.zeros(1)}, MMSEG)
    assert find_converter({"some.weight": torch.zeros(1)}) is None
    assert convert_checkpoint({"some.weight": torch.zeros(1)}) is None


def test_a_converter_by_name_only_leaves_the_choice_to_the_others(two_way: Converter) -> None:
    state = {"theirs.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="several"):
        find_converter(state)
    for name in ("one-way", two_way.name):
        other = convert_module._converters[name]
        convert_module._converters[name] = replace(other, only_by_name=name == "one-way")
    assert find_converter(state).name == two_way.name
    assert find_converter(state, "one-way").name == "one-way"


def test_a_checkpoint_without_tensors_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="no weights found; the keys are epoch"):
        weights_of({"epoch": 3})


def test_a_name_is_registered_once() -> None:
    first = converters()[0]
    assert register_converter(first) is first
    with pytest.raises(ValueError, match="there is a converter called"):
        register_converter(Converter(first.name, "another", lambda s: False, dict))


def test_two_keys_never_become_one() -> None:
    with pytest.raises(CheckpointError, match="two keys"):
        rename_keys({"a": torch.zeros(1), "b": torch.zeros(1)}, lambda key: "c")


@pytest.fixture
def two_way() -> Iterator[Converter]:
    """A converter with everything that is optional; forgotten afterwards."""
    converter = Converter(
        "theirs-ours",
        "for this test",
        recognises=lambda state: "theirs.weight" in state,
        convert=lambda state: rename_keys(state, lambda key: key.replace("theirs", "ours")),
        ignores=lambda key: key.endswith(".extra"),
        reverse=lambda state: rename_keys(state, lambda key: key.replace("ours", "theirs")),
        note=lambda state: f"{len(state)} weights",
    )
    register_converter(replace(converter, name="one-way", reverse=None))
    yield register_converter(converter)
    for name in ("one-way", converter.name):
        del convert_module._converters[name]


def test_the_way_back_and_the_note(two_way: Converter) -> None:
    source = {"theirs.weight": torch.ones(1), "theirs.extra": torch.ones(1)}
    there = convert_checkpoint(source, two_way.name)
    assert (list(there.state_dict), there.left_out) == (["ours.weight"], ("theirs.extra",))
    assert there.note == "1 weights"
    back = convert_checkpoint(there.state_dict, two_way.name, reverse=True)
    assert (list(back.state_dict), back.converter) == (["theirs.weight"], "theirs-ours --reverse")


def test_a_way_back_has_to_be_named_and_to_exist(two_way: Converter) -> None:
    state = {"ours.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match="needs the name of a converter"):
        convert_checkpoint(state, reverse=True)
    with pytest.raises(CheckpointError, match=r"no converter 'theirs'.*theirs-ours"):
        convert_checkpoint(state, "theirs", reverse=True)
    with pytest.raises(CheckpointError, match=r"no way back; these have: .*theirs-ours"):
        convert_checkpoint(state, "one-way", reverse=True)


@pytest.mark.parametrize("name", [MMSEG, MMDET])
def test_mobilenets_way_back_gives_what_was_read(theirs: nn.Module, name: str) -> None:
    there = convert_checkpoint(theirs.state_dict(), name)
    back = convert_checkpoint(there.state_dict, name, reverse=True).state_dict
    kept = {k: v for k, v in theirs.state_dict().items() if k not in there.left_out}
    assert back.keys() == kept.keys()
    assert all(torch.equal(back[key], kept[key]) for key in kept)
    with pytest.raises(CheckpointError, match="not of this layout"):
        convert_checkpoint(theirs.state_dict(), name, reverse=True)


def test_record_names_the_source_by_its_hash(tmp_path: Path) -> None:
    source = tmp_path / "source.safetensors"
    save_safetensors(source, {"a": torch.ones(2)})
    record = write_converted(
        tmp_path / "out.safetensors", {"b": torch.ones(2)}, source=source, converter="x"
    )
    written = json.loads(record.read_text())
    assert written["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (written["source"], written["converter"], written["keys"]) == (source.name, "x", 1)
    checkpoint = read_checkpoint(tmp_path / "out.safetensors")
    assert torch.equal(checkpoint["state_dict"]["b"], torch.ones(2))
    assert checkpoint["meta"]["provenance"] == written


@pytest.mark.slow
def test_tool_tells_that_it_converted_nothing(tmp_path: Path, repo: Path) -> None:
    source, out = tmp_path / "other.pth", tmp_path / "out.safetensors"
    torch.save({"foo.bar.weight": torch.zeros(3, 3)}, source)
    command = [sys.executable, "tools/convert.py", source, out]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repo)
    assert done.returncode == 0, done.stderr
    assert "Nothing was converted: --list shows the layouts, --config compares" in done.stdout
    assert f"Wrote {out} and its record {out.with_suffix('.json')}." in done.stdout
    assert list(read_checkpoint(out)["state_dict"]) == ["foo.bar.weight"]


@pytest.mark.slow
def test_tool_converts_and_compares_with_a_model(
    theirs: nn.Module, tmp_path: Path, repo: Path
) -> None:
    config = next((repo / "configs" / "ccnet").glob("ccnet_mobilenetv2-*_camvid-*.py"))
    source, out = tmp_path / "torchvision.pth", tmp_path / "out.safetensors"
    torch.save(theirs.state_dict(), source)
    command = [sys.executable, "tools/convert.py", source, out]
    command += ["--converter", MMSEG, "--config", config, "--part", "backbone"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repo)
    assert done.returncode == 0, done.stderr
    assert "306 keys converted, 8 left out" in done.stdout
    assert "left out: classifier.1.weight" in done.stdout
    assert "(backbone): matched 255/255 weights" in done.stdout
    assert "not counted: 51 counters of BatchNorm (num_batches_tracked)" in done.stdout
    assert len(read_checkpoint(out)["state_dict"]) == 306
    assert (tmp_path / "out.json").exists()


def test_tool_knows_mmattns_own_names(theirs: nn.Module, tmp_path: Path, repo: Path) -> None:
    from mmattn.cli.main import main

    config = next((repo / "configs" / "ccnet").glob("ccnet_mobilenetv2-*_camvid-*.py"))
    source, out = tmp_path / "torchvision.pth", tmp_path / "out.safetensors"
    torch.save(theirs.state_dict(), source)
    assert main(["convert", str(source), str(out), "--converter", MMSEG]) == 0
    words = ["--config", str(config), "--part", "backbone"]
    again = str(tmp_path / "again.safetensors")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert main(["convert", str(out), again, *words]) == 0
    said = "No other project's layout: the names are mmattn's already and are kept."
    assert said in shown.getvalue()


def test_an_unknown_converter_is_told_where_to_find_the_names() -> None:
    near = MMSEG.replace("torchvision", "torchvison")
    with pytest.raises(CheckpointError, match=rf"no converter '{near}'\. Did you mean '{MMSEG}'"):
        find_converter({}, near)
    with pytest.raises(CheckpointError, match=r"no converter 'nope'\. --list shows them\."):
        find_converter({}, "nope")
