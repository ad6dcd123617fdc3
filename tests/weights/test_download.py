"""Promise: a download is whole or an error; it is resumed, tried again, and leaks no token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.request import Request

import pytest

from mmattn.io.download import SourceError, _Redirects, download
from mmattn.weights.progress import progress_text
from tests.support.file_server import FileServer, serving

from .conftest import CONTENT, QUICK


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / ".file.part"


def test_a_file(server: FileServer, part: Path) -> None:
    server.files["/a"] = CONTENT
    seen: list[tuple[int, int | None]] = []
    download(server.url + "/a", part, progress=lambda *now: seen.append(now), patience=QUICK)
    assert part.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not part.with_name(".file.part.json").exists()


def test_a_cut_is_resumed_where_it_was(server: FileServer, part: Path) -> None:
    server.files["/a"] = CONTENT
    server.cuts["/a"] = [30_000, 20_000]
    download(server.url + "/a", part, size=len(CONTENT), patience=QUICK)
    assert part.read_bytes() == CONTENT
    ranges = [headers.get("range") for _, headers in server.requests]
    assert ranges == [None, "bytes=30000-", "bytes=50000-"]


def test_a_later_call_resumes_too(server: FileServer, part: Path) -> None:
    server.files["/a"] = CONTENT
    server.cuts["/a"] = [30_000]
    with pytest.raises(SourceError, match="cut after 30,000 of 102,400 bytes"):
        download(server.url + "/a", part, patience=replace(QUICK, attempts=1))
    download(server.url + "/a", part, patience=QUICK)
    assert part.read_bytes() == CONTENT and len(server.requests) == 2
    assert server.requests[1][1]["range"] == "bytes=30000-"


def test_a_file_that_changed_meanwhile_begins_anew(server: FileServer, part: Path) -> None:
    server.files["/a"] = CONTENT
    server.cuts["/a"] = [30_000]
    with pytest.raises(SourceError):
        download(server.url + "/a", part, patience=replace(QUICK, attempts=1))
    server.files["/a"] = CONTENT[::-1]
    download(server.url + "/a", part, patience=QUICK)
    assert part.read_bytes() == CONTENT[::-1]


def test_another_address_does_not_go_on_with_the_part(server: FileServer, part: Path) -> None:
    server.files |= {"/a": CONTENT, "/b": CONTENT[::-1]}
    server.cuts["/a"] = [30_000]
    with pytest.raises(SourceError):
        download(server.url + "/a", part, patience=replace(QUICK, attempts=1))
    download(server.url + "/b", part, patience=QUICK)
    assert part.read_bytes() == CONTENT[::-1]
    assert "range" not in server.requests[1][1]


def test_a_part_that_is_longer_than_the_file_is_dropped(server: FileServer, part: Path) -> None:
    server.files["/a"] = CONTENT
    server.cuts["/a"] = [30_000]
    with pytest.raises(SourceError):
        download(server.url + "/a", part, patience=replace(QUICK, attempts=1))
    part.write_bytes(CONTENT * 2)
    download(server.url + "/a", part, patience=QUICK)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(server: FileServer, part: Path, status: int) -> None:
    server.files["/a"] = CONTENT
    server.statuses["/a"] = [status, status]
    download(server.url + "/a", part, patience=QUICK)
    assert part.read_bytes() == CONTENT


def test_what_is_not_there_is_asked_for_once(server: FileServer, part: Path) -> None:
    with pytest.raises(SourceError, match="HTTP 404"):
        download(server.url + "/none", part, patience=QUICK)
    assert server.asked() == ["/none"]


def test_a_silent_server_is_given_up(server: FileServer, part: Path) -> None:
    server.files["/a"] = CONTENT
    server.stalls.add("/a")
    with pytest.raises(SourceError, match=r"(?i)timed? ?out") as error:
        download(server.url + "/a", part, patience=replace(QUICK, seconds=0.1, attempts=2))
    assert error.value.offline and server.asked() == ["/a", "/a"]


def test_no_server(part: Path) -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(SourceError, match="refused") as error:
        download(url + "/a", part, patience=replace(QUICK, attempts=2))
    assert error.value.offline


def test_another_size_is_refused_before_the_first_byte(server: FileServer, part: Path) -> None:
    server.files["/a"] = CONTENT
    with pytest.raises(SourceError, match="has 102,400 bytes where 7 are expected"):
        download(server.url + "/a", part, size=7, patience=QUICK)
    assert not part.exists()


def test_redirects_are_followed_and_keep_the_range(server: FileServer, part: Path) -> None:
    server.files["/b"] = CONTENT
    server.cuts["/b"] = [30_000]
    server.redirects["/a"] = "/b"
    download(server.url + "/a", part, patience=QUICK)
    assert part.read_bytes() == CONTENT
    assert server.asked() == ["/a", "/b", "/a", "/b"]
    assert server.requests[-1][1]["range"] == "bytes=30000-"


def test_a_token_goes_to_its_own_host_alone(server: FileServer, part: Path) -> None:
    with serving({"/b": CONTENT}) as storage:
        server.redirects |= {"/a": "/moved", "/moved": f"{storage.url}/b"}
        download(server.url + "/a", part, token="secret", patience=QUICK)
        asked = dict(server.requests + storage.requests)
    assert asked["/a"]["authorization"] == asked["/moved"]["authorization"] == "Bearer secret"
    assert "authorization" not in asked["/b"]


def test_https_does_not_become_http() -> None:
    request = Request("https://example.org/a")
    with pytest.raises(SourceError, match="redirects from https to http"):
        _Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_proxies_of_the_environment_hold(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://weights.invalid/a"
    with serving({address: CONTENT}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        download(address, part, patience=QUICK)
        assert proxy.asked() == [address]
    assert part.read_bytes() == CONTENT


def test_the_line() -> None:
    assert progress_text("a", 45_000_000, 100_000_000, 3.1e6) == "a: 45 % of 100.0 MB, 3.1 MB/s"
    assert progress_text("a", 45_000_000, None, 3.1e6) == "a: 45.0 MB, 3.1 MB/s"
