"""Registry: everything that follows from the tuple of modules: tables, message codec, transitions, numeric codes."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import msgspec

from ..codec import BadEncoding, Codec
from .block import CORE_TABLES
from .envelope_errors import UnknownMessage
from .module import Assigned, Context, Message, Module, Process
from .state import State

_NUMBERS_OF_NO_MODULE = {"tx": 10, "genesis": 11, "codec": 12, "ids": 13}


class Registry:
    """Asserts what must hold between modules: tags in a module's own range, each tag, table and code once."""

    def __init__(self, modules: tuple[Module, ...]) -> None:
        self.modules = modules
        self.tables = CORE_TABLES + tuple(table for module in modules for table in module.tables)
        self.process: dict[type[Message], Process] = {}
        self.assigned: dict[type[Message], Assigned] = {}
        self.tags: dict[int, type[Message]] = {}
        self._numbers = dict(_NUMBERS_OF_NO_MODULE)
        for module in modules:
            assert module.number not in self._numbers.values(), module.name
            self._numbers[module.name] = module.number
            for kind, process in module.messages.items():
                self._add_message(module, kind, process)
            self.assigned.update(module.assigned)
            for kind, admit in module.admits.items():
                self.process[kind] = _chain(self.process[kind], admit)
        self.codec: Codec[Message] = Codec(reduce(or_, self.process), max_bytes=65_536)

    def _add_message(self, module: Module, kind: type[Message], process: Process) -> None:
        tag = get_tag(kind)
        assert tag >> 8 == module.number, f"{kind.__name__}: tag {tag:#06x} is not in the range of {module.name}"
        assert tag not in self.tags, f"{kind.__name__} and {self.tags[tag].__name__} share tag {tag:#06x}"
        self.tags[tag] = kind
        self.process[kind] = process

    def decode_message(self, raw: msgspec.Raw) -> Message:
        """Raises UnknownMessage (tx/4), also for fields that don't fit and for bytes that aren't canonical."""
        try:
            return self.codec.decode(bytes(raw))
        except BadEncoding as error:
            raise UnknownMessage(f"message: {error.message}") from error

    def compute_number(self, code: str) -> int:
        """`apps/2` -> 5 * 256 + 2; 0 for no code."""
        if not code:
            return 0
        name, _, number = code.partition("/")
        return self._numbers[name] * 256 + int(number)


def _chain(process: Process, admit: Process) -> Process:
    """A message is applied, then a later module may refuse what came of it."""

    def process_and_admit(state: State, msg: Message, ctx: Context) -> None:
        process(state, msg, ctx)
        admit(state, msg, ctx)

    return process_and_admit


def get_tag(kind: type[Any]) -> int:
    """The tag that a message or event class declares."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int), f"{kind.__name__} has no tag"
    return tag
