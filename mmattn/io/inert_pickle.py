"""Read the instructions of a pickle into a tree, and follow none of them.

A pickle is a program that builds objects by calling what it names. Here the program is only
parsed: lists and tuples, numbers and text become themselves, and everything else, dictionaries
too, a ``Record`` of the name and of what the program would have done with it. No name is looked
up or imported, so nothing of the file can be called. What the records stand for is decided by
``mmattn.io.inert_content``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from mmattn.errors import CheckpointError

#: Instructions that a pickle may have, which bounds memory; large checkpoints have some 100 000.
MAX_INSTRUCTIONS = 3_000_000
#: Name of a reference to a storage. The name of a class always has a dot, so none is called so.
STORAGE = "storage"
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class DamagedPickleError(CheckpointError):
    """Raised for instructions that make no sense; the message says which, not in which file."""


@dataclass(eq=False, repr=False, slots=True)
class Record:
    """Stand-in for a class, a function, or the object that calling one would have given.

    Attributes:
        name: Dotted name of the class or function; one that cannot be imported ends in "()".
        args: Arguments of the call; None where nothing is called, only named.
        state: State that the object would have been given.
        items: Items that would have been appended or added to the object.
        pairs: Keys and values that would have been set in the object.
    """

    name: str
    args: tuple | None = None
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def given(self) -> tuple:
        """Arguments of the call; () where nothing is called."""
        return self.args or ()


def parse_pickle(stream: BinaryIO) -> Any:
    """Parse one pickle, up to its end, and return the tree of what it holds.

    The parser needs no recursion, so depth is no danger to it; who walks the tree has to take care.

    Args:
        stream: File at the start of a pickle, in memory: the lengths that a pickle claims are asked
            of ``read`` as they are.

    Raises:
        DamagedPickleError: If the instructions are cut off, senseless, too many, or of the few that
            no checkpoint has (registered extensions, buffers beside the file).
    """
    parser = _Parser()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if number == MAX_INSTRUCTIONS:
                raise DamagedPickleError(f"it has more than {MAX_INSTRUCTIONS} instructions")
            parser.step(opcode.name, argument)
        return parser.result()
    except DamagedPickleError:
        raise
    except Exception as error:  # the parser of the standard library raises nearly anything
        raise DamagedPickleError(f"{type(error).__name__}: {error}") from error


class _Parser:
    """Stack machine of pickles, in which calls are written down and not made."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        if len(self._stack) != 1 or self._outer:
            raise DamagedPickleError("it ends in the middle of a container")
        return self._stack[0]

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHING_THEIR_ARGUMENT:
            self._stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in _PUSHING:
            self._stack.append(_PUSHING[name]())
        elif name in _PUTTING:
            self._memo[argument] = self._stack[-1]
        elif name in _GETTING:
            self._stack.append(self._memo[argument])
        elif name not in _IGNORED:
            handler = getattr(self, f"_{name.lower()}", None)
            if handler is None:
                raise DamagedPickleError(f"the instruction {name} is in no checkpoint")
            if argument is None:
                handler()
            else:
                handler(argument)

    # The stack

    def _mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    # Containers

    def _tuple(self) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _tuple1(self) -> None:
        self._tuple_of(1)

    def _tuple2(self) -> None:
        self._tuple_of(2)

    def _tuple3(self) -> None:
        self._tuple_of(3)

    def _tuple_of(self, length: int) -> None:
        if len(self._stack) < length:
            raise DamagedPickleError("a tuple lacks items")
        self._stack[-length:] = [tuple(self._stack[-length:])]

    def _list(self) -> None:
        items = self._pop_mark()
        self._stack.append(items)

    def _dict(self) -> None:
        items = self._pop_mark()
        self._stack.append(_new_dict())
        self._set_pairs(items)

    def _frozenset(self) -> None:
        items = self._pop_mark()
        self._stack.append(Record("builtins.frozenset", (), items=items))

    def _append(self) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self) -> None:
        items = self._pop_mark()
        self._extend(items)

    def _additems(self) -> None:
        items = self._pop_mark()
        self._object("adds to").items.extend(items)

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        else:
            self._object("appends to").items.extend(items)

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_pairs([key, value])

    def _setitems(self) -> None:
        items = self._pop_mark()
        self._set_pairs(items)

    def _set_pairs(self, items: list[Any]) -> None:
        pairs = zip(items[::2], items[1::2], strict=True)
        self._object("sets items of").pairs.extend(pairs)

    # Names and calls

    def _global(self, argument: str) -> None:
        module, name = argument.split(" ", 1)
        self._stack.append(_named(module, name))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise DamagedPickleError("a class is named by something else than text")
        self._stack.append(_named(module, name))

    def _reduce(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        self._call(function, args)

    _newobj = _reduce

    def _newobj_ex(self) -> None:
        kwargs, args = self._stack.pop(), self._stack.pop()
        function = self._stack.pop()
        if isinstance(kwargs, Record) and not kwargs.pairs:
            self._call(function, args)
        else:  # no class that is rebuilt has keywords
            self._call(function, args, kwargs)

    def _inst(self, argument: str) -> None:
        args = tuple(self._pop_mark())
        self._global(argument)
        self._call(self._stack.pop(), args)

    def _obj(self) -> None:
        function, *args = self._pop_mark()
        self._call(function, tuple(args))

    def _call(self, function: Any, args: Any, *more: Any) -> None:
        if not isinstance(function, Record) or type(args) is not tuple:
            raise DamagedPickleError(f"it calls a {type(function).__name__}")
        if function.args is None and not more:
            self._stack.append(Record(function.name, args))
        else:  # what a call gave is called, say: nothing that is rebuilt is made so
            name = function.name.removesuffix("()") + "()"
            self._stack.append(Record(name, (function, *args, *more)))

    def _build(self) -> None:
        state = self._stack.pop()
        self._object("sets the state of").state = state

    def _binpersid(self) -> None:
        reference = self._stack.pop()
        match reference:
            case ("module", Record(args=None) as named, *_):  # torch before 1.6 adds the source
                self._stack.append(named)
            case _:
                self._stack.append(Record(STORAGE, (reference,)))

    def _object(self, action: str) -> Record:
        target = self._stack[-1]
        if not isinstance(target, Record) or target.args is None:
            raise DamagedPickleError(f"it {action} what is no object")
        return target


def _named(module: str, name: str) -> Record:
    return Record(f"{_OLD_MODULES.get(module, module)}.{name}")


def _new_dict() -> Record:
    return Record("builtins.dict", ())


_PUSHING: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": _new_dict,
    "EMPTY_SET": lambda: Record("builtins.set", ()),
}
_PUSHING_THEIR_ARGUMENT = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_PUTTING = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETTING = {"GET", "BINGET", "LONG_BINGET"}
_IGNORED = {"PROTO", "FRAME", "STOP"}
