"""Promise: weights by name are those of the index, from whichever place has them, or an error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmattn.errors import DigestError, DownloadError, LicenceError, MissingCheckpointError
from mmattn.weights import Pulled, pull_weights, write_bundle
from mmattn.weights.cache import cached_source, read_record
from mmattn.weights.index import find_entry
from mmattn.weights.licences import ask_in_terminal
from tests.support.file_server import FileServer, serving

from .conftest import CONTENT, QUICK, SHA256


def pull(name: str = "small", **more) -> Pulled:
    return pull_weights(name, patience=QUICK, **more)


def test_download_once(server: FileServer, index: Callable, cache: Path) -> None:
    index({"sources": [{"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    said: list[str] = []
    first, second = pull(say=said.append), pull(say=said.append)
    assert server.asked() == ["/a"] and first == second
    assert first.path == cache / "small/small.pth" and first.path.read_bytes() == CONTENT
    assert SHA256 in str(first) and server.url in str(first) and "MIT" in str(first)
    assert len(said) == 1 and "as the index says" in said[0]
    assert sorted(p.name for p in first.path.parent.iterdir()) == [
        ".lock", "small.pth", "source.json",
    ]  # fmt: skip


def test_the_next_source_is_asked_where_one_has_nothing(
    server: FileServer, index: Callable
) -> None:
    index({"sources": [{"url": f"{server.url}/gone"}, {"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    said: list[str] = []
    assert pull(say=said.append).origin == f"{server.url}/a"
    assert said[0] == f"small: {server.url.removeprefix('http://')}: HTTP 404"


def test_hosts_have_mirrors(server: FileServer, index: Callable) -> None:
    with serving() as mirror:
        index(
            {"sources": [{"url": f"{server.url}/v1/a"}]},
            mirrors={f"{server.url}/": [f"{mirror.url}/copy/"]},
        )
        mirror.files["/copy/v1/a"] = CONTENT
        assert pull().origin == f"{mirror.url}/copy/v1/a"
    assert server.asked() == []


@pytest.mark.parametrize("digest", ["sha256", "sha256_prefix"])
def test_another_file_is_set_aside_and_the_next_source_asked(
    server: FileServer, index: Callable, cache: Path, digest: str
) -> None:
    known = {"sha256": None, digest: SHA256[: 64 if digest == "sha256" else 8]}
    index({"sources": [{"url": f"{server.url}/bad"}, {"url": f"{server.url}/a"}], **known})
    server.files |= {"/bad": b"another", "/a": CONTENT}
    assert pull().path.read_bytes() == CONTENT
    assert (cache / "small/small.pth.wrong").read_bytes() == b"another"


def test_another_file_alone_is_an_error_with_both_digests(
    server: FileServer, index: Callable, cache: Path
) -> None:
    index({"sources": [{"url": f"{server.url}/bad"}]})
    server.files["/bad"] = b"another"
    with pytest.raises(DigestError) as error:
        pull()
    text = str(error.value)
    assert (
        SHA256 in text
        and "ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5" in text
    )
    assert f"{server.url}/bad" in text and "small.pth.wrong" in text
    assert not (cache / "small/small.pth").exists()


def test_without_network_one_sentence_has_all_ways_out(index: Callable, cache: Path) -> None:
    with serving() as gone:
        url = gone.url
    index({"sources": [{"url": f"{url}/a"}]})
    with pytest.raises(DownloadError) as error:
        pull_weights("small", patience=replace(QUICK, attempts=1))
    text = str(error.value)
    assert "\n" not in text and url.removeprefix("http://") in text and "refused" in text
    assert f"Put the file at {cache}/small/small.pth" in text
    assert "set MMATTN_WEIGHTS_MIRROR" in text
    assert "mmattn weights bundle small --out weights.tar" in text


def test_offline_touches_no_network(
    server: FileServer, index: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    index({"sources": [{"hf": "a/b", "file": "x"}, {"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("MMATTN_OFFLINE", "1")
    with pytest.raises(DownloadError, match="MMATTN_OFFLINE is set"):
        pull()
    assert server.asked() == []


def test_a_file_put_there_by_hand(index: Callable, cache: Path) -> None:
    index({})
    with pytest.raises(DownloadError) as error:
        pull()
    assert f"get small.pth from https://example.org/small and put it at {cache}" in str(error.value)
    (cache / "small/small.pth").write_bytes(CONTENT)
    assert pull().origin == "put there by hand"
    (cache / "small/small.pth").write_bytes(CONTENT[::-1])
    with pytest.raises(DigestError, match=SHA256):
        pull()


def test_a_file_that_changed_is_seen(server: FileServer, index: Callable) -> None:
    index({"sources": [{"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    pull().path.write_bytes(b"changed")
    with pytest.raises(DigestError):
        pull()


def test_a_digest_that_nobody_knows_is_recorded(server: FileServer, index: Callable) -> None:
    index({"sha256": None, "sources": [{"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    said: list[str] = []
    assert pull(say=said.append).sha256 == SHA256
    assert "the index knows none, so it is recorded" in said[0]


def test_unknown_names() -> None:
    with pytest.raises(MissingCheckpointError, match="Did you mean 'torchvision_resnet50_in1k'"):
        pull("torchvision_resnet50_1k")


def test_two_processes_download_once(server: FileServer, index: Callable) -> None:
    index({"sources": [{"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    server.slow["/a"] = 1.0
    code = "from mmattn.weights import pull_weights; print(pull_weights('small', say=print).path)"
    two = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].splitlines() for process in two]
    assert [process.returncode for process in two] == [0, 0]
    assert server.asked() == ["/a"] and said[0][-1] == said[1][-1]


# The hub


@pytest.fixture
def hub(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_hub_is_asked_for_a_commit(
    hub: FileServer, index: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    index({"sources": [{"hf": "a/b", "revision": COMMIT, "file": "sub/model.safetensors"}]})
    path = f"/a/b/resolve/{COMMIT}/sub/model.safetensors"
    with serving({"/blob": CONTENT}) as storage:
        hub.redirects[path] = f"{storage.url}/blob"
        hub.headers[path] = {"X-Linked-Etag": f'"{SHA256}"'}
        assert pull().origin == hub.url + path
        assert "authorization" not in storage.requests[0][1]
    assert hub.requests[0][1]["authorization"] == "Bearer secret"


def test_without_a_commit_in_the_index_the_newest_is_taken_and_named(
    hub: FileServer, index: Callable
) -> None:
    index({"sources": [{"hf": "a/b", "revision": None, "file": "m"}]})
    hub.files["/api/models/a/b/revision/main"] = f'{{"sha": "{COMMIT}"}}'.encode()
    hub.files[f"/a/b/resolve/{COMMIT}/m"] = CONTENT
    said: list[str] = []
    assert COMMIT in pull(say=said.append).origin
    assert f"the index knows no commit of a/b; this is {COMMIT}" in said[-1]


def test_the_hubs_own_digest_is_compared(hub: FileServer, index: Callable) -> None:
    index({"sha256": None, "sources": [{"hf": "a/b", "revision": COMMIT, "file": "m"}]})
    path = f"/a/b/resolve/{COMMIT}/m"
    hub.redirects[path] = "/blob"
    hub.headers[path] = {"X-Linked-Etag": f'"{"0" * 64}"'}
    hub.files["/blob"] = CONTENT
    with pytest.raises(DigestError, match="the server says 0000"):
        pull()


def test_a_gated_repository_says_what_to_do(hub: FileServer, index: Callable) -> None:
    index({"sources": [{"hf": "a/b", "revision": COMMIT, "file": "m"}]})
    hub.statuses[f"/a/b/resolve/{COMMIT}/m"] = [401]
    with pytest.raises(
        DownloadError, match=r"HTTP 401: accept the terms at .*a/b and set HF_TOKEN"
    ):
        pull()


# Mirrors


@pytest.mark.parametrize("form", ["folder", "tar", "address"])
def test_a_bundle_is_a_mirror(
    server: FileServer, index: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    index({"sources": [{"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    said: list[str] = []
    out = tmp_path / ("bundle.tar" if form == "tar" else "bundle")
    write_bundle([pull()], out, said.append)
    assert said == ["small/small.pth  0.1 MB"]
    # A machine without network: another cache, and nothing at the source.
    monkeypatch.setenv("MMATTN_CACHE", str(tmp_path / "there"))
    mirror = str(out)
    if form == "address":
        server.files = {"/m/small/small.pth": (out / "small/small.pth").read_bytes()}
        mirror = f"{server.url}/m/"
    else:
        monkeypatch.setenv("MMATTN_OFFLINE", "1")
        assert (form == "tar") != (out / "SHA256SUMS").is_file()
    monkeypatch.setenv("MMATTN_WEIGHTS_MIRROR", mirror)
    pulled = pull()
    assert pulled.path.read_bytes() == CONTENT and mirror.rstrip("/") in pulled.origin
    assert pulled.path.is_relative_to(tmp_path / "there")


def test_a_mirror_without_the_file_is_passed_over(
    server: FileServer, index: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index({"sources": [{"url": f"{server.url}/a"}]})
    server.files["/a"] = CONTENT
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("MMATTN_WEIGHTS_MIRROR", str(tmp_path / "empty"))
    said: list[str] = []
    assert pull(say=said.append).origin == f"{server.url}/a"
    assert "has no small/small.pth" in said[0]


def test_a_damaged_mirror_is_seen(
    index: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index({})
    (tmp_path / "mirror/small").mkdir(parents=True)
    (tmp_path / "mirror/small/small.pth").write_bytes(CONTENT[:-1])
    monkeypatch.setenv("MMATTN_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(DigestError, match=SHA256):
        pull()


def test_a_second_bundle_into_a_folder_keeps_the_first(
    server: FileServer, index: Callable, tmp_path: Path
) -> None:
    one, two = {"name": "one"}, {"name": "two"}
    for entry in (one, two):
        entry["sources"] = [{"url": f"{server.url}/a"}]  # type: ignore[assignment]
    index(one, two)
    server.files["/a"] = CONTENT
    for name in ("two", "one", "two"):
        write_bundle([pull(name)], tmp_path / "out", lambda text: None)
    assert (tmp_path / "out/SHA256SUMS").read_text() == (
        f"{SHA256}  one/small.pth\n{SHA256}  two/small.pth\n"
    )


# Licences

NON_COMMERCIAL = {"text": "CC BY-NC 4.0", "url": "https://example.org/nc", "non_commercial": True}


def test_a_licence_is_asked_for_once(server: FileServer, index: Callable) -> None:
    source = [{"url": f"{server.url}/a"}]
    index(
        {"licence": NON_COMMERCIAL, "sources": source},
        {"name": "other", "licence": NON_COMMERCIAL, "sources": source},
    )
    server.files["/a"] = CONTENT
    with pytest.raises(LicenceError) as error:
        pull()
    assert "CC BY-NC 4.0 (non-commercial), https://example.org/nc" in str(error.value)
    assert "mmattn weights pull small --accept-licence" in str(error.value)
    with pytest.raises(LicenceError):
        pull(ask=lambda text: False)
    assert server.asked() == []
    asked: list[str] = []
    pull(ask=lambda text: not asked.append(text))
    assert "Do you accept" in asked[0]
    pull()
    pull("other")  # under the same licence of the same page
    assert len(asked) == 1


@pytest.mark.parametrize(
    "licence",
    [
        {"spdx": "AGPL-3.0", "url": "https://example.org"},
        {"spdx": "MIT", "url": "https://example.org", "gated": True},
        {"text": "not stated", "url": "https://example.org", "unclear": True},
    ],
)
def test_licences_that_ask(index: Callable, licence: dict) -> None:
    index({"licence": licence})
    with pytest.raises(LicenceError):
        pull()
    with pytest.raises(DownloadError):  # accepted, and then there is no source
        pull(accept=True)


def test_a_record_of_another_version_is_no_record(index: Callable, cache: Path) -> None:
    index({})
    (cache / "small").mkdir(parents=True)
    (cache / "small/small.pth").write_bytes(CONTENT)
    (cache / "small/source.json").write_text('{"other": 1}')
    entry = find_entry("small")
    assert read_record(entry) is None
    record = cached_source(entry)
    assert record is not None and record.sha256 == SHA256 and read_record(entry) == record


def test_a_tar_file_that_may_not_be_read_is_one_place_without_the_file(
    index: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index({"sources": [{"url": "http://127.0.0.1:9/a"}]})
    mirror = tmp_path / "weights.tar"
    mirror.touch()
    monkeypatch.setenv("MMATTN_WEIGHTS_MIRROR", str(mirror))

    def refused(*args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mmattn.weights.places.tarfile.open", refused)
    with pytest.raises(DownloadError, match=r"weights\.tar \(cannot be read: Permission denied\)"):
        pull()


def test_several_processes_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would ask the same, and what is typed reaches one of them."""
    for name in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{name}", SimpleNamespace(isatty=lambda: True))
    assert ask_in_terminal() is not None
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ask_in_terminal() is None
