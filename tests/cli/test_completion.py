"""Promise: bash completes verbs, options, their choices, names of models, and files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mmattn.cli import COMMANDS
from mmattn.cli._completion import command_words, model_names
from mmattn.cli.main import main


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmattn.cli._completion import bash_script

    file = tmp_path_factory.mktemp("completion") / "mmattn.bash"
    file.write_text(bash_script(command_words(), model_names()))
    return file


def complete(script: Path, folder: Path, *words: str) -> list[str]:
    """Ask bash for the completions of the last of ``words``."""
    quoted = " ".join(f"'{word}'" for word in ("mmattn", *words))
    code = (
        f"source '{script}'\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(words)}\n_mmattn\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    done = subprocess.run([bash, "-c", code], cwd=folder, capture_output=True, text=True)
    assert not done.stderr and done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tra"], ["train"]),
        (["train", "--work"], ["--work-dir"]),
        (["train", "c.py", "--launcher", "py"], ["pytorch"]),
        (["train", "yolov12-n_1xb16-1"], [
            "yolov12-n_1xb16-100e_folder-640x640", "yolov12-n_1xb16-120e_bccd-320x256",
        ]),
        (["train", "my_"], ["my_config.py"]),
        (["test", "work"], ["work_dirs"]),
        (["data", "sh"], ["shapes"]),
        (["data", "shapes", "--num-t"], ["--num-train"]),
        (["config", "schema", "--ou"], ["--out"]),
        (["completion", "f"], ["fish"]),
    ],
)  # fmt: skip
def test_bash_completes(script: Path, tmp_path: Path, words: list[str], found: list[str]) -> None:
    (tmp_path / "my_config.py").touch()
    (tmp_path / "work_dirs").mkdir()
    assert complete(script, tmp_path, *words) == found


def test_every_verb_and_every_option_is_in_the_words(script: Path, tmp_path: Path) -> None:
    assert set(COMMANDS) <= set(complete(script, tmp_path, ""))
    words = command_words()
    assert {verb for verb in words if " " not in verb} == set(COMMANDS)
    for verb in COMMANDS:
        assert complete(script, tmp_path, verb, "x", "--") == list(words[verb].options), verb


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_all_verbs(shell: str, capsys) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in COMMANDS)
    assert "yolov12-n" in script and "work-dir" in script
