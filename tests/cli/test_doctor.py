"""Promise: the doctor says what is there, and its exit code that something needed is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.doctor import examine, packages
from mmattn.doctor.examination import _findings
from mmattn.doctor.machine import _folder, variables
from mmattn.doctor.operators import operators


def test_a_whole_installation_is_told(capsys) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for part in ("mmdet ", "onnxruntime ", "criss_cross ", "tensorboard ", "GiB free", "GPU"):
        assert part in shown, part
    assert shown.endswith("\nnothing that is needed is broken\n")
    assert max(map(len, shown.splitlines())) <= 100


def test_json_has_all_of_it(capsys) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["broken"] == []
    assert list(report["sections"]) == [section.title for section in examine()]
    names = [one["name"] for one in report["sections"]["needed packages"]]
    assert names[:2] == ["mmattn", "Python"]


def test_a_package_that_cannot_be_imported_is_broken(monkeypatch, capsys) -> None:
    monkeypatch.setattr(packages, "NEEDED", {**packages.NEEDED, "zebra_stripes": ("zebra",)})
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "! zebra_stripes" in shown and "No module named 'zebra_stripes'" in shown
    assert "pip install --force-reinstall zebra" in " ".join(shown.split())
    assert shown.endswith("\nbroken: zebra_stripes\n")


def test_an_operator_that_computes_otherwise_is_broken(monkeypatch) -> None:
    from mmattn.ops import doctor

    def wrong(operator, backend, device, dtype) -> tuple[bool, str]:
        return operator.name != "apply_gates", "1.0e+00 (result 0)"

    monkeypatch.setattr(doctor, "_parity_check", wrong)
    found = {one.name: one for one in operators(check=True)}
    assert found["apply_gates"].broken and "FAILED 1.0e+00" in found["apply_gates"].note
    assert not found["criss_cross"].broken and "checks ok" in found["criss_cross"].note


def test_a_subject_that_cannot_be_examined_is_broken() -> None:
    def find() -> list:
        raise ImportError("libzebra.so: cannot open")

    (finding,) = _findings("operators", find)
    assert finding.broken and "libzebra.so" in finding.value


def test_passwords_are_left_out(monkeypatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@mirror.example/simple")
    monkeypatch.setenv("https_proxy", "me:s@cret@proxy.example:3128")
    monkeypatch.setenv("MMATTN_OPS_BACKEND", "")
    found = {one.name: one.value for one in variables()}
    assert found["PIP_INDEX_URL"] == "https://…@mirror.example/simple"
    assert found["https_proxy"] == "…@proxy.example:3128"
    assert "MMATTN_OPS_BACKEND" in found


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    found = _folder("runs", file / "inside")
    assert found.broken and "cannot be written to" in found.note
    assert not _folder("runs", tmp_path / "a/b").broken


@pytest.mark.slow
def test_operators_are_right_here() -> None:
    assert not [one for one in operators(check=True) if one.broken]
