"""The panoptic metric: mmdet's results on the same maps, more beside them, in any order."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmattn.detections.segment_map import segment_ids
from mmattn.errors import ConfigError, DataError
from mmattn.evaluation import ClasswiseCocoMetric, ClasswisePanopticMetric
from tests.support.panoptic_samples import (
    CLASSES,
    META,
    Scene,
    instance_file,
    random_scenes,
    sample_of,
    write_truth,
)


def build(root: Path, **options) -> ClasswisePanopticMetric:
    metric = ClasswisePanopticMetric(
        ann_file=str(root / "panoptic.json"), seg_prefix=str(root / "panoptic"), **options
    )
    metric.dataset_meta = META
    return metric


def run(metric, scenes: list[Scene], root: Path, *, instances: bool = False) -> dict:
    for scene in scenes:
        metric.process({}, [sample_of(scene, root, instances=instances)])
    return metric.evaluate(len(scenes))


def plain(results: dict) -> dict:
    return {key.removeprefix("coco_panoptic/"): value for key, value in results.items()}


@pytest.mark.parametrize("seed", range(4))
def test_results_are_those_of_mmdet(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("panopticapi", reason="mmdet's CocoPanopticMetric needs panopticapi")
    from mmdet.evaluation import CocoPanopticMetric

    scenes = random_scenes(seed, 12)
    root = write_truth(tmp_path, scenes)
    theirs = CocoPanopticMetric(
        ann_file=str(root / "panoptic.json"), seg_prefix=str(root / "panoptic")
    )
    theirs.dataset_meta = META
    expected = run(theirs, scenes, root)
    found = run(build(root), scenes, root)
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert 5 < found["coco_panoptic/PQ"] < 95


def test_truth_of_the_samples_gives_the_same(tmp_path: Path) -> None:
    scenes = random_scenes(1, 8)
    root = write_truth(tmp_path, scenes)
    metric = ClasswisePanopticMetric()
    metric.dataset_meta = META
    for scene in scenes:
        sample = sample_of(scene, root)
        sample["seg_map_path"] = str(root / f"panoptic/{scene.number:03d}.png")
        sample["segments_info"] = [
            {
                "id": number,
                "category": label,
                "is_thing": CLASSES[label] in META["thing_classes"] and number not in scene.crowd,
            }
            for number, label in scene.truth_labels.items()
        ]
        metric.process({}, [sample])
    assert metric.evaluate(8) == run(build(root), scenes, root)


def test_miou_is_that_of_the_class_maps(tmp_path: Path) -> None:
    scenes = random_scenes(2, 10)
    root = write_truth(tmp_path, scenes)
    found = plain(run(build(root), scenes, root))
    hit, union, labelled = (np.zeros(len(CLASSES)) for _ in range(3))
    for scene in scenes:
        truth, predicted = scene.class_maps()
        for label in range(len(CLASSES)):
            there, said = truth == label, (predicted == label) & (truth >= 0)
            hit[label] += (there & said).sum()
            union[label] += (there | said).sum()
            labelled[label] += there.sum()
    seen = union > 0
    assert found["mIoU"] == pytest.approx(100 * (hit[seen] / union[seen]).mean())
    assert found["aAcc"] == pytest.approx(100 * hit.sum() / labelled.sum())


def test_tables_hold_what_is_reported(tmp_path: Path) -> None:
    scenes = random_scenes(3, 10)
    root = write_truth(tmp_path, scenes)
    metric = build(root, bootstrap=50)
    found = plain(run(metric, scenes, root))
    classes, groups = metric.class_tables
    assert list(classes.rows) == list(CLASSES) and list(groups.rows) == ["things", "stuff"]
    column = dict(zip(classes.columns, classes.mean, strict=True))
    assert column["PQ"] == found["PQ"] and column["bPQ"] == found["boundary_PQ"]
    assert column["IoU"] == pytest.approx(found["mIoU"])
    things = dict(zip(groups.columns, groups.rows["things"], strict=True))
    assert things["SQ"] == found["SQ_th"] and things["bRQ"] == found["boundary_RQ_th"]
    assert found["PQ_low"] <= found["PQ"] <= found["PQ_high"]
    assert found["boundary_PQ"] < found["PQ"]
    assert math.isnan(classes.rows["unicorn"][classes.columns.index("PQ")])
    assert classes.absent >= {"unicorn"}


def test_the_order_of_images_changes_nothing(tmp_path: Path) -> None:
    scenes = random_scenes(4, 9)
    root = write_truth(tmp_path, scenes)
    one, other = build(root, worst=3), build(root, worst=3)
    assert run(one, scenes, root) == run(other, scenes[::-1], root)
    assert one.panoptic.to_json() == other.panoptic.to_json()
    assert len(one.panoptic.worst) == 3
    qualities = [image.quality for image in one.panoptic.worst]
    assert qualities == sorted(qualities)


def test_instances_are_compared_with_the_things(tmp_path: Path) -> None:
    """The scores of the instances are the oracle's: mmdet's metric on a file of the same things."""
    scenes = random_scenes(5, 40)
    root = write_truth(tmp_path, scenes)
    metric = build(root)
    found = plain(run(metric, scenes, root, instances=True))
    theirs = ClasswiseCocoMetric(ann_file=instance_file(root, scenes), metric=["segm", "boundary"])
    theirs.dataset_meta = {"classes": META["thing_classes"]}
    for scene in scenes:
        theirs.process({}, [sample_of(scene, root, instances=True)])
    expected = {k.removeprefix("coco/"): v for k, v in theirs.evaluate(40).items()}
    assert {key: found[key] for key in expected} == expected
    assert 0 < found["boundary_mAP"] < found["segm_mAP"] < 1
    assert set(metric.numbers) == {"segm", "boundary"}
    assert [t.title.split()[0] for t in metric.class_tables] == [
        *("panoptic", "panoptic"), "segm", "boundary",
    ]  # fmt: skip
    without = plain(run(build(root, instances=False), scenes, root, instances=True))
    assert "segm_mAP" not in without and without["PQ"] == found["PQ"]


def test_written_predictions_give_the_same_results(tmp_path: Path) -> None:
    """What is written is what was predicted; read again as ground truth, it is perfect."""
    scenes = random_scenes(6, 6)
    root = write_truth(tmp_path, scenes)
    metric = build(root, outfile_prefix=str(tmp_path / "out/results"))
    run(metric, scenes, root)
    file = tmp_path / "out/results.panoptic.json"
    content = json.loads(file.read_text())
    assert [a["image_id"] for a in content["annotations"]] == [s.number for s in scenes]
    for entry, scene in zip(content["annotations"], scenes, strict=True):
        png = cv2.imread(str(file.with_suffix("") / entry["file_name"]))
        ids = segment_ids(png[..., ::-1])
        labels = {c["id"]: CLASSES.index(c["name"]) for c in content["categories"]}
        painted = np.full(ids.shape, -1)
        for segment in entry["segments_info"]:
            where = ids == segment["id"]
            assert where.sum() == segment["area"]
            ys, xs = np.nonzero(where)
            box = [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
            assert segment["bbox"] == box
            painted[where] = labels[segment["category_id"]]
        assert np.array_equal(painted, scene.class_maps()[1])
    again = ClasswisePanopticMetric(ann_file=str(file), seg_prefix=str(file.with_suffix("")))
    again.dataset_meta = META
    results = plain(run(again, scenes, root))
    assert results["PQ"] == results["boundary_PQ"] == results["mIoU"] == 100


def test_format_only_reads_no_truth(tmp_path: Path) -> None:
    scenes = random_scenes(6, 3)
    metric = ClasswisePanopticMetric(format_only=True, outfile_prefix=str(tmp_path / "only"))
    metric.dataset_meta = META
    assert run(metric, scenes, tmp_path) == {}
    assert len(list((tmp_path / "only.panoptic").iterdir())) == 3
    assert metric.save_plots(tmp_path / "plots", "test") == []


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    scenes = random_scenes(6, 2)
    metric = ClasswisePanopticMetric(format_only=True, outfile_prefix=str(tmp_path / "only"))
    metric.dataset_meta = META
    first, second = (sample_of(scene, tmp_path) for scene in scenes)
    second["img_path"] = str(tmp_path / "other" / Path(first["img_path"]).name)
    with pytest.raises(DataError, match=r"both be written .*000\.png.*Rename"):
        metric.process({}, [first, second])


def test_images_of_one_name_keep_their_folders(tmp_path: Path) -> None:
    scenes = random_scenes(6, 2)
    metric = ClasswisePanopticMetric(format_only=True, outfile_prefix=str(tmp_path / "only"))
    metric.dataset_meta = META
    first, second = (sample_of(scene, tmp_path) for scene in scenes)
    for sample, folder in ((first, "a"), (second, "b")):
        sample["img_path"] = str(tmp_path / folder / "street.v2.jpg")
    names = {
        sample["img_path"]: Path(f"{f}/street.v2") for sample, f in ((first, "a"), (second, "b"))
    }
    metric.name_outputs(names)
    metric.process({}, [first, second])
    metric.evaluate(2)
    content = json.loads((tmp_path / "only.panoptic.json").read_text())
    maps = [entry["file_name"] for entry in content["annotations"]]
    assert maps == ["a/street.v2.png", "b/street.v2.png"]
    assert [i["file_name"] for i in content["images"]] == ["a/street.v2.jpg", "b/street.v2.jpg"]
    for name in maps:
        assert cv2.imread(str(tmp_path / "only.panoptic" / name)) is not None


def test_plots_and_files(tmp_path: Path) -> None:
    scenes = random_scenes(7, 5)
    root = write_truth(tmp_path, scenes)
    metric = build(root, worst=2)
    assert metric.save_plots(tmp_path / "plots", "val") == []
    run(metric, scenes, root)
    names = [file.name for file in metric.save_plots(tmp_path / "plots", "val")]
    assert names == [
        "panoptic_val.json",
        "panoptic_quality_val.png",
        "panoptic_segments_val.png",
        "worst_panoptic_val.png",
    ]
    content = json.loads((tmp_path / "plots/panoptic_val.json").read_text())
    assert content["groups"]["all"]["PQ"] == metric.panoptic.value("PQ")
    assert content["classes"]["unicorn"]["PQ"] is None and len(content["worst_images"]) == 2


def test_stuff_alone_has_no_things_to_report(tmp_path: Path) -> None:
    scenes = random_scenes(8, 4, labels=(3, 4))
    root = write_truth(tmp_path, scenes)
    found = plain(run(build(root), scenes, root))
    assert "PQ_th" not in found and found["PQ"] == found["PQ_st"]


def test_a_label_of_thing_zero_without_an_instance_is_a_segment(tmp_path: Path) -> None:
    """Its id is 0, which panopticapi takes for void."""
    scene = random_scenes(9, 1)[0]
    scene.truth[:], scene.truth_labels, scene.crowd = 5, {5: 0}, set()
    root = write_truth(tmp_path, [scene])
    sample = sample_of(scene, root)
    sample["pred_panoptic_seg"]["sem_seg"] = torch.zeros((1, *scene.truth.shape), dtype=torch.long)
    metric = build(root)
    metric.process({}, [sample])
    assert plain(metric.evaluate(1))["PQ"] == 100


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"format_only": True}, ConfigError, "outfile_prefix"),
        ({"boundary": 0}, ConfigError, "boundary=0"),
        ({"boundary": True}, ConfigError, "boundary=True"),
        ({"worst": -1}, ConfigError, "worst=-1"),
        ({"bootstrap": 1.5}, ConfigError, r"bootstrap=1\.5"),
        ({"file_client_args": {"backend": "disk"}}, ConfigError, "backend_args"),
    ],
)
def test_options_are_checked(options: dict, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        ClasswisePanopticMetric(**options)


def test_a_model_without_a_panoptic_map_is_told_so(tmp_path: Path) -> None:
    scenes = random_scenes(0, 1)
    root = write_truth(tmp_path, scenes)
    sample = sample_of(scenes[0], root)
    sample["pred_instances"] = sample.pop("pred_panoptic_seg")
    with pytest.raises(ConfigError, match=r"no panoptic map, but pred_instances.*panoptic_on=True"):
        build(root).process({}, [sample])
    with pytest.raises(ConfigError, match=r"instances=True.*instance_on=True"):
        build(root, instances=True).process({}, [sample_of(scenes[0], root)])


def test_wrong_sizes_and_classes(tmp_path: Path) -> None:
    scenes = random_scenes(0, 1)
    root = write_truth(tmp_path, scenes)
    sample = sample_of(scenes[0], root)
    field = sample["pred_panoptic_seg"]
    field["sem_seg"] = field["sem_seg"][:, :-1]
    with pytest.raises(DataError, match=r"000\.jpg: the panoptic map is 28 x 36 .* 27 x 36"):
        build(root).process({}, [sample])
    field["sem_seg"] = torch.full((1, *scenes[0].truth.shape), 7)
    with pytest.raises(DataError, match=r"predicts the class 7, and the dataset has 6 classes"):
        build(root).process({}, [sample])
    metric = build(root)
    metric.dataset_meta = {"classes": CLASSES[::-1]}
    with pytest.raises(DataError, match="are not the categories of the file in its order"):
        metric.process({}, [sample])
    metric = ClasswisePanopticMetric()
    metric.dataset_meta = META
    with pytest.raises(ConfigError, match="the samples have no segments_info"):
        metric.process({}, [sample_of(scenes[0], root)])
    metric = ClasswisePanopticMetric()
    metric.dataset_meta = {"classes": CLASSES}
    with pytest.raises(ConfigError, match="names no thing_classes"):
        metric.process({}, [sample_of(scenes[0], root)])


def test_segments_of_classes_that_are_not_chosen_are_void(tmp_path: Path) -> None:
    scenes = random_scenes(10, 6)
    root = write_truth(tmp_path, scenes)
    metric = build(root)
    metric.dataset_meta = {"classes": CLASSES[:3]}
    for scene in scenes:
        perfect = np.full(scene.truth.shape, 3)  # void
        for place, (number, label) in enumerate(scene.truth_labels.items(), 1):
            # The others are predicted as class 0: void excuses it.
            perfect[scene.truth == number] = (label if label < 3 else 0) + 1000 * place
        sample = sample_of(scene, root)
        sample["pred_panoptic_seg"]["sem_seg"] = torch.tensor(perfect)[None]
        metric.process({}, [sample])
    assert plain(metric.evaluate(6))["PQ"] == 100
