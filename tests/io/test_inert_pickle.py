"""Promise: reading a file that names objects calls nothing, and ends, whatever is in it.

``tests/bridge/test_hostile_checkpoints.py`` has the payloads that every reader is to refuse. These
are aimed at this reader. Every payload creates one harmless file, the canary, if anything runs.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import struct
import sys
import time
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmattn.errors import CheckpointError
from mmattn.io import inert_pickle, read_checkpoint
from mmattn.io.inert_content import REBUILD
from mmattn.io.inert_pickle import Record, parse_pickle

#: Instructions that put the dictionary {"state_dict": {}, "payload": <what follows>} together.
HEAD = b"\x80\x02}(X\x0a\x00\x00\x00state_dict}X\x07\x00\x00\x00payload"
TAIL = b"u."
#: Any name that torch refuses, so that the inert reader comes in.
FOREIGN = b"cdatetime\ndatetime\n"


def text(value: str) -> bytes:
    """Instruction that pushes ``value``."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def archive(data: bytes, extra: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """A zip as of torch.save, with ``data`` for its pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for name, content in {"x/data.pkl": data, "x/version": b"3\n", **(extra or {})}.items():
            file.writestr(name, content)
    return buffer.getvalue()


def stream(data: bytes, storages: bytes = b"\x80\x02].") -> bytes:
    """A file as torch before 1.6 wrote it."""
    magic, protocol = (pickle.dumps(number, 2) for number in (0x1950A86A20F9469CFC6C, 1001))
    return magic + protocol + pickle.dumps({"little_endian": True}, 2) + data + storages


def read(tmp_path: Path, content: bytes) -> dict:
    file = tmp_path / "x.pth"
    file.write_bytes(content)
    return read_checkpoint(file)


class Call:
    """Pickles as the instruction to call ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any, **more: Any):
        self.function, self.arguments, self.more = function, arguments, more

    def __reduce__(self):
        return (self.function, self.arguments, *self.more.values())

    def __call__(self) -> None: ...


def armed(canary: Path) -> dict[str, bytes]:
    """Payloads that create ``canary`` when they are unpickled, for the place after ``HEAD``."""
    code = f"open({str(canary)!r}, 'w').close()"
    run = b"cbuiltins\neval\n(" + text(code) + b"tR"
    return {
        "call": run,
        "dictionary's items": b"ccollections\nOrderedDict\n)R" + text("k") + run + b"s",
        "inst": b"(" + text(code) + b"ibuiltins\neval\n",
        "obj": b"(cbuiltins\neval\n" + text(code) + b"o",
        "newobj": b"ccollections\ndeque\n(cbuiltins\nmap\ncbuiltins\neval\n]("
        + text(code)
        + b"e\x86\x81tR",
        "arguments of a tensor": b"ctorch._utils\n_rebuild_tensor_v2\n("
        + run
        + b"K\x00)))Nt0ctorch\nSize\n("
        + run
        + b"tR",
        "state": b"cdatetime\ndatetime\n(M\xd0\x07K\x01K\x01tR0ccollections\nOrderedDict\n)R}"
        + text("x")
        + run
        + b"sb",
        "key": b"}(K\x01K\x02u0ccollections\nOrderedDict\n)R" + run + b"0" + text("k") + b"K\x01s",
        "memo": run + b"q\x050h\x05",
        "dotted name": b"\x8c\x08builtins\x8c\x04eval\x93(" + text(code) + b"tR",
        "getattr chain": b"cbuiltins\ngetattr\n(cpathlib\nPosixPath\n("
        + text(str(canary))
        + b"tR"
        + text("touch")
        + b"tR)R",
        "state dict's metadata": b"ccollections\nOrderedDict\n)R}"
        + text("_metadata")
        + run
        + b"sb",
    }


@pytest.mark.parametrize("name", list(armed(Path("x"))))
@pytest.mark.parametrize("form", [archive, stream])
def test_nothing_of_a_droppable_entry_runs(tmp_path: Path, name: str, form: Any) -> None:
    """Whether the entry is left out or read, it stays what it is: data."""
    canary = tmp_path / "canary"
    data = HEAD + armed(canary)[name] + TAIL
    with contextlib.suppress(CheckpointError):
        assert read(tmp_path, form(data))["state_dict"] == {}
    assert not canary.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):
            pickle.loads(data)
    assert canary.exists(), "this payload does nothing, so that it did not run proves nothing"


@pytest.mark.parametrize("key", ["state_dict", "model", "optimizer", "ema_state_dict"])
@pytest.mark.parametrize("place", ["value", "inside", "shared with what is droppable"])
def test_needed_entries_are_refused_by_name(tmp_path: Path, key: str, place: str) -> None:
    inert = [Call(print, "x")]
    content = {
        "value": {key: {"a": Call(print, "x")}},
        "inside": {key: {"a": {"b": (1, inert)}}},
        "shared with what is droppable": {"meta": inert, key: {"a": inert}},
    }[place]
    buffer = io.BytesIO()
    torch.save(content, buffer)
    pattern = rf"x\.pth: refused, because {key}\.a.*'builtins\.print'"
    with pytest.raises(CheckpointError, match=pattern):
        read(tmp_path, buffer.getvalue())
        read(tmp_path, buffer.getvalue())


def test_weights_alone_are_needed_all(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(1), "a.bias": Call(print)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"a\.bias is an object of 'builtins\.print'"):
        read_checkpoint(tmp_path / "x.pth")


def test_objects_without_any_weights_are_refused(tmp_path: Path) -> None:
    """A whole model under a name of its own, for example."""
    torch.save({"net": torch.nn.Linear(1, 1), "epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"net is an object of 'torch\.nn\.modules.*Linear'"):
        read_checkpoint(tmp_path / "x.pth")
    torch.save({"net": {"w": torch.ones(1)}, "loss": torch.nn.L1Loss()}, tmp_path / "x.pth")
    assert list(read_checkpoint(tmp_path / "x.pth")) == ["net"]


def test_state_of_schedulers_is_needed_but_their_functions_are_not(tmp_path: Path, caplog) -> None:
    for function in (print, OrderedDict.fromkeys):
        content = {"param_schedulers": [{"last": 3, "function": function}]}
        torch.save(content, tmp_path / "x.pth")
        assert read_checkpoint(tmp_path / "x.pth")["param_schedulers"] == [{"last": 3}]
    assert "param_schedulers" not in caplog.text
    torch.save({"param_schedulers": [{"last": Call(print)}]}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"param_schedulers\[0\]\.last is an object of"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("name", sorted(REBUILD))
def test_lookalikes_of_rebuilt_names_are_inert(tmp_path: Path, name: str) -> None:
    """The same class in another module, another of the module, and what a call gave."""
    module, _, last = name.rpartition(".")
    head = HEAD + FOREIGN + b"0"  # torch's reader knows some of the names and calls them
    for other in (f"evil.{module}\n{last}", f"{module}\n{last}_", f"{module}x\n{last}"):
        content = read(tmp_path, archive(head + f"c{other}\n".encode() + b"]\x85R" + TAIL))
        assert "payload" not in content
    twice = f"c{module}\n{last}\n".encode() + b")R)R"
    assert "payload" not in read(tmp_path, archive(head + twice + TAIL))


def test_the_parser_knows_no_names_and_the_rebuilder_calls_only_ours() -> None:
    assert all(function.__module__ == "mmattn.io.inert_content" for function in REBUILD.values())
    tree = parse_pickle(io.BytesIO(pickle.dumps(Call(print, "a"), 4)))
    assert isinstance(tree, Record)
    assert (tree.name, tree.args) == ("builtins.print", ("a",))
    source = Path(inert_pickle.__file__).read_text()
    assert "import_module" not in source
    assert "__import__" not in source


def test_class_is_set_on_no_object(tmp_path: Path) -> None:
    state = b"}" + text("__class__") + FOREIGN + b"s" + b"b"
    for target in (b"ccollections\nOrderedDict\n)R", b"cevil\nX\n)\x81"):
        content = read(tmp_path, archive(HEAD + target + state + TAIL))
        assert type(content.get("payload", OrderedDict())) is OrderedDict
    for target in (b"]", b"K\x01", b"(K\x01t", FOREIGN):
        with pytest.raises(CheckpointError, match="sets the state of what is no object"):
            read(tmp_path, archive(HEAD + target + state + TAIL))


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK%stQ%s%s%s\x89Nt"
)


def tensor(count=4, offset=b"K\x00", size=b"(K\x02K\x02t", stride=b"(K\x02K\x01t") -> bytes:
    """Instructions that make a tensor of storage 0; sixteen bytes in the tests below."""
    head, tail = TENSOR.split(b"%s%s%s")
    head = head.replace(b"%s", bytes([count]))
    return head + offset + size + stride + tail + b"R"


BIG = b"\x8a\x08" + struct.pack("<q", 2**61)
NEGATIVE = b"J" + struct.pack("<i", -1)
TENSORS = {
    "storage too small": tensor(count=5),
    "offset beyond": tensor(offset=b"K\x01"),
    "size beyond": tensor(size=b"(K\x02K\x03t"),
    "stride beyond": tensor(stride=b"(K\x03K\x01t"),
    "overflow": tensor(size=b"(K\x09" + BIG + b"t", stride=b"(" + BIG + b"K\x08t"),
    "offset overflow": tensor(offset=BIG),
    "negative offset": tensor(offset=NEGATIVE),
    "negative stride": tensor(stride=b"(" + NEGATIVE + b"K\x01t"),
    "negative size": tensor(size=b"(" + NEGATIVE + b"K\x02t"),
    "sizes without strides": tensor(stride=b")"),
    "boolean size": tensor(size=b"(\x88K\x02t"),
    "empty beyond": tensor(offset=b"K\x05", size=b"(K\x00K\x02t"),
    "too many for memory": tensor(size=b"(" + BIG + b"t", stride=b"(K\x00t"),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("form", ["zip", "stream"])
def test_no_tensor_reaches_beyond_its_storage(tmp_path: Path, name: str, form: str) -> None:
    head = HEAD.replace(b"state_dict}", b"state_dict}(X\x01\x00\x00\x00w" + b"%su")
    data = head.replace(b"%s", TENSORS[name]) + FOREIGN + TAIL
    file = archive(data, {"x/data/0": bytes(16)})
    if form == "stream":
        old = data.replace(b"tQ", b"NtQ")
        file = stream(old, b"\x80\x02]X\x01\x00\x00\x000a." + struct.pack("<q", 4) + bytes(16))
    if name == "too many for memory":  # a view of one number: no memory is taken
        assert read(tmp_path, file)["state_dict"]["w"].shape == (2**61,)
        return
    with pytest.raises(CheckpointError, match=r"x\.pth: "):
        read(tmp_path, file)
    good = data.replace(TENSORS[name], tensor())
    content = read(tmp_path, archive(good, {"x/data/0": np.arange(4, dtype="f4").tobytes()}))
    assert content["state_dict"]["w"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU of the file must not be there")
def test_storages_of_a_gpu_are_mapped(tmp_path: Path) -> None:
    head = HEAD.replace(b"state_dict}", b"state_dict}(X\x01\x00\x00\x00w" + tensor() + b"u")
    data = head.replace(b"X\x03\x00\x00\x00cpu", text("cuda:1")) + FOREIGN + TAIL
    file = tmp_path / "x.pth"
    file.write_bytes(archive(data, {"x/data/0": bytes(16)}))
    for where in ("cpu", torch.device("cpu"), {"cuda:1": "cpu"}, lambda storage, location: storage):
        assert read_checkpoint(file, where)["state_dict"]["w"].device.type == "cpu"
    for where in (None, {"cuda:0": "cpu"}, lambda storage, location: None):
        with pytest.raises(CheckpointError, match=r"x\.pth: "):
            read_checkpoint(file, where)


@pytest.mark.parametrize(
    "storages",
    [
        b"\x80\x02].",
        b"\x80\x02]X\x01\x00\x00\x000a." + struct.pack("<q", 4) + bytes(15),
        b"\x80\x02]X\x01\x00\x00\x000a." + struct.pack("<q", -4) + bytes(16),
        b"\x80\x02]X\x01\x00\x00\x000a." + struct.pack("<q", 2**62) + bytes(16),
        b"\x80\x02]X\x01\x00\x00\x001a." + struct.pack("<q", 4) + bytes(16),
        b"\x80\x02K\x01.",
        b"",
    ],
)
def test_storages_of_a_stream_are_within_the_file(tmp_path: Path, storages: bytes) -> None:
    data = HEAD + b"]0" + tensor().replace(b"tQ", b"NtQ") + TAIL
    data = data.replace(b"state_dict}", b"state_dict" + FOREIGN + b"0}")
    with pytest.raises(CheckpointError, match=r"x\.pth: "):
        read(tmp_path, stream(data, storages))


ARRAY = (
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01%s"
    b"cnumpy\ndtype\n(%s\x89\x88tR(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    b"K\x00tb\x89%stb"
)


def array(shape=b"K\x02\x85", dtype="f4", data=bytes(8)) -> bytes:
    """Instructions that make an array of numpy."""
    first, second, third, end = ARRAY.split(b"%s")
    return first + shape + second + text(dtype) + third + b"C" + bytes([len(data)]) + data + end


@pytest.mark.parametrize(
    "payload",
    [
        array(dtype="O8", data=bytes(16)),
        array(dtype="O", data=bytes(16)),
        array(dtype="V4"),
        array(dtype="M8", data=bytes(16)),
        array(dtype="f4,O"),
        array(dtype="os.system"),
        array(shape=b"K\x03\x85"),
        array(shape=NEGATIVE + b"\x85"),
        array(shape=BIG + BIG + b"\x86"),
        array(shape=b"\x88\x85"),
        array(data=bytes(7)),
    ],
)
def test_arrays_of_anything_but_numbers_are_left_out(tmp_path: Path, payload: bytes) -> None:
    assert "payload" not in read(tmp_path, archive(HEAD + payload + TAIL))
    good = read(tmp_path, archive(HEAD + array(data=bytes(8)) + TAIL))
    assert good["payload"].tolist() == [0, 0]


def deep(opening: bytes, closing: bytes, depth: int = 100_000) -> bytes:
    return HEAD + opening * depth + b"K\x01" + closing * depth + TAIL


@pytest.mark.parametrize(
    "data",
    [
        deep(b"](", b"e"),
        deep(b"", b"\x85"),
        deep(b"}" + text("k"), b"s"),
        deep(b"cevil\nX\n", b"\x85R"),
        # As a key: hashing a deep tuple overflows the stack of the interpreter.
        HEAD + b"}K\x01" + b"\x85" * 100_000 + b"K\x01s" + TAIL,
        HEAD + b"cbuiltins\nset\n]K\x01" + b"\x85" * 100_000 + b"a\x85R" + TAIL,
    ],
    ids=["lists", "tuples", "dictionaries", "calls", "key", "set"],
)
def test_deep_nesting_is_an_error_or_left_out(tmp_path: Path, data: bytes) -> None:
    data = data.replace(b"state_dict}", b"state_dict" + FOREIGN + b"0}")
    try:
        assert "payload" not in read(tmp_path, archive(data))
    except CheckpointError as error:
        assert "nested too deeply" in str(error)


@pytest.mark.parametrize("data", [b"]q\x01h\x01a", b"}q\x01" + text("k") + b"h\x01s"])
def test_what_holds_itself_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CheckpointError, match="hold themselves"):
        read(tmp_path, archive(HEAD + FOREIGN + b"0" + data + TAIL))


def test_sharing_is_kept_so_that_it_cannot_explode(tmp_path: Path) -> None:
    """Forty lists, each of which holds the one before ten times: 10^40 numbers."""
    levels = b"".join(
        b"](" + b"h%c" % (number - 1) * 10 + b"eq%c" % number if number else b"](K\x01eq\x00"
        for number in range(40)
    )
    data = HEAD + FOREIGN + b"0(" + levels + b"t" + TAIL
    start = time.perf_counter()
    payload = read(tmp_path, archive(data))["payload"]
    assert time.perf_counter() - start < 5
    assert payload[39][0] is payload[38]


def test_too_many_instructions_are_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(inert_pickle, "MAX_INSTRUCTIONS", 1000)
    data = HEAD + FOREIGN + b"0]" + b"(K\x01e" * 1000 + TAIL
    with pytest.raises(CheckpointError, match="more than 1000 instructions"):
        read(tmp_path, archive(data))


@pytest.mark.parametrize(
    "instructions",
    [
        b"\x82\x01",  # EXT1
        b"\x83\x01\x00",  # EXT2
        b"\x84\x01\x00\x00\x00",  # EXT4
        b"\x97",  # NEXT_BUFFER
        b"Pname\n",  # PERSID
        b"h\x09",  # a memo that was never written
        b"0" * 20,
        b"K\x01K\x01R",  # calls a number
        b"K\x01)R",
        b"K\x01K\x01\x93",  # a class named by a number
        b"\x8d" + struct.pack("<Q", 2**62),  # a text of four exabytes
        b"t",
        b"(K\x01\x87",
    ],
)
def test_senseless_instructions_are_an_error(tmp_path: Path, instructions: bytes) -> None:
    for form in (archive, stream):
        with pytest.raises(CheckpointError, match=r"x\.pth: "):
            read(tmp_path, form(b"\x80\x04" + FOREIGN + b"0" + HEAD[2:] + instructions + TAIL))


def test_references_outside_the_file_are_refused(tmp_path: Path) -> None:
    payload = text("http://evil") + b"Q"
    assert "payload" not in read(tmp_path, archive(HEAD + payload + TAIL))
    data = HEAD.replace(b"state_dict}", b"state_dict" + payload) + b"K\x01" + TAIL
    with pytest.raises(CheckpointError, match="a reference outside the file"):
        read(tmp_path, archive(data))


GOOD = HEAD + FOREIGN + TAIL


def test_zip_with_two_entries_of_one_name_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO(archive(GOOD))
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr("x/data.pkl", GOOD)
    with pytest.raises(CheckpointError, match=r"x\.pth: .*two entries of one name"):
        read(tmp_path, buffer.getvalue())


def test_zip_with_two_pickles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x\.pth: "):
        read(tmp_path, archive(GOOD, {"y/data.pkl": GOOD}))


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    bomb = archive(GOOD, {"x/data/0": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000
    with pytest.raises(CheckpointError, match="is compressed"):
        read(tmp_path, bomb)
    # A stored entry that claims to be larger than the file.
    content = archive(GOOD, {"x/data/0": b"12345678"})
    size = struct.pack("<II", 8, 8)
    assert content.count(size) == 2
    content = content.replace(size, struct.pack("<II", 2**31, 2**31))
    with pytest.raises(CheckpointError, match=r"x\.pth: "):
        read(tmp_path, content)


def test_flipped_bits_of_a_storage_are_noticed(tmp_path: Path) -> None:
    data = HEAD.replace(b"state_dict}", b"state_dict}(X\x01\x00\x00\x00w" + tensor() + b"u")
    content = archive(data + FOREIGN + TAIL, {"x/data/0": b"0123456789abcdef"})
    assert read(tmp_path, content)["state_dict"]["w"].shape == (2, 2)
    with pytest.raises(CheckpointError, match=r"x\.pth: .*(CRC|checksum)"):
        read(tmp_path, content.replace(b"0123456789abcdef", b"0123456789abcdeF"))


def test_other_byte_orders_are_refused(tmp_path: Path) -> None:
    other = "big" if sys.byteorder == "little" else "little"
    with pytest.raises(CheckpointError, match=f"{other}-endian"):
        read(tmp_path, archive(GOOD, {"x/byteorder": other.encode()}))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_random_damage_gives_our_error_or_data(tmp_path: Path) -> None:
    """A thousand files with one byte changed."""
    generator = np.random.default_rng(0)
    content = {"state_dict": {"a": torch.ones(3)}, "meta": {"call": print, "x": np.float32(1)}}
    pickled = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        pickled.append(buffer.getvalue())
    # The pickle is what matters; a changed byte of a zip fails its checksum.
    with zipfile.ZipFile(io.BytesIO(pickled[0])) as file:
        data = {name: file.read(name) for name in file.namelist()}
    root = next(iter(data)).split("/")[0]
    inner = data[f"{root}/data.pkl"]
    assert [code.name for code, *_ in pickletools.genops(inner)][-1] == "STOP"
    for number in range(1000):
        changed = bytearray(inner if number % 2 else pickled[1])
        changed[generator.integers(len(changed))] = generator.integers(256)
        file = bytes(changed)
        if number % 2:
            file = archive(file, {"x/data/0": bytes(12)})
        try:
            assert isinstance(read(tmp_path, file), dict)
        except CheckpointError as error:
            assert "x.pth" in str(error)
