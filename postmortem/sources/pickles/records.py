"""What the inert interpreter builds: records of what a pickle names, never the things themselves.

Scalars, lists, tuples and dicts come out as Python's own. Everything else is one of the records below. They compare and
hash by identity and have no recursive `repr`, so that no depth of nesting can exhaust the interpreter's stack.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from postmortem.model.sentence import Sentence


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one pickle. Every one of them is far above what a checkpoint of 100,000 tensors needs."""

    size: int = 256 << 20  # bytes of the pickle
    work: int = 7_000_000  # opcodes, plus items that a symbolic call copies
    stack: int = 4_000_000  # values on the stack, marks included
    memo: int = 4_000_000  # entries
    decoded: int = 256 << 20  # bytes that symbolic calls may produce (decoded strings)
    digits: int = 64  # bytes of an integer; longer ones are left out


DEFAULT_LIMITS = Limits()


class Named:
    """A global that the pickle names: a class or a function, never looked up."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    @property
    def full(self) -> str:
        """`module.name`."""
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"Named({self.module!r}, {self.name!r})"


class Record:
    """A call that was not made, and what was then put into its result.

    `args` are the positional arguments (a tuple unless the pickle is odd), `state` what BUILD set, `items` what was
    appended or added, `pairs` what was set by key.
    """

    __slots__ = ("args", "callable", "items", "kwargs", "pairs", "state")

    def __init__(self, callable_: object, args: object = (), kwargs: object = None) -> None:
        self.callable = callable_
        self.args = args
        self.kwargs = kwargs
        self.state: object = None
        self.items: list[object] | None = None
        self.pairs: dict[object, object] | None = None

    @property
    def kind(self) -> str:
        """The full name of what would have been called, "" when that is no global."""
        return self.callable.full if isinstance(self.callable, Named) else ""


class OddKey:
    """A dict key that is no scalar (a tuple, a record): kept by identity, so that hashing cannot recurse."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Persistent:
    """A persistent id that is no torch storage."""

    __slots__ = ("id",)

    def __init__(self, id_: object) -> None:
        self.id = id_


class Omitted:
    """Something that was left out: an integer of thousands of digits, an out-of-band buffer."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class Storage:
    """A torch storage: bytes that lie elsewhere under `key`, or in `blob`, itself a saved storage."""

    __slots__ = ("blob", "count", "dtype", "key", "view")

    def __init__(self, key: str, dtype: str, count: int, *, view: tuple[int, int] | None = None, blob: bytes | None = None) -> None:
        self.key = key
        self.dtype = dtype
        self.count = count  # elements; -1 when only the blob knows
        self.view = view  # (first element, elements) within the storage that holds the bytes (legacy files)
        self.blob = blob


class Tensor:
    """A tensor as its rebuild function was told to make it. `strides` and `offset` are in elements."""

    __slots__ = ("dtype", "is_parameter", "offset", "requires_grad", "shape", "storage", "strides", "whole")

    def __init__(
        self,
        storage: "Storage | Array | None",
        dtype: str,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        requires_grad: bool | None = None,
        is_parameter: bool = False,
    ) -> None:
        self.storage = storage
        self.dtype = dtype
        self.offset = offset
        self.shape = shape
        self.strides = strides
        self.requires_grad = requires_grad
        self.is_parameter = is_parameter
        self.whole: tuple[int, ...] = ()  # the shape of what it is one rank's share of


class NumpyType:
    """A numpy dtype; `order` is set by BUILD."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, order: str = "<") -> None:
        self.code = code
        self.order = order


class Array:
    """A numpy array whose bytes lie in the pickle. Empty until BUILD; `items` for arrays of objects."""

    __slots__ = ("data", "dtype", "fortran", "items", "order", "shape")

    def __init__(self, dtype: str = "", shape: tuple[int, ...] = (), data: bytes = b"", order: str = "<", *, fortran: bool = False) -> None:
        self.dtype = dtype  # numpy's name, "" when not a plain number type
        self.shape = shape
        self.data = data
        self.order = order
        self.fortran = fortran
        self.items: list[object] | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pickled:
    """What came out of one pickle. With a `problem`, `value` is what had been built when it occurred."""

    value: object
    problem: Sentence | None
    dangerous: tuple[str, ...]
    end: int  # position after STOP
    odd_keys: int = 0
    omitted: int = 0
    storages: tuple[Storage, ...] = ()  # every storage named, in order


def pairs_of(flat: list[object]) -> Iterable[tuple[object, object]]:
    """Key, value, key, value … as pairs; an odd last one is dropped."""
    it = iter(flat)
    return zip(it, it, strict=False)
