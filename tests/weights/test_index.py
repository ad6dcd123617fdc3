"""Promise: the index is as its schema says, and names only what there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.config.find import find_config
from mmattn.errors import ConfigError
from mmattn.io.convert import converters
from mmattn.plugin_imports import import_all_plugins
from mmattn.weights.entries import Address, Entry, HubFile
from mmattn.weights.index import PACKAGED, load_index, read_index

INDEX = read_index(PACKAGED)


def test_every_config_is_there() -> None:
    configs = {one.config for one in INDEX.entries.values() if one.config}
    assert len(configs) > 30
    for config in configs:
        find_config(config)


def test_every_converter_is_there() -> None:
    import_all_plugins()
    known = {converter.name for converter in converters()}
    asked = {one.converter for one in INDEX.entries.values() if one.converter}
    assert asked <= known


def test_digests_are_those_of_the_names() -> None:
    """OpenMMLab's and torch's files carry the first digits; none is copied from another entry."""
    count = 0
    for entry in INDEX.entries.values():
        named = re.search(r"-([0-9a-f]{8})\.pth$", entry.file)
        if named:
            count += 1
            assert (entry.sha256 or entry.sha256_prefix or "").startswith(named[1]), entry.name
    assert count > 50


def test_addresses_end_in_the_name_of_the_file() -> None:
    for entry in INDEX.entries.values():
        for source in entry.sources:
            last = source.url if isinstance(source, Address) else source.file
            assert last.rpartition("/")[2] == entry.file, entry.name


def test_openmmlab_has_its_mirror() -> None:
    (start,) = INDEX.mirrors
    served = [
        source.url
        for entry in INDEX.entries.values()
        for source in entry.sources
        if isinstance(source, Address) and source.url.startswith(start)
    ]
    assert len(served) > 40


def test_licences_that_need_a_yes() -> None:
    asked = {one.licence.name for one in INDEX.entries.values() if one.licence.asks}
    assert asked == {"AGPL-3.0", "not stated", "other"}
    agpl = [one for one in INDEX.entries.values() if one.licence.spdx == "AGPL-3.0"]
    assert agpl and not any(one.sources for one in agpl), "these are never downloaded"


def test_all_systems_with_published_weights_are_there() -> None:
    systems = {"BEVANet", "CCNet", "DynamicHead", "ECA", "Mask2Former", "YOLOv12"}
    assert systems <= {one.system for one in INDEX.entries.values()}


def test_a_hub_file_without_a_commit_is_none(index: Callable) -> None:
    index({"sources": [{"hf": "a/b", "file": "m"}]})
    entry: Entry = load_index().entries["small"]
    assert entry.sources == (HubFile("a/b", None, "m"),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha265": "0"}, "unknown key 'sha265'. Did you mean 'sha256'"),
        ({"sha256": "abc"}, "sha256='abc' is not a text (in quotes) of 64 hexadecimal digits"),
        ({"sha256": 12345678}, "is not a text"),
        ({"size": -1}, "size=-1 is not a number of bytes"),
        ({"size": True}, "is not a number of bytes"),
        ({"name": "../a"}, "name='../a' is not a text of the form"),
        ({"file": "a/b.pth"}, "file='a/b.pth' is not a text of the form"),
        ({"file": "..", }, "file='..' is not a text of the form"),
        ({"sources": [{"url": "ftp://a/b"}]}, "small, sources[0]: url='ftp://a/b' is not"),
        ({"sources": [{"hf": "a/b", "revision": "main", "file": "x"}]}, "revision='main' is not"),
        ({"sources": [{"hf": "a", "file": "x"}]}, "hf='a' is not"),
        ({"sources": [], "page": None}, "has no sources; give the page"),
        ({"licence": {"url": "https://a"}}, "licence: give spdx or text, one of the two"),
        ({"licence": {"spdx": "MIT", "url": "https://a", "gated": 1}}, "gated=1 is not a boolean"),
        ({"metric": {"name": "mIoU", "paper": "80"}}, "metric: paper='80' is not a number"),
        ({"metric": {"name": "mIoU", "measured_here": {"value": 1.0}}}, "measured_here: has no"),
        ({"name": "torchvision_resnet50_in1k"}, "is in mmattn's own index"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_entry_and_key(
    index: Callable, tmp_path: Path, change: dict, said: str
) -> None:
    index(change)
    with pytest.raises(ConfigError) as error:
        load_index()
    assert said in str(error.value) and str(tmp_path / "index.yml") in str(error.value)


def test_a_name_twice(index: Callable) -> None:
    index({}, {})
    with pytest.raises(ConfigError, match="small is there twice"):
        load_index()


def test_a_changed_index_is_read_again(index: Callable) -> None:
    index({"name": "one"})
    assert "one" in load_index().entries
    index({"name": "another"})
    assert "another" in load_index().entries and "one" not in load_index().entries
