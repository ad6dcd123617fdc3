"""Promise: a run over many images loses and doubles none, however often it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmattn.errors import ConfigError, DataError, RankError, StorageError
from mmattn.inference.many import (
    ManyOptions,
    ManySources,
    Shard,
    all_finished,
    merge_parts,
    predict_in_processes,
    predict_many,
)
from mmattn.inference.many.journal import Journal, part_path
from mmattn.inference.many.progress import Progress
from tests.support.many_images import FakeDetector, Load, names_in, score_of

JSONL = ManyOptions(format="jsonl")


def folder(path: Path, count: int) -> Path:
    path.mkdir()
    for index in range(count):
        (path / f"{index:05d}.png").write_bytes(b"")
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder(tmp_path / "in", 60)


def run(images: Path, out: Path, options: ManyOptions = JSONL, **given):
    return predict_many(FakeDetector(), ManySources([images]), out, options, **given)


def test_each_image_is_one_line_and_the_merged_file_has_coco_s_form(
    images: Path, tmp_path: Path
) -> None:
    (images / "00007.png").write_bytes(b"broken")
    for index in range(3):
        assert not all_finished(tmp_path / "out")
        run(images, tmp_path / "out", ManyOptions(), shard=Shard(index, 3))
    assert names_in(tmp_path / "out") == sorted(path.name for path in images.iterdir())
    assert all_finished(tmp_path / "out")
    merged = merge_parts(tmp_path / "out")
    assert (merged.images, merged.broken, merged.complete) == (59, 1, True)
    assert "00007.png cannot be read: it is broken" in merged.first_broken
    content = json.loads(merged.path.read_text())
    assert merged.path.name == "detections.json"
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    by_id = {image["id"]: image for image in content["images"]}
    assert sorted(by_id) == list(range(1, 60))
    assert len(content["annotations"]) == 59
    for found in content["annotations"]:
        image = by_id[found["image_id"]]
        assert (image["height"], image["width"]) == (4, 6)
        assert found["bbox"] == [0, 1, 4, 2] and found["area"] == 8
        assert found["score"] == pytest.approx(score_of(image["file_name"]))


@pytest.mark.parametrize("batch", [1, 7])
def test_batches_change_nothing_and_break_at_a_broken_image(
    images: Path, tmp_path: Path, batch: int
) -> None:
    (images / "00010.png").write_bytes(b"broken")
    run(images, tmp_path / "out", ManyOptions(format="jsonl", batch=batch))
    merged = merge_parts(tmp_path / "out")
    records = [json.loads(line) for line in merged.path.read_text().splitlines()]
    assert [record["file"] for record in records] == sorted(p.name for p in images.iterdir())
    for record in records:
        if record["file"] == "00010.png":
            assert set(record) == {"file", "error"}
        else:
            assert record["detections"][0]["score"] == pytest.approx(score_of(record["file"]))


def test_a_second_run_predicts_what_is_new_alone(images: Path, tmp_path: Path) -> None:
    first = run(images, tmp_path / "out")
    (images / "new.png").write_bytes(b"")
    lines: list[str] = []
    second = run(images, tmp_path / "out", log=lines.append)
    assert (first.images, second.images, second.before) == (60, 1, 60)
    assert "60 images are finished already" in lines
    # Another number of shards goes on, too.
    (images / "newer.png").write_bytes(b"")
    third = [run(images, tmp_path / "out", shard=Shard(index, 4)) for index in range(4)]
    assert sum(result.images for result in third) == 1
    assert names_in(tmp_path / "out") == sorted(path.name for path in images.iterdir())


def test_images_of_another_folder_are_not_taken_for_finished_ones(
    images: Path, tmp_path: Path
) -> None:
    other = folder(tmp_path / "other", 60)  # of the same names
    run(images, tmp_path / "out")
    with pytest.raises(DataError, match=r"folder of images .*in.*other.*give another --out"):
        run(other, tmp_path / "out")


def test_settings_are_pinned_where_there_are_no_hard_links(
    images: Path, tmp_path: Path, monkeypatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run(images, tmp_path / "out")
    with pytest.raises(DataError, match="holds results with format"):
        run(images, tmp_path / "out", ManyOptions(format="coco"))
    assert [path.name for path in (tmp_path / "out/parts").glob("*settings*")] == ["settings.json"]


def test_a_folder_that_cannot_be_written_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"settings.json: cannot be written.*another --out"):
        run(images, tmp_path / "file" / "out")


@pytest.mark.parametrize("tail", [b'{"file":"00003.png","hei', b"\0\0\0\0\n", b"[1]\n", b"{}\n"])
def test_a_line_that_is_not_complete_is_cut_and_its_image_predicted_again(
    images: Path, tmp_path: Path, tail: bytes
) -> None:
    run(images, tmp_path / "out")
    part = part_path(tmp_path / "out", Shard())
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:40]) + tail + b"".join(lines[41:]))
    said: list[str] = []
    result = run(images, tmp_path / "out", log=said.append)
    assert result.before == 40 and result.images == 20
    assert any("cut" in line and "not complete" in line for line in said)
    assert names_in(tmp_path / "out") == sorted(path.name for path in images.iterdir())


def test_strict_stops_at_the_first_broken_image(images: Path, tmp_path: Path) -> None:
    (images / "00020.png").write_bytes(b"broken")
    strict = ManyOptions(format="jsonl", strict=True)
    for _ in range(2):
        with pytest.raises(DataError, match=r"00020\.png cannot be read"):
            run(images, tmp_path / "out", strict)
    assert len(names_in(tmp_path / "out")) == 20
    run(images, tmp_path / "out")
    with pytest.raises(DataError, match=r"--strict: .*00020\.png"):
        run(images, tmp_path / "out", strict)


def test_results_of_two_settings_are_not_mixed(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "out", model="a")
    with pytest.raises(DataError, match='with model "a", and now it is "b": give another --out'):
        run(images, tmp_path / "out", model="b")
    with pytest.raises(DataError, match="with format"):
        run(images, tmp_path / "out", ManyOptions(format="coco"), model="a")
    with pytest.raises(DataError, match="no results to merge"):
        merge_parts(tmp_path / "nothing")


def test_two_processes_cannot_write_one_shard(images: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out", Shard())
    for shard in (Shard(), Shard(1, 3)):  # of another number, it may be at the same images
        with pytest.raises(ConfigError, match="another process is writing this shard"):
            run(images, tmp_path / "out", shard=shard)
    journal.close()
    assert run(images, tmp_path / "out").images == 60


def test_progress_tells_the_rate_and_the_time_left() -> None:
    now = 0.0
    lines: list[str] = []
    progress = Progress(lines.append, lambda: 1000, before=100, clock=lambda: now)
    progress.update(1, 0)
    now = 20.0
    progress.update(200, 3)
    progress.update(201, 3)
    assert lines == ["300 of 1,000 images, 10 a second, 70 s left, 3 cannot be read"]


def start(images: Path, out: Path, processes: int, seconds: float) -> subprocess.Popen:
    words = ["-m", "tests.support.many_images", str(images), str(out), "0/1", str(processes)]
    return subprocess.Popen([sys.executable, *words, str(seconds)], stderr=subprocess.PIPE)


def wait_for_lines(out: Path, count: int, process: subprocess.Popen) -> None:
    """Wait until some images are finished, but not all."""
    while sum(path.stat().st_size for path in (out / "parts").glob("*.jsonl")) < 100 * count:
        assert process.poll() is None, (process.stderr or sys.stdin).read()
        time.sleep(0.02)


def test_a_killed_run_goes_on(images: Path, tmp_path: Path) -> None:
    process = start(images, tmp_path / "out", 1, 0.05)
    wait_for_lines(tmp_path / "out", 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(names_in(tmp_path / "out"))
    assert 0 < done < 60
    assert run(images, tmp_path / "out", model="fake").before == done
    assert names_in(tmp_path / "out") == sorted(path.name for path in images.iterdir())


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(images: Path, tmp_path: Path) -> None:
    process = start(images, tmp_path / "out", 2, 0.2)
    wait_for_lines(tmp_path / "out", 4, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while True:  # the shards are free again as soon as their processes have ended
        try:
            for shard in Shard().split(2):
                Journal(tmp_path / "out", shard).close()
            break
        except ConfigError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    result = predict_in_processes(Load(), [images], tmp_path / "out", JSONL, processes=2)
    assert 0 < result.before < 60 and result.images + result.before == 60
    assert names_in(tmp_path / "out") == sorted(path.name for path in images.iterdir())


class _Killed(Load):
    def __call__(self, number: int):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(number)


@pytest.mark.slow
def test_a_process_that_dies_is_named(images: Path, tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"process 1 ended by SIGKILL.*the same command goes on"):
        predict_in_processes(_Killed(), [images], tmp_path / "out", JSONL, processes=2)


@pytest.mark.slow
def test_the_error_of_a_process_is_that_of_all(images: Path, tmp_path: Path) -> None:
    (images / "00020.png").write_bytes(b"broken")
    strict = ManyOptions(format="jsonl", strict=True)
    with pytest.raises(DataError, match=r"00020\.png cannot be read"):
        predict_in_processes(Load(), [images], tmp_path / "out", strict, processes=2)
