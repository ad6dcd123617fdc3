"""Class names and names of files are legible in images, whatever the language."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from mmattn.detections import Detections, draw_detections
from mmattn.evaluation.semantic.plots import _with_text
from mmattn.fonts import fitted, text_font
from mmattn.reports.sheets import text_row


@pytest.mark.parametrize("letter", "äöüßéñçøłőžΔσЖя°")
def test_letters_of_other_languages_are_drawn(letter: str) -> None:
    missing = np.asarray(text_font(20).getmask("\uffff"))
    assert not np.array_equal(np.asarray(text_font(20).getmask(letter)), missing)


def drawings(text: str) -> list[np.ndarray]:
    """Draw a text with every function that writes into images."""
    found = Detections(
        np.array([[5.0, 30, 60, 60]], np.float32), np.array([0.5], np.float32), np.array([0])
    )
    paper = np.full((80, 240, 3), 255, np.uint8)
    return [
        draw_detections(paper, found, [text]),
        text_row(240, text),
        _with_text(paper, [(2, 2, text)]),
    ]


def test_every_drawing_tells_letters_apart() -> None:
    """An empty box, which stands for a letter that the font lacks, is the same for all."""
    for one, other in zip(drawings("Gebäude"), drawings("Geböude"), strict=True):
        assert not np.array_equal(one, other)


def test_a_long_text_is_cut_with_a_sign_and_a_short_one_is_not() -> None:
    assert fitted("Straße", 100, 13) == "Straße"
    cut = fitted("a very long name of a class", 80, 13)
    assert cut.endswith("…") and "a very long".startswith(cut[:-1][:8])
    assert text_font(13).getlength(cut) <= 80
    assert fitted(unicodedata.normalize("NFD", "süd"), 100, 13) == "süd"
