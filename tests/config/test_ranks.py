"""Promise: a wrong section ``ranks`` is refused with the name of its config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmattn.config.ranks import HEARTBEAT, ranks_problems, read_heartbeat
from mmattn.errors import ConfigError


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"heartbeat": 0}, "ranks.heartbeat=0 must be a number of seconds above 0"),
        ({"heartbeat": True}, "ranks.heartbeat=True must be a number"),
        ({"heartbeat": "60"}, "ranks.heartbeat='60' must be a number"),
        ({"heartbeat": float("inf")}, "or None for no limit"),
        ({"heartbeat": 10**400}, "or None for no limit"),
        ({"heart": 60}, "ranks.heart is unknown; there is heartbeat."),
        (60, "must be a dictionary such as ranks=dict(heartbeat=120)"),
    ],
)
def test_a_wrong_section_is_refused(section: object, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"inf = float('inf')\nranks = {section!r}\n")
    cfg: Any = Config.fromfile(file)
    with pytest.raises(ConfigError) as error:
        read_heartbeat(cfg)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{file}: ")
    assert len(ranks_problems(cfg)) == 1


def test_a_right_one_is_read() -> None:
    assert read_heartbeat({}) == HEARTBEAT
    assert read_heartbeat({"ranks": {}}) == HEARTBEAT
    assert read_heartbeat({"ranks": {"heartbeat": 120}}) == 120
    assert read_heartbeat({"ranks": {"heartbeat": None}}) is None
