"""What the interpreter does where a pickle names a global, calls it or sets an object's state: it writes that down."""

import struct
from collections.abc import Callable

from postmortem.sources.pickles.danger import dangerous, dangerous_attribute
from postmortem.sources.pickles.rebuild import REBUILD
from postmortem.sources.pickles.rebuild_numpy import fill_array, fill_dtype
from postmortem.sources.pickles.records import Array, Named, NumpyType, Record

_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg", "UserDict": "collections", "__builtins__": "builtins"}
_CONSTRUCTORS = frozenset({"copyreg.__newobj__", "copyreg.__newobj_ex__", "copyreg._reconstructor"})
_TO_BYTES = frozenset({"_codecs.encode", "builtins.bytearray", "builtins.bytes"})
_GETATTR = "builtins.getattr"
_LONGEST_NAME = 500  # characters of a global's name
_MOST_DANGEROUS = 64  # names that a report gets
_MOST_NAMES = 200_000


class Calls:
    """The globals that one pickle names, and the calls that it asks for. `charge(items, bytes)` pays for copies."""

    def __init__(self, charge: Callable[[int, int], None]) -> None:
        self.charge = charge
        self.names: dict[tuple[str, str], Named] = {}
        self.dangerous: dict[str, None] = {}
        self.getattr_named = False
        self.getattr_called = False

    def reported(self) -> tuple[str, ...]:
        """Dangerous globals by name, in the order in which they were named. `getattr` without a call is handed to something else: dangerous."""
        if self.getattr_named and not self.getattr_called:
            self.dangerous[_GETATTR] = None
        return tuple(self.dangerous)[:_MOST_DANGEROUS]

    def named(self, module: str, name: str) -> Named:
        """The record of a global."""
        key = (module, name)
        known = self.names.get(key)
        if known is None:
            known = Named(_PYTHON_2.get(module, module)[:_LONGEST_NAME], name[:_LONGEST_NAME])
            if len(self.names) < _MOST_NAMES:
                self.names[key] = known
            if known.full == _GETATTR:
                self.getattr_named = True
            elif dangerous(known.module, known.name) and len(self.dangerous) < _MOST_DANGEROUS:
                self.dangerous[known.full] = None
        return known

    def call(self, callable_: object, args: object, kwargs: object = None) -> object:
        """What stands for the result: the value of one of the few calls that are understood, else a record."""
        if type(callable_) is not Named or type(args) is not tuple:
            return Record(callable_, args, kwargs)
        full = callable_.full
        if full in _CONSTRUCTORS and args:
            return self._constructed(full, args)
        if full == _GETATTR:
            self.getattr_called = True
            if len(args) < 2 or dangerous_attribute(args[1]) or (isinstance(args[0], Named) and dangerous(args[0].module, args[0].name)):
                self.dangerous[_GETATTR] = None
        elif full in _TO_BYTES:
            return self._encoded(callable_, args)
        rebuild = REBUILD.get(full)
        if rebuild is not None and not kwargs:
            for arg in args:
                if isinstance(arg, list | tuple):
                    self.charge(len(arg), 0)  # it may be copied
            try:
                value = rebuild(args)
            except (IndexError, ValueError, TypeError, AttributeError, OverflowError, struct.error):
                value = NotImplemented
            if value is not NotImplemented:
                return value
        return Record(callable_, args, kwargs)

    def build(self, target: object, state: object) -> None:
        """BUILD: a record's state is a dict or a pair (dict, slots), and several of them add up; arrays and dtypes get their content."""
        if isinstance(target, Record):
            if isinstance(target.state, dict) and isinstance(state, dict):
                self.charge(len(target.state) + len(state), 0)
                state = {**target.state, **state}
            target.state = state
        elif isinstance(target, Array):
            if isinstance(state, tuple) and state and isinstance(state[-1], str):
                self.charge(0, len(state[-1]))  # Python 2's bytes are encoded
            fill_array(target, state)
        elif isinstance(target, NumpyType):
            fill_dtype(target, state)

    def _constructed(self, full: str, args: tuple[object, ...]) -> object:
        """Objects of protocols 0 and 1, and classes with `__new__` arguments."""
        self.charge(len(args), 0)
        if full == "copyreg.__newobj__":
            if type(args[0]) is Named and args[0].full in _CONSTRUCTORS:
                return Record(args[0], args[1:])
            return self.call(args[0], args[1:])
        if full == "copyreg.__newobj_ex__":
            return Record(args[0], args[1] if len(args) > 1 else (), args[2] if len(args) > 2 else None)
        record = Record(args[0])
        content = args[2] if len(args) > 2 else None
        if isinstance(content, dict):
            record.pairs = content
        elif isinstance(content, list):
            record.items = content
        elif content is not None:
            record.args = (content,)
        return record

    def _encoded(self, callable_: Named, args: tuple[object, ...]) -> object:
        """`_codecs.encode(text, "latin1")`, `bytearray(text, "latin-1")`, `bytes()`: bytes in protocols below 3."""
        if not args:
            return b""
        if isinstance(args[0], bytes) and len(args) == 1:
            return args[0]
        if not isinstance(args[0], str) or len(args) < 2 or args[1] not in ("latin1", "latin-1"):
            return Record(callable_, args)
        self.charge(0, len(args[0]))
        return args[0].encode("latin-1", "replace")
