"""Promise: figures in the docs are those that the benchmark wrote, word for word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "benchmarks/results"
SEGMENTATION = [
    f"{RESULTS}/segmentation-cpu-{size}.json" for size in ("360x480", "720x960", "1024x2048")
]


@pytest.mark.parametrize(
    ("page", "marker", "command"),
    [
        (
            "docs/operators.md",
            "ops-cpu",
            ["benchmarks/ops.py", "--show", f"{RESULTS}/ops-cpu.json"],
        ),
        *(
            (
                "docs/operators.md",
                f"{name}-cpu",
                ["benchmarks/ops.py", "--show", f"{RESULTS}/{name}-cpu.json"],
            )
            for name in ("windows", "neighborhood")
        ),
        (
            "projects/token_mixer_host/README.md",
            "token-mixers-cpu",
            ["benchmarks/token_mixers.py", "--show", f"{RESULTS}/token-mixers-cpu.json"],
        ),
        (
            "projects/bevanet/README.md",
            "segmentation-cpu",
            ["benchmarks/segmentation.py", "--show", *SEGMENTATION],
        ),
    ],
    ids=["operators", "windows", "neighborhood", "token mixers", "segmentation networks"],
)
def test_a_pages_table_is_the_commands_output(page, marker, command) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = text.split(f"<!-- {marker}: begin -->")[1].split(f"<!-- {marker}: end -->")[0]
    assert shown.strip() == done.stdout.strip()
