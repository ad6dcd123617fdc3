"""Say where a setting of a config comes from: every file and line that set it, and which won."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmattn.config.read_keys import READ_KEYS
from mmattn.errors import ConfigError
from mmattn.tables import text_table

from .places import leaves, nearest_key, shown_file, shown_site, shown_value, tokens_of
from .trace import Trace
from .traced import Read, Setting, Site, TracedDict, plain

ABSENT = object()


@dataclass(frozen=True)
class Origin:
    """One setting of a key, and what became of it.

    Attributes:
        setting: File, line and value.
        lost: Key around it that was set anew, so that this setting went; "" for one that was
            not.
        loser: Place that set it anew.
    """

    setting: Setting
    lost: str = ""
    loser: Setting | None = None


@dataclass(frozen=True)
class Explanation:
    """Where a key comes from.

    Attributes:
        key: The key.
        value: Its value; ``ABSENT`` if it is gone.
        origins: All that set it, in order; the last that was not lost wins.
        through: Settings around it that took a variable: key, place and variable.
        notes: Sentences about variables that came too late.
    """

    key: str
    value: Any
    origins: tuple[Origin, ...]
    through: tuple[tuple[str, Setting], ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return _text(self)


@dataclass(frozen=True)
class StaleUse:
    """A setting that took a variable which another file has set anew since.

    Attributes:
        name: Name of the variable.
        path: Key of what took it.
        setting: The setting there.
        old: Place of the variable that was taken.
        new: What set the variable last.
        taken: Whether another setting took the variable as it is now.
    """

    name: str
    path: str
    setting: Setting
    old: Site
    new: Setting
    taken: bool

    def __str__(self) -> str:
        place = f"this {self.name} ({shown_site(self.new.site)})"
        what = "has no effect on" if self.taken else "is read by nothing:"
        which = f"{self.path}, which" if self.taken else self.path
        return f"{place} {what} {which} was fixed when {shown_site(self.setting.site)} was read"


def explain(trace: Trace, key: str) -> Explanation:
    """Return where a key comes from.

    Args:
        trace: A config that was traced.
        key: Dotted key; indices of lists are ``.2`` or ``[2]``.

    Raises:
        ConfigError: There is no such key and never was; the message offers the nearest.
    """
    tokens = tokens_of(key)
    origins = tuple(_origins(trace.root, tokens, "", None, Site(trace.path, 0)))
    value, through = _live(trace.root, tokens)
    if not origins:
        raise ConfigError(
            f"{trace.path}: there is no key {key!r}.{nearest_key(plain(trace.root), key)}"
        )
    stale = stale_uses(trace)
    notes = [str(use) for use in stale if use.name == tokens[0]]
    notes += [
        f"{use.path} was taken from {use.name} of {shown_site(use.old)}; "
        f"{shown_site(use.new.site)} set {use.name} again, later, which changes nothing here"
        for use in stale
        if _is_within(tokens, tokens_of(use.path)) or _is_within(tokens_of(use.path), tokens)
    ]
    if len(tokens) == 1 and key not in READ_KEYS and key in trace.root:
        users = [path for path, setting in live_settings(trace.root) if _reads(setting, key)]
        users = [path for path in users if section_of(path) in READ_KEYS]
        current = [path for path in users if path not in {use.path for use in stale}]
        if current:
            notes.insert(0, f"{key} is a variable of the file; {', '.join(current[:4])} took it")
        elif not notes:
            notes.append(f"{key} is a variable of the file that no section takes by its name")
    return Explanation(key, value, origins, tuple(through), tuple(dict.fromkeys(notes)))


def overridden(trace: Trace) -> list[tuple[str, Any, Setting, Setting | None]]:
    """List the settings that are not those of the files at the root of the inheritance.

    Returns:
        Key, value, what set it, and what it was set to before (None for a new one).
    """
    roots = {file for file, bases in trace.bases.items() if not bases}
    found = []
    for path, value in leaves(trace.root):
        if path.endswith("_scope_"):
            continue
        origins = list(_origins(trace.root, tokens_of(path), "", None, Site(trace.path, 0)))
        if not origins or origins[-1].setting.site.file in roots:
            continue
        before = origins[-2].setting if len(origins) > 1 else None
        found.append((path, value, origins[-1].setting, before))
    return found


def overridden_table(trace: Trace) -> str:
    """Write ``overridden`` as a table."""
    rows = [
        [
            path,
            shown_value(value, 40),
            shown_site(setting.site),
            f"{shown_value(before.value, 30)} ({shown_site(before.site)})" if before else "(new)",
        ]
        for path, value, setting, before in overridden(trace)
    ]
    if not rows:
        return f"{shown_file(trace.path)} changes nothing of the files that it inherits."
    return text_table(["key", "value", "set by", "before"], rows)


def stale_uses(trace: Trace) -> list[StaleUse]:
    """List settings of sections that took a variable which a later file has changed since."""
    live = [one for one in live_settings(trace.root) if section_of(one[0]) in READ_KEYS]
    reads = [(path, setting, read) for path, setting in live for read in all_reads(setting.site)]
    found: dict[tuple[str, str], StaleUse] = {}
    for path, setting, read in reads:
        name = _name(read)
        history = trace.root.history(name)
        if read.site is None or not history or history[-1].site == read.site:
            continue
        new = history[-1]
        first = next((one for one in history if one.site == read.site), None)
        if first is None or new.site.file in (read.site.file, setting.site.file):
            continue
        if plain(first.value) != plain(new.value):
            taken = any(_name(one) == name and one.site == new.site for _, _, one in reads)
            found[name, path] = StaleUse(name, path, setting, read.site, new, taken)
    return list(found.values())


def section_of(path: str) -> str:
    """Return the top-level key of a path."""
    return path.split(".")[0].split("[")[0]


def live_settings(value: Any, path: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield every key that is there, with what set it last."""
    if isinstance(value, TracedDict):
        for key, inner in value.items():
            place = f"{path}.{key}" if path else str(key)
            yield place, value.last(key)
            yield from live_settings(inner, place)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from live_settings(inner, f"{path}[{index}]")


def all_reads(site: Site) -> Iterator[Read]:
    """Yield the variables of a setting and those that these were made of."""
    for read in site.reads:
        yield read
        if read.site is not None:
            yield from all_reads(read.site)


def _reads(setting: Setting, name: str) -> bool:
    return any(_name(read) == name for read in all_reads(setting.site))


def _name(read: Read) -> str:
    return read.name.removeprefix("_base_.").split(".")[0]


def _origins(
    value: Any, tokens: Sequence[str], path: str, lost: Origin | None, around: Site
) -> Iterator[Origin]:
    """Yield all that ever set a key, from the first on."""
    if isinstance(value, TracedDict):
        key, rest = _key(value, tokens)
        if key is None:
            return
        place = f"{path}.{key}" if path else str(key)
        history = value.history(key)
        for index, setting in enumerate(history):
            after = history[index + 1] if index + 1 < len(history) else None
            if not rest:
                yield _origin(setting, lost)
                continue
            if after is not None and after.how == "merges":
                continue  # all of it is in what was merged
            inner = setting.value if after is not None else dict.get(value, key)
            gone = lost
            if after is not None and gone is None:
                gone = Origin(setting, place, after)
            yield from _origins(inner, rest, place, gone, setting.site)
    elif isinstance(value, (list, tuple)) and tokens and tokens[0].lstrip("-").isdigit():
        if not -len(value) <= int(tokens[0]) < len(value):
            return
        site = getattr(value, "site", None) or around
        inner = value[int(tokens[0])]
        if len(tokens) == 1:
            own = inner._site if isinstance(inner, TracedDict) else getattr(inner, "site", None)
            yield _origin(Setting(own or site, inner), lost)
        else:
            yield from _origins(inner, tokens[1:], f"{path}[{tokens[0]}]", lost, site)


def _origin(setting: Setting, lost: Origin | None) -> Origin:
    return Origin(setting) if lost is None else Origin(setting, lost.lost, lost.loser)


def _key(value: TracedDict, tokens: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """Return the key that tokens begin with; keys may have dots in them."""
    for count in range(1, len(tokens) + 1):
        text = ".".join(tokens[:count])
        for key in value.recorded():
            if str(key) == text:
                return key, tokens[count:]
    return None, tokens


def _live(root: TracedDict, tokens: Sequence[str]) -> tuple[Any, list[tuple[str, Setting]]]:
    value: Any = root
    through: list[tuple[str, Setting]] = []
    path = ""
    while tokens:
        if isinstance(value, TracedDict):
            key, rest = _key(value, tokens)
            if key is None or key not in value:
                return ABSENT, []
            path = f"{path}.{key}" if path else str(key)
            if value.last(key).site.reads:
                through.append((path, value.last(key)))
            value, tokens = value[key], rest
        elif isinstance(value, (list, tuple)) and tokens[0].lstrip("-").isdigit():
            index = int(tokens[0])
            if not -len(value) <= index < len(value):
                return ABSENT, []
            path, value, tokens = f"{path}[{index}]", value[index], tokens[1:]
        else:
            return ABSENT, []
    return value, through


def _is_within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    return list(inner[: len(outer)]) == list(outer)


def _text(explanation: Explanation) -> str:
    origins = explanation.origins
    wins = len(origins) - 1
    gone = explanation.value is ABSENT
    rows = []
    for index, origin in enumerate(origins):
        setting = origin.setting
        value = "" if setting.how == "removes" else shown_value(setting.value)
        rows.append([shown_site(setting.site), value, _why(origin, index, index == wins, gone)])
    title = (
        f"{explanation.key} is not there any more"
        if gone
        else f"{explanation.key} = {shown_value(explanation.value, 200)}"
    )
    lines = [title, "", text_table(["where", "value", "what happens"], rows)]
    for path, setting in explanation.through:
        for read in setting.site.reads:
            if read.site is not None:
                value = f"{path} takes {read.name}, set at {shown_site(read.site)}"
                lines.append(f"\n{shown_site(setting.site)}: {value}")
    lines += [f"\nnote: {note}" for note in explanation.notes]
    return "\n".join(lines)


def _why(origin: Origin, index: int, last: bool, gone: bool) -> str:
    words = {
        "sets": "overrides" if index else "sets",
        "merges": "merges into it",
        "deletes": "replaces all of it (_delete_=True)",
        "removes": "takes it out",
    }
    text = words[origin.setting.how]
    if origin.loser is not None:
        how = " with _delete_=True" if origin.loser.how == "deletes" else ""
        verb = "took out" if origin.loser.how == "removes" else "set"
        return f"{text}; lost: {shown_site(origin.loser.site)} {verb} {origin.lost} anew{how}"
    return f"{text}; wins" if last and not gone else text


def site_of(trace: Trace, path: str) -> Site:
    """Return the place that set a key; that of the block around it where the key was never set."""
    tokens = tokens_of(path)
    while tokens:
        origins = list(_origins(trace.root, tokens, "", None, Site(trace.path, 0)))
        if origins:
            return origins[-1].setting.site
        tokens = tokens[:-1]
    return Site(trace.path, 0)
