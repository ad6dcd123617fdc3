"""Promise: no test holds on one processor alone: arithmetic is tested with three instruction sets.

torch chooses its kernels by the processor, and rounds differently with each. Here it is made to
choose those of older processors, in a process of its own, since it chooses once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

# ATEN_CPU_CAPABILITY -> ONEDNN_MAX_CPU_ISA, from the oldest on.
SETS = {"default": "SSE41", "avx2": "AVX2", "avx512": "AVX512_CORE"}
# Blocks, layers and operators, where values are compared; no networks of frameworks, no exports.
FILES = (
    "tests/projects/blocks",
    "tests/projects/bevanet/test_bevanet_attention.py",
    "tests/projects/bevanet/test_head_and_losses.py",
    "tests/projects/ccnet/test_attention.py",
    "tests/projects/ccnet/test_loss.py",
    "tests/projects/dynamic_head/test_dynamic_head_block.py",
    "tests/projects/mask2former/test_mask_loss.py",
    "tests/projects/mask2former/test_points.py",
    "tests/layers",
    "tests/ops/test_gating.py",
    "tests/ops/test_criss_cross.py",
)
CHOICE = "not fits_into and not onnx and not configs and not numbers and not weights"


def _has(capability: str) -> bool:
    names = ["DEFAULT", "AVX2", "AVX512"]
    here = torch.backends.cpu.get_cpu_capability()
    return here in names and names.index(capability.upper()) <= names.index(here)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("capability", SETS)
def test_arithmetic_holds_with_every_instruction_set(
    repo: Path, capability: str, threads: int
) -> None:
    if not _has(capability):
        pytest.skip(f"this processor has no {capability}")
    env = {
        **os.environ,
        "ATEN_CPU_CAPABILITY": capability,
        "ONEDNN_MAX_CPU_ISA": SETS[capability],
        "OMP_NUM_THREADS": str(threads),
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        return done.stdout

    which = "import torch; print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())"
    assert run("-c", which).split() == [capability.upper(), str(threads)]
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOICE, *FILES)
