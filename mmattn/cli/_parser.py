"""The parser of all commands: settings as plain words, and mistakes that are told with a fix."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar

from mmattn.errors import did_you_mean

#: Endings of files of weights.
WEIGHTS = (".pth", ".pt", ".safetensors")
#: How a setting begins: ``data=``, ``optim_wrapper.optimizer.lr=``.
_SETTINGS, _WIDTH = "[KEY=VALUE ...]", 79
_SETTING = re.compile(r"[A-Za-z_][\w.]*=")


#: Options of other frameworks -> ours.
_OTHER_NAMES = {
    **dict.fromkeys(("--conf", "--conf-thres", "--threshold"), "--score-threshold"),
    **dict.fromkeys(("--project", "--save-dir", "--output-dir"), "--work-dir"),
}
#: Options of other frameworks -> the setting that is given as a plain word.
_OTHER_SETTINGS = {
    "--imgsz": "image_size", "--img-size": "image_size", "--batch-size": "batch",
    **{f"--{name}": name for name in ("epochs", "iters", "batch", "lr", "workers", "data")},
}  # fmt: skip

_wanted: ContextVar[bool] = ContextVar("wanted", default=False)


class _Built(Exception):
    """Carries a parser out of the function that builds it and would read a line with it."""

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.parser = parser


class Parser(argparse.ArgumentParser):
    """Reads ``key=value`` words wherever they stand, and suggests names for misspelt options.

    Attributes:
        takes_settings: Whether the command takes settings of a config; such words then are as
            good as those of ``--cfg-options``.
    """

    takes_settings = False

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        if _wanted.get():
            raise _Built(self)
        return super().parse_args(args, namespace)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        words, settings = list(sys.argv[1:] if args is None else args), []
        if self.takes_settings:
            words, settings = self._split(words)
        parsed, left = super().parse_known_args(words, namespace)
        if settings:
            parsed.cfg_options = [*settings, *(parsed.cfg_options or [])]
        if left:
            first = getattr(parsed, "checkpoint", None)
            if first:
                refuse_several_checkpoints(self, [first, *left])
            self.error(f"unrecognized arguments: {' '.join(left)}{self._hint(left)}")
        return parsed, left

    def format_usage(self) -> str:
        return self._with_settings(super().format_usage())

    def format_help(self) -> str:
        usage, separator, rest = super().format_help().partition("\n\n")
        return self._with_settings(usage) + separator + rest

    def _with_settings(self, usage: str) -> str:
        """Put the settings behind the last argument of a usage."""
        if not self.takes_settings:
            return usage
        text, last = usage.rstrip("\n"), usage.rstrip("\n").rpartition("\n")[2]
        indent = " " * len(f"usage: {self.prog} ")
        space = " " if len(last) < _WIDTH - len(_SETTINGS) else f"\n{indent}"
        return f"{text}{space}{_SETTINGS}{usage[len(text) :]}"

    def _split(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Take the settings out of ``words``.

        A word that an option needs as its value stays, and so does what ``--cfg-options`` has
        behind it, and a file that is there.
        """
        others, settings = [], []
        values, inside = 0, False  # values that the last option needs; inside --cfg-options
        for index, word in enumerate(words):
            if word == "--":
                return [*others, *words[index:]], settings
            if word.startswith("-") and len(word) > 1:
                values, inside = self._values_of(word)
            elif values or inside:
                values = max(0, values - 1)
            elif _SETTING.match(word) and not os.path.exists(word):
                settings.append(word)
                continue
            others.append(word)
        return others, settings

    def _values_of(self, word: str) -> tuple[int, bool]:
        """Return how many words an option needs behind it, and whether settings are its own.

        They are for --cfg-options, and for others that say so: ``--target KIND=VALUE``.
        """
        name, separator, _ = word.partition("=")
        near = [known for known in self._option_string_actions if known.startswith(name)]
        known = name if name in self._option_string_actions else near[0] if len(near) == 1 else None
        if known is None:
            return 0, False
        action = self._option_string_actions[known]
        if action.dest == "cfg_options" or "=" in str(action.metavar):
            return 0, True
        if separator or isinstance(action.nargs, str):
            return 0, False
        return (1 if action.nargs is None else action.nargs), False

    def _hint(self, left: Sequence[str]) -> str:
        """Return what was meant by words that nobody asked for; it begins with a full stop."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in left:
            name = word.partition("=")[0]
            if _OTHER_NAMES.get(name) in known:
                return f". {name} is {_OTHER_NAMES[name]} here"
            if self.takes_settings and name in _OTHER_SETTINGS:
                return f". {name} is a setting here, without dashes: {_OTHER_SETTINGS[name]}=VALUE"
            hint = did_you_mean(name, known) if word.startswith("--") else ""
            if hint:
                return f".{hint}"
        if self.takes_settings and not any(word.startswith("-") for word in left):
            return ". Settings of the config are words such as data=my_images, without spaces"
        return ""


def parser_of(parse_args: Callable[[list[str]], argparse.Namespace]) -> Parser:
    """Return the parser by which a command's ``parse_args`` reads its line; nothing is read."""
    token = _wanted.set(True)
    try:
        parse_args([])
    except _Built as built:
        return built.parser
    finally:
        _wanted.reset(token)
    raise TypeError(f"{parse_args.__module__}.parse_args reads its line without a Parser")


def commands_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers of the commands of a verb, such as those of ``mmattn config``."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def options_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options that the help of a parser shows."""
    for action in parser._actions:
        if action.option_strings and action.help is not argparse.SUPPRESS:
            yield action


def refuse_several_checkpoints(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """End with an error where more than one of ``words`` is a file of weights.

    ``best_mIoU_iter_*.pth`` stands for two files after two trainings into one folder.
    """
    files = [word for word in words if word.lower().endswith(WEIGHTS)]
    if len(files) > 1:
        known = [file for file in files if os.path.isfile(file)]
        newest = f"; the newest is {max(known, key=os.path.getmtime)}" if known else ""
        parser.error(f"one checkpoint is expected, not {len(files)}: {', '.join(files)}{newest}")
