"""The class table of the shapes dataset, shared by the generator, the dataset class and the
tests.

======  ========  =====  ===========
index   class     kind   category id
======  ========  =====  ===========
0       circle    thing  1
1       square    thing  2
2       triangle  thing  3
3       star      thing  4
4       ring      thing  5
5       cross     thing  6
6       grass     stuff  7
7       water     stuff  8
8       brick     stuff  9
9       sand      stuff  10
======  ========  =====  ===========

``index`` is the value in a label map and the label in training; ``category id`` is what the COCO
files say (they count from 1). Every pixel has a class, so a label map holds no ignored value.
"""

from __future__ import annotations

THING_CLASSES = ("circle", "square", "triangle", "star", "ring", "cross")
STUFF_CLASSES = ("grass", "water", "brick", "sand")
CLASSES = THING_CLASSES + STUFF_CLASSES
PALETTE = (
    (220, 20, 60),
    (255, 170, 30),
    (120, 60, 200),
    (250, 240, 60),
    (255, 120, 200),
    (250, 250, 250),
    (90, 160, 60),
    (50, 110, 200),
    (150, 80, 60),
    (210, 190, 140),
)


def category_id(index: int) -> int:
    """Return the COCO category id of a class index."""
    return index + 1
