"""The environment of a result: what ran it."""

from __future__ import annotations

import re

import torch

from mmattn.environment import collect_env, commit
from mmattn.ops import OPERATORS


def test_environment_names_the_active_backends() -> None:
    import mmcv._ext

    env = collect_env()
    assert torch.__version__.startswith(env["versions"]["torch"])
    compiled = (getattr(mmcv._ext, "__file__", None) or "").endswith((".so", ".pyd"))
    assert ("compiled" in env["backends"]["mmcv's operators"]) is compiled
    operators = dict(
        entry.split(": ") for entry in env["backends"]["mmattn's operators"].split(", ")
    )
    assert operators["criss_cross"] == OPERATORS["criss_cross"].available("cpu")[0]
    assert set(operators) == set(OPERATORS), "every operator, and nothing else that ops exports"
    assert int(env["machine"]["CPU cores"]) >= 1
    assert env["machine"]["processor"]
    assert env["versions"]["commit"] == commit()


def test_the_commit_is_that_of_the_checkout(monkeypatch, tmp_path) -> None:
    assert re.fullmatch(r"(\S*[0-9a-f]{7,}|v?\d\S*)(-dirty)?|unknown", commit())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == "unknown", "no git"


def test_a_missing_compiler_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert collect_env()["backends"]["C++ compiler"] == "none (none needed)"
