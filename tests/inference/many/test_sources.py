"""Promise: a great many images are listed in one order, each once, and shards share them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.errors import ConfigError, DataError
from mmattn.inference.many import ManySources, Shard, launched_shard, read_shard
from mmattn.inference.many.shard import local_rank, processes_here


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ("b.png", "a.jpg", "._a.jpg", "note.txt", "z/1.png", "c/d/2.png", ".git/3.png")
    return touch(tmp_path / "in", *names)


def names(sources: ManySources, shard: Shard | None = None) -> list[str]:
    return [image.name for image in sources.images(shard)]


def test_a_folder_is_listed_sorted_and_its_sub_folders_when_asked_for(tree: Path) -> None:
    assert names(ManySources([tree])) == ["a.jpg", "b.png"]
    deep = ManySources([tree], recursive=True)
    assert names(deep) == ["a.jpg", "b.png", "c/d/2.png", "z/1.png"]
    assert [Path(image.file) for image in deep.images()][2] == tree / "c/d/2.png"


def test_patterns_fit_as_in_glob(tree: Path) -> None:
    for pattern in ("*.png", "**/*.png", "*/1.*", "**", "c/**/*", "?/d/*"):
        there = {path for path in tree.glob(pattern) if path.suffix in (".png", ".jpg")}
        if pattern == "**":  # glob: folders alone; here, as in the shell, what is in them
            there = set(tree.rglob("*.png")) | set(tree.rglob("*.jpg"))
        expected = sorted(p for p in there if not any(x.startswith(".") for x in p.parts[-2:]))
        found = [Path(image.file) for image in ManySources([tree / pattern]).images()]
        assert sorted(found) == expected and found, pattern


def test_what_several_sources_hold_comes_once(tree: Path) -> None:
    given = [tree / "**/*.png", tree, tree / "a.jpg", tree / "c/d/2.png"]
    assert sorted(names(ManySources(given))) == ["a.jpg", "b.png", "c/d/2.png", "z/1.png"]


def test_names_are_below_the_folder_that_all_sources_have_in_common(tree: Path) -> None:
    assert names(ManySources([tree / "z", tree / "c/d"])) == ["z/1.png", "c/d/2.png"]


def test_what_cannot_be_listed_is_named(tree: Path) -> None:
    touch(tree, "same/x.jpg", "same/x.png", "empty/readme.txt")
    for given, said in (
        ([tree / "gone"], "no such image or folder"),
        ([tree / "empty"], "holds no images itself; --recursive"),
        ([tree / "*.gif"], "no image fits this pattern"),
        ([tree / "**/c/**/*"], "one part"),
        (["street.mp4"], "is a video"),
    ):
        with pytest.raises(DataError, match=said):
            list(ManySources(given).images())
    same = ManySources([tree / "same"])
    assert len(list(same.images())) == 2
    with pytest.raises(DataError, match=r"x\.jpg and .*x\.png would have results of one name"):
        list(same.images(different_stems=True))


def test_results_may_not_come_among_the_images(tree: Path) -> None:
    ManySources([tree]).refuse_results_among_images(tree / "out")
    for given, recursive, out in (
        (tree, False, tree),
        (tree, True, tree / "out"),
        (tree / "**/*", False, tree / "out"),
        (tree / "a.jpg", False, tree),
    ):
        with pytest.raises(DataError, match="among the images"):
            ManySources([given], recursive=recursive).refuse_results_among_images(out)


def test_shards_share_all_images_out_also_when_split(tmp_path: Path) -> None:
    many = ManySources([touch(tmp_path, *(f"{i:03d}.png" for i in range(400)))])
    shards = [part for index in range(2) for part in Shard(index, 2).split(3)]
    shares = [names(many, shard) for shard in shards]
    assert sorted(name for share in shares for name in share) == names(many)
    assert min(map(len, shares)) > 40
    assert names(many, Shard(1, 2)) == sorted(n for share in shares[3:] for n in share)


def test_more_than_stops_at_the_folder_that_exceeds_it(tree: Path, monkeypatch) -> None:
    sources = ManySources([tree], recursive=True)
    assert sources.more_than(3) and not sources.more_than(4)


def test_a_shard_is_read_and_checked() -> None:
    assert read_shard("3/4") == Shard(3, 4)
    for wrong in ("4/4", "1", "-1/2", "a/b", "0/0"):
        with pytest.raises(ConfigError, match="give I/N"):
            read_shard(wrong)


def test_the_shard_is_that_of_torchrun_or_srun() -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "1", "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert launched_shard(torchrun) == (Shard(2, 4), "torchrun")
    assert local_rank(torchrun) == 1
    step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "3"}
    assert launched_shard(step) == (Shard(5, 8), "srun")
    assert local_rank(step) == 3
    # srun -n 2 within a job of eight tasks, and the job's own script.
    assert launched_shard({**step, "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}) == (
        Shard(1, 2),
        "srun",
    )
    assert launched_shard({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) is None
    assert launched_shard({}) is None


def test_processes_of_a_launcher_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes_here({}) == 1
    assert processes_here({"TORCHELASTIC_RUN_ID": "a", "LOCAL_WORLD_SIZE": "4"}) == 4
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_TASKS_PER_NODE": "4(x2),1", "SLURM_NODEID": "1"}
    for bound, count in ((False, 4), (True, 1)):
        monkeypatch.setattr("mmattn.inference.many.shard._is_bound", lambda bound=bound: bound)
        assert processes_here(step) == count
    monkeypatch.setattr("mmattn.inference.many.shard._is_bound", lambda: False)
    assert processes_here({**step, "SLURM_NODEID": "2"}) == 1
