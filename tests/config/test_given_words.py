"""A message about a setting is in the words in which it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.data.files import check_place, why_missing
from mmattn.errors import DataError
from mmattn.given_words import command_line, of_dataset, remember

ROOT = Path(__file__).resolve().parents[2]
#: Typed by nobody: settings are words, whose option is for scripts of mmdet's and mmseg's.
OLD = "--cfg-options"


def refusal(path: str | Path, where: str = "train_dataloader.dataset.data_root") -> str:
    with pytest.raises(DataError) as error:
        check_place(str(path), where, folder=True)
    return str(error.value)


def test_a_folder_is_named_by_the_word_that_gave_it(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with command_line():
        remember({"data": str(gone), "train_cfg.max_iters": 3})
        text = refusal(gone)
        assert text.startswith(f"data='{gone}': no such folder") and "data=FOLDER" in text
        assert "data_root" not in text
        assert why_missing(str(gone / "images" / "a.jpg")).endswith("does not exist: check data")
        remember({"--data-root": str(gone)})
        assert f"--data-root '{gone}/'" in refusal(f"{gone}/"), (
            "as the datasets of a config have it"
        )
        assert "--data-root FOLDER" in refusal(gone)
        remember({})
        assert "Say where it is, data_root=FOLDER" in refusal(gone)
        assert of_dataset("mask_format") == "data.mask_format"
    assert refusal(gone).startswith("train_dataloader.dataset.data_root=")
    assert of_dataset("mask_format") == "mask_format", "in a config, and from Python"


def test_the_command_line_is_answered_in_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "my_images"
    assert main(["check", "ccnet", f"data={gone}"]) == 4
    said = capsys.readouterr().err
    assert f"data='{gone}': no such folder" in said and "data=FOLDER" in said
    assert OLD not in said and "data_root" not in said


def test_no_message_names_the_option_that_nobody_types() -> None:
    """Its own line alone does: a word without "=" can come from there only."""
    named = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("mmattn", "projects")
        for file in sorted((ROOT / folder).rglob("*.py"))
        if "cli" not in file.parts and not file.is_relative_to(ROOT / "mmattn" / "projects")
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if OLD in line.replace(f"`{OLD}", "") and "#" not in line
    ]
    assert len(named) == 2 and all("config/options.py" in one for one in named), named
