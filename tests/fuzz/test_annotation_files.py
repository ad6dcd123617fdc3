"""Properties of the readers of annotations: what was written is read, by name, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mmattn.boxes import BoxFolder, BoxRecords
from mmattn.boxes.content import BoxClasses
from mmattn.boxes.panoptic_segments import read_panoptic_file
from mmattn.boxes.yolo_layout import read_names
from mmattn.data.folder.class_list import read_class_list
from mmattn.data.folder.classes_file import read_classes
from mmattn.data.folder.draw import draw
from mmattn.errors import ConfigError, DataError
from tests.support.box_folders import (
    NAMES,
    SIZE,
    coco_content,
    objects_of,
    write_coco,
    write_panoptic,
    write_voc,
    write_voc_file,
    write_yolo,
    yolo_lines,
)
from tests.support.fuzzing import class_names, names, scalars, seeds, spoilt, texts, trees

Objects = list[tuple[str, float, float, float, float]]
Folder = Callable[[], BoxRecords]
COCO, VOC, YOLO = "annotations/instances_train2017.json", "Annotations/000.xml", "labels/train"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder in each format; the tests write its annotations anew and nothing else."""
    root = tmp_path_factory.mktemp("boxes")
    write = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo, "panoptic": write_panoptic}
    return {form: write_one(root / form) for form, write_one in write.items()}


@st.composite
def objects(draw: Any) -> Objects:
    """Objects in an image of ``SIZE``, at places that every format can write."""
    height, width = SIZE
    found = []
    for _ in range(draw(st.integers(0, 5))):
        x, y = draw(st.integers(0, width - 3)), draw(st.integers(0, height - 3))
        w, h = draw(st.integers(2, width - x)), draw(st.integers(2, height - y))
        found.append((draw(st.sampled_from(NAMES)), x, y, x + w, y + h))
    return list(dict.fromkeys(found))


def read(root: Path, split: str = "train", **options: Any) -> BoxRecords:
    return BoxFolder(str(root), **options).records(split)


def objects_in(records: BoxRecords, image: int = 0) -> Objects:
    return [(o.name, *(round(v, 4) for v in o.box)) for o in records.images[image].objects]


def records_or_refusal(root: Path, **options: Any) -> None:
    """Read a folder: records, or one of the two errors that users can do something about."""
    try:
        records = read(root, **options)
    except (DataError, ConfigError) as error:
        assert str(error).strip()
        return
    for image in records.images:
        for item in image.objects:
            assert item.name in records.names
            assert item.box[2] > item.box[0] and item.box[3] > item.box[1]


# --- what was written is read --------------------------------------------------------------------


@given(objects())
def test_coco_round_trip(folders: dict[str, Path], found: Objects) -> None:
    content = coco_content({"000.png": found, "001.png": objects_of(1)})
    (folders["coco"] / COCO).write_text(json.dumps(content))
    assert objects_in(read(folders["coco"])) == found


@given(objects())
def test_voc_round_trip(folders: dict[str, Path], found: Objects) -> None:
    write_voc_file(folders["voc"] / VOC, found)
    assert objects_in(read(folders["voc"])) == found


@given(objects())
def test_yolo_round_trip(folders: dict[str, Path], found: Objects) -> None:
    (folders["yolo"] / YOLO / "000.txt").write_text(yolo_lines(found))
    assert objects_in(read(folders["yolo"])) == [(n, *map(float, box)) for n, *box in found]


@given(objects())
def test_every_format_says_the_same(folders: dict[str, Path], found: Objects) -> None:
    content = coco_content({"000.png": found, "001.png": objects_of(1)})
    (folders["coco"] / COCO).write_text(json.dumps(content))
    write_voc_file(folders["voc"] / VOC, found)
    (folders["yolo"] / YOLO / "000.txt").write_text(yolo_lines(found))
    readings = [objects_in(read(folders[form])) for form in ("coco", "voc", "yolo")]
    assert readings[0] == readings[1] == readings[2]


@given(objects(), st.sampled_from(["polygons", "rle"]))
def test_masks_of_coco_stay_with_their_boxes(folders, found: Objects, masks: str) -> None:
    content = coco_content({"000.png": found, "001.png": objects_of(1)}, masks=masks)
    (folders["coco"] / COCO).write_text(json.dumps(content))
    try:
        records = read(folders["coco"], targets="masks")
    except DataError:  # the other split has no masks
        content = coco_content({"004.png": objects_of(4), "005.png": objects_of(5)}, masks=masks)
        (folders["coco"] / COCO.replace("train", "val")).write_text(json.dumps(content))
        records = read(folders["coco"], targets="masks")
    wanted = {(e["image_id"], *e["bbox"]): e["segmentation"] for e in content["annotations"]}
    assert objects_in(records) == found
    for item in records.images[0].objects:
        x1, y1, x2, y2 = item.box
        if (10, x1, y1, x2 - x1, y2 - y1) in wanted:
            assert item.mask == wanted[10, x1, y1, x2 - x1, y2 - y1]


# --- classes by name -----------------------------------------------------------------------------


@given(seeds, class_names)
def test_labels_go_by_name_whatever_the_ids_and_their_order(folders, seed, known) -> None:
    rng = random.Random(seed)
    ids = dict(zip(known, rng.sample(range(1, 1000), len(known)), strict=True))
    order = rng.sample(known, len(known))
    truth = [rng.choice(known) for _ in range(6)]
    content = coco_content({"000.png": [], "001.png": []})
    content["categories"] = [{"id": ids[name], "name": name} for name in order]
    content["annotations"] = [
        {"id": i, "image_id": 10, "category_id": ids[name], "bbox": [i, 2, 5, 6], "area": 30,
         "iscrowd": 0}
        for i, name in enumerate(truth, 1)
    ]  # fmt: skip
    (folders["coco"] / COCO).write_text(json.dumps(content))
    records = read(folders["coco"])
    assert [item.name for item in records.images[0].objects] == truth
    assert set(records.names) == set(known)


@given(class_names, st.lists(names, max_size=5), seeds)
def test_chosen_classes_are_those_named_in_that_order(known, others, seed) -> None:
    """Subsets and permutations map by name; a slip, another case or a double is refused."""
    rng = random.Random(seed)
    classes = BoxClasses(tuple(known), None, "data.yaml")
    subset = rng.sample(known, rng.randint(1, len(known)))
    assert classes.select(subset).names == tuple(subset)
    for other in others:
        if other not in known:
            with pytest.raises(ConfigError, match=r"no class of data\.yaml"):
                classes.select([*subset, other])
    with pytest.raises(ConfigError, match="each of them once"):
        classes.select([*subset, subset[0]])
    with pytest.raises(ConfigError):
        classes.select([])


@given(class_names, seeds)
def test_a_slip_is_refused_with_the_name_that_is_meant(known: list[str], seed: int) -> None:
    rng = random.Random(seed)
    meant = rng.choice(known)
    assume(len(meant) > 3)
    place = rng.randrange(1, len(meant) - 1)
    slip = meant[:place] + meant[place + 1] + meant[place] + meant[place + 2 :]
    assume(slip not in known and slip.strip() == slip)
    with pytest.raises(ConfigError) as error:
        BoxClasses(tuple(known), None, "x").select([slip])
    assert "Did you mean" in str(error.value)


@given(class_names)
def test_lists_of_classes_keep_names_and_order(tmp_path_factory, known: list[str]) -> None:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "classes.txt").write_text("\n".join(known), encoding="utf-8")
    assert read_names(str(folder / "classes.txt")) == tuple(known)


@given(class_names)
def test_a_yaml_of_names_keeps_names_and_order(folders, known: list[str]) -> None:
    root = folders["yolo"]
    before = (root / "data.yaml").read_text()
    try:
        lines = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(known))
        text = f"path: .\ntrain: images/train\nval: images/val\nnames:\n{lines}"
        (root / "data.yaml").write_text(text, encoding="utf-8")
        for label in (root / "labels").rglob("*.txt"):
            label.write_text("0 0.5 0.5 0.25 0.25")
        folder = BoxFolder(str(root))
        assert folder.classes().names == tuple(known)
        assert objects_in(folder.records("train"))[0][0] == known[0]
    finally:
        (root / "data.yaml").write_text(before)
        for label in (root / "labels").rglob("*.txt"):
            label.write_text("")


# --- anything at all is read or refused ----------------------------------------------------------


@given(trees())
@example({"images": [], "annotations": [], "categories": []})
@example({"images": None, "annotations": {}, "categories": 1})
def test_any_json_is_a_coco_file_or_refused(folders: dict[str, Path], content: Any) -> None:
    (folders["coco"] / COCO).write_text(json.dumps(content))
    records_or_refusal(folders["coco"])


@given(st.data(), st.sampled_from(["boxes", "masks"]), st.sampled_from(["error", "skip"]))
def test_a_spoilt_coco_file_is_read_or_refused(folders, data, targets: str, bad: str) -> None:
    content = coco_content({f"{i:03d}.png": objects_of(i) for i in range(3)}, masks="rle")
    spoilt_content = data.draw(spoilt(content))
    (folders["coco"] / COCO).write_text(json.dumps(spoilt_content))
    records_or_refusal(folders["coco"], targets=targets, bad_objects=bad)


@given(st.data())
def test_a_spoilt_panoptic_file_is_read_or_refused(folders, data) -> None:
    file = folders["panoptic"] / "annotations/panoptic_train.json"
    whole = file.read_text()
    try:
        file.write_text(json.dumps(data.draw(spoilt(json.loads(whole)))))
        records_or_refusal(folders["panoptic"], targets="panoptic")
        try:
            read_panoptic_file(str(file))
        except DataError as error:
            assert str(file) in str(error)
    finally:
        file.write_text(whole)


@given(st.one_of(texts, st.text(alphabet="<>/ aobndxmiy=\"'&;![]0123456789.-\n", max_size=200)))
def test_any_text_is_a_voc_file_or_refused(folders: dict[str, Path], text: str) -> None:
    (folders["voc"] / VOC).write_text(text, encoding="utf-8", errors="surrogateescape")
    records_or_refusal(folders["voc"])


@given(st.lists(scalars, min_size=5, max_size=5), st.booleans())
def test_any_values_in_a_voc_file_are_read_or_refused(folders, values, size: bool) -> None:
    from xml.sax.saxutils import escape

    name, *box = (escape("".join(c for c in str(v) if c.isprintable())) for v in values)
    element = f"<size><width>{box[0]}</width><height>{box[1]}</height></size>" if size else ""
    write_voc_file(folders["voc"] / VOC, [(name, *box)], element)
    records_or_refusal(folders["voc"])


@given(st.lists(st.one_of(texts, st.lists(scalars, max_size=9)), max_size=4))
def test_any_lines_of_yolo_are_read_or_refused(folders: dict[str, Path], lines: list) -> None:
    rows = [line if isinstance(line, str) else " ".join(map(str, line)) for line in lines]
    label = folders["yolo"] / YOLO / "000.txt"
    label.write_text("\n".join(rows), encoding="utf-8", errors="surrogateescape")
    try:
        records_or_refusal(folders["yolo"])
    finally:
        label.write_text("")


@given(trees())
def test_any_data_yaml_is_read_or_refused(folders: dict[str, Path], content: Any) -> None:
    import yaml

    file = folders["yolo"] / "data.yaml"
    before = file.read_text()
    base = yaml.safe_load(before)
    try:
        changed = {**base, **content} if isinstance(content, dict) else content
        changed = {**base, "names": content} if isinstance(content, list) else changed
        file.write_text(yaml.safe_dump(changed), encoding="utf-8")
        records_or_refusal(folders["yolo"])
    finally:
        file.write_text(before)


@given(st.one_of(texts, st.lists(texts, max_size=5).map("\n".join)))
def test_any_list_of_classes_is_read_or_refused(tmp_path_factory, text: str) -> None:
    folder = tmp_path_factory.mktemp("lists")
    for ending, reader in ((".txt", read_names), (".csv", read_class_list)):
        file = folder / f"classes{ending}"
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        try:
            reader(str(file))
        except (DataError, ConfigError) as error:
            assert str(error).strip()


@given(trees())
@example(["a", "b"])
@example({"road": [128, 64, 128]})
def test_any_classes_json_is_read_or_refused(tmp_path_factory, content: Any) -> None:
    file = tmp_path_factory.mktemp("lists") / "classes.json"
    file.write_text(json.dumps(content))
    try:
        classes = read_classes(str(file))
    except (DataError, ConfigError) as error:
        assert str(error).strip()
    else:
        assert classes.names and all(isinstance(name, str) for name in classes.names)


# --- draws ---------------------------------------------------------------------------------------


@given(st.sets(names, min_size=2, max_size=30), st.integers(1, 19), seeds)
def test_a_draw_leaves_none_and_takes_not_all_in_any_order(stems, twentieth, seed: int) -> None:
    fraction = twentieth / 20
    chosen = draw(sorted(stems), fraction, seed)
    assert chosen < stems and chosen
    assert chosen == draw(sorted(stems, reverse=True), fraction, seed)
    more = draw(sorted(stems), min(fraction + 0.05, 0.99), seed)
    assert chosen <= more or len(more) == 1
