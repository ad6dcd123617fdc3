"""Promise: a config that is not there ends with the names that are near."""

from __future__ import annotations

import pytest

from mmattn.config import find_config
from mmattn.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "near"),
    [
        (
            "mmattn::folder/mask2former",  # how names begin
            "There are mmattn::folder/mask2former_r50_1xb4-4k_folder-masks-512x512.py",
        ),
        (
            "mmattn::mask2former/mask2former_r18_1xb8-2k_shapes-semantic-128x12",
            "Did you mean 'mmattn::mask2former/mask2former_r18_1xb8-2k_shapes-semantic-128x128.py'",
        ),
        ("mmattn::folder/zzz", "Its folder is"),
    ],
)
def test_names_that_are_near(name: str, near: str) -> None:
    with pytest.raises(ConfigError) as found:
        find_config(name)
    assert str(found.value).startswith(f"There is no config {name}. ")
    assert near in str(found.value)
