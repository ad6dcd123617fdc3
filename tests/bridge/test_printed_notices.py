"""Notices that upstream prints whatever the level: they are gone, everything else is printed."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from mmengine.logging import print_log


def test_debug_notices_without_a_logger_are_not_printed(capsys, caplog) -> None:
    with caplog.at_level(logging.DEBUG, "mmattn.bridge"):
        print_log("an optional package is absent", level=logging.DEBUG)
    assert capsys.readouterr().out == ""
    assert "an optional package is absent" in caplog.text


def test_other_messages_are_printed_as_before(capsys) -> None:
    print_log("for everybody")
    print_log("level by position", None, logging.WARNING)
    assert capsys.readouterr().out == "for everybody\nlevel by position\n"


def test_reading_annotations_prints_nothing(tmp_path: Path, capsys) -> None:
    from pycocotools.coco import COCO

    file = tmp_path / "coco.json"
    file.write_text(json.dumps({"images": [{"id": 1}], "annotations": [], "categories": []}))
    assert COCO(str(file)).getImgIds() == [1]
    assert capsys.readouterr().out == ""
