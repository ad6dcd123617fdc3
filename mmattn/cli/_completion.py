"""Scripts by which shells complete ``mmattn``, made from the parsers of the commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from . import COMMANDS
from ._parser import commands_of, options_of, parser_of

#: Arguments that take the name of a model.
_MODELS = ("CONFIG", "MODEL", "PATTERN")


@dataclass(frozen=True)
class Words:
    """Words that may be typed behind a command.

    Attributes:
        help: What the command does.
        options: Option -> its help; the long form of each.
        choices: Option -> values that it takes, where they are few.
        commands: Commands of the verb, or values of its first argument, which come first.
        models: Whether the names of models are among the arguments.
    """

    help: str
    options: Mapping[str, str]
    choices: Mapping[str, Sequence[str]]
    commands: Sequence[str] = ()
    models: bool = False


def command_words() -> dict[str, Words]:
    """Read the parsers of all commands; ``"config schema"`` is one of a verb's own commands."""
    found = {}
    for verb, text in COMMANDS.items():
        parser = parser_of(import_module(f"{__package__}.{verb}").parse_args)
        inner = commands_of(parser)
        found[verb] = _words(parser, text, tuple(inner))
        for name, one in inner.items():
            found[f"{verb} {name}"] = _words(one, one.description or "", ())
    return found


def model_names() -> list[str]:
    """Return the names by which models are called, short ones first."""
    from mmattn.config import model_index
    from mmattn.config.model_index import names_of

    return [name for name, _ in names_of(model_index())]


def _words(parser: argparse.ArgumentParser, text: str, commands: Sequence[str]) -> Words:
    options, choices = {}, {}
    for action in options_of(parser):
        name = max(action.option_strings, key=len)
        options[name] = " ".join((action.help or "").split()).replace("%%", "%")
        if action.choices:
            choices[name] = [str(choice) for choice in action.choices]
    models = any(
        not action.option_strings and action.metavar in _MODELS for action in parser._actions
    )
    if not commands:  # an argument of few values takes their place
        first = next((a for a in parser._actions if not a.option_strings), None)
        commands = tuple(map(str, first.choices)) if first and first.choices else ()
    return Words(text, options, choices, commands, models)


def bash_script(words: Mapping[str, Words], models: Sequence[str]) -> str:
    """Return the script for bash."""
    return "\n".join([
        "# Completes mmattn in bash:  source <(mmattn completion bash)",
        "_mmattn() {",
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}",
        "    local verb=${COMP_WORDS[1]} command=${COMP_WORDS[2]} options= values= first= models=",
        "    if ((COMP_CWORD == 1)); then",
        f'        COMPREPLY=($(compgen -W "{" ".join((*COMMANDS, "--help", "--version"))}" '
        '-- "$current"))',
        "        return",
        "    fi",
        '    case "$verb $command" in',
        *_bash_cases(words),
        "    esac",
        '    case "$verb $before" in',
        *_bash_choices(words),
        "    esac",
        '    if [[ -n $values ]]; then',
        '        COMPREPLY=($(compgen -W "$values" -- "$current"))',
        "    elif [[ $current == -* ]]; then",
        '        COMPREPLY=($(compgen -W "$options" -- "$current"))',
        "    elif [[ -n $first ]] && ((COMP_CWORD == 2)); then",
        '        COMPREPLY=($(compgen -W "$first" -- "$current"))',
        "    else",
        "        compopt -o filenames 2>/dev/null",
        "        if [[ -n $models ]]; then",
        f'            COMPREPLY=($(compgen -W "{" ".join(models)}" -- "$current"))',
        "        fi",
        '        COMPREPLY+=($(compgen -f -- "$current"))',
        "    fi",
        "}",
        "complete -F _mmattn mmattn",
        "",
    ])  # fmt: skip


def _bash_cases(words: Mapping[str, Words]) -> Iterator[str]:
    # Those of two words first: a verb alone matches whatever follows.
    for name in sorted(words, key=lambda name: -name.count(" ")):
        one = words[name]
        pattern = f'"{name}"' if " " in name else f'"{name} "*'
        sets = [f'options="{" ".join(one.options)}"']
        if one.commands:
            sets.append(f'first="{" ".join(one.commands)}"')
        if one.models:
            sets.append("models=1")
        yield f"        {pattern}) {' '.join(sets)} ;;"


def _bash_choices(words: Mapping[str, Words]) -> Iterator[str]:
    for name, one in words.items():
        for option, choices in one.choices.items():
            yield f'        "{name.split()[0]} {option}") values="{" ".join(choices)}" ;;'


def zsh_script(words: Mapping[str, Words], models: Sequence[str]) -> str:
    """Return the script for zsh, which can read bash's."""
    head = [
        "# Completes mmattn in zsh:  source <(mmattn completion zsh)",
        "autoload -U +X bashcompinit && bashcompinit",
    ]
    return "\n".join([*head, *bash_script(words, models).splitlines()[1:], ""])


def fish_script(words: Mapping[str, Words], models: Sequence[str]) -> str:
    """Return the script for fish."""
    lines = ["# Completes mmattn in fish:  mmattn completion fish | source"]
    for verb, text in COMMANDS.items():
        lines.append(_fish("__fish_use_subcommand", f"-f -a {verb}", text))
    for name, one in words.items():
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
        lines += [_fish(seen, f"-f -a {command}", "") for command in one.commands]
        for option, text in one.options.items():
            values = f" -x -a '{' '.join(one.choices[option])}'" if option in one.choices else ""
            lines.append(_fish(seen, f"-l {option.removeprefix('--')}{values}", text))
        if one.models:
            lines.append(_fish(seen, f"-a '{' '.join(models)}'", "model"))
    return "\n".join([*lines, ""])


def _fish(condition: str, what: str, text: str) -> str:
    shown = text.replace("\\", "\\\\").replace("'", "\\'")
    described = f" -d '{shown}'" if text else ""
    return f"complete -c mmattn -n '{condition}' {what}{described}"


#: Shell -> what makes its script.
SCRIPTS: dict[str, Callable[[Mapping[str, Words], Sequence[str]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}
