"""The inert pickle interpreter: pickle's instructions (protocols 0 to 5) over plain data.

It imports nothing, calls nothing that a pickle names and evaluates nothing. What the C unpickler would call becomes a
`Record`; a short list of calls is understood (see `rebuild`). Every length is compared with the bytes that are left before
anything is taken, the memo is a dict (an index of four billion costs one entry), no step recurses, and total work is
bounded, so that hostile input costs at most a fixed time and memory.
"""

import pickletools
import re
import struct

from postmortem.model.sentence import Sentence, say
from postmortem.sources.pickles.calls import Calls
from postmortem.sources.pickles.folding import fold
from postmortem.sources.pickles.rebuild import SET, is_key, storage_of
from postmortem.sources.pickles.records import DEFAULT_LIMITS, Limits, Named, OddKey, Omitted, Persistent, Pickled, Record, Storage, pairs_of

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[^x])", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\n": b""}


class _HaltError(Exception):
    """The machine stops here; the reason becomes the result's `problem`."""

    def __init__(self, reason: Sentence) -> None:
        super().__init__()
        self.reason = reason


def read_pickle(data: bytes | memoryview, *, limits: Limits = DEFAULT_LIMITS) -> Pickled:
    """Interpret the pickle at the start of `data` (bytes after its STOP are not looked at). Never raises.

    A damaged or truncated pickle gives what had been built, with the reason in `problem`.
    """
    if len(data) > limits.size:
        data = data[: limits.size]
    return _Machine(bytes(data), limits).run()


class _Machine:
    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.pos = 0
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.height = 0  # values in `marks`
        self.memo: dict[int, object] = {}
        self.work = limits.work
        self.decoded = 0
        self.frame = 0  # where the frame that was opened last ends
        self.odd_keys = 0
        self.omitted = 0
        self.calls = Calls(self._charge)
        self.storages: list[Storage] = []
        self.value: object = None

    def run(self) -> Pickled:
        problem: Sentence | None = None
        table = [getattr(self, name) for name in _METHODS]
        data, work = self.data, self.limits.work
        try:
            while True:
                opcode = data[self.pos]
                self.pos += 1
                if opcode == _STOP:
                    self.value = self.stack[-1] if self.stack else None
                    break
                work -= 1
                if not work & 0xFFF:  # every 4,096 instructions
                    self._check(work)
                table[opcode]()
        except _HaltError as halt:
            problem = halt.reason
        except IndexError:
            problem = self._why_index()
        except (MemoryError, RecursionError, ValueError, TypeError, KeyError, OverflowError, struct.error):
            problem = say("the pickle holds an instruction that makes no sense, at byte {at}", at=self.pos)
        if problem is not None:
            self.value = fold([*self.marks, self.stack])
        return Pickled(self.value, problem, self.calls.reported(), self.pos, self.odd_keys, self.omitted, tuple(self.storages))

    # -- bounds ------------------------------------------------------------------------------------------------------

    def _check(self, work: int) -> None:
        if work - (self.limits.work - self.work) <= 0:
            raise _HaltError(say("the pickle has more than {limit:,} instructions; the rest was not read", limit=self.limits.work))
        if self.height + len(self.stack) + len(self.marks) > self.limits.stack:
            raise _HaltError(say("the pickle stacks more than {limit:,} values; the rest was not read", limit=self.limits.stack))
        if len(self.memo) > self.limits.memo:
            raise _HaltError(say("the pickle remembers more than {limit:,} values; the rest was not read", limit=self.limits.memo))

    def _charge(self, items: int, decoded: int = 0) -> None:
        """Pay for work that one instruction can repeat without paying bytes."""
        self.work -= items
        self.decoded += decoded
        if self.work <= 0 or self.decoded > self.limits.decoded:
            raise _HaltError(say("the pickle expands to far more than its size; the rest was not read"))

    def _take(self, n: int) -> bytes:
        if n > len(self.data) - self.pos or n < 0:
            raise _HaltError(self._cut())
        start = self.pos
        self.pos = start + n
        if start < self.frame < self.pos:
            self._straddled()
        return self.data[start : start + n]

    def _line(self, longest: int = 1 << 20) -> bytes:
        end = self.data.find(b"\n", self.pos, self.pos + longest + 1)
        if end < 0:
            raise _HaltError(self._cut())
        line = self.data[self.pos : end]
        if self.pos < self.frame <= end:
            self._straddled()
        self.pos = end + 1
        return line

    def _straddled(self) -> None:
        """An argument goes beyond the end of its frame: interpreters disagree where the next instruction begins, so that one may be hidden."""
        self.calls.named("pickle", "FRAME")

    def _cut(self) -> Sentence:
        return say("the pickle ends in the middle of an instruction, at byte {at}", at=len(self.data))

    def _why_index(self) -> Sentence:
        if self.pos >= len(self.data):
            return say("the pickle ends before its end marker, at byte {at}", at=len(self.data))
        return say("the pickle holds an instruction that makes no sense, at byte {at}", at=self.pos)

    # -- the stack ---------------------------------------------------------------------------------------------------

    def _pop_mark(self) -> list[object]:
        items = self.stack
        self.stack = self.marks.pop()
        self.height -= len(self.stack)
        return items

    def op_mark(self) -> None:
        self.marks.append(self.stack)
        self.height += len(self.stack)
        self.stack = []

    def op_pop(self) -> None:
        if self.stack:
            del self.stack[-1]
        else:
            self._pop_mark()

    def op_pop_mark(self) -> None:
        self._pop_mark()

    def op_dup(self) -> None:
        self.stack.append(self.stack[-1])

    # -- numbers, text, bytes ----------------------------------------------------------------------------------------

    def op_none(self) -> None:
        self.stack.append(None)

    def op_newtrue(self) -> None:
        self.stack.append(True)

    def op_newfalse(self) -> None:
        self.stack.append(False)

    def op_int(self) -> None:
        line = self._line()
        self.stack.append(line == b"01" if line in (b"00", b"01") else self._decimal(line))

    def op_long(self) -> None:
        self.stack.append(self._decimal(self._line().rstrip(b"L")))

    def _decimal(self, line: bytes) -> object:
        if len(line) > self.limits.digits * 2:
            return self._omit("integer")
        return int(line)

    def _omit(self, what: str) -> Omitted:
        self.omitted += 1
        return Omitted(what)

    def op_binint(self) -> None:
        self.stack.append(_I32.unpack(self._take(4))[0])

    def op_binint1(self) -> None:
        self.stack.append(self.data[self.pos])
        self.pos += 1

    def op_binint2(self) -> None:
        self.stack.append(_U16.unpack(self._take(2))[0])

    def op_long1(self) -> None:
        self._long(self._take(1)[0])

    def op_long4(self) -> None:
        self._long(_I32.unpack(self._take(4))[0])

    def _long(self, n: int) -> None:
        data = self._take(n)
        self.stack.append(int.from_bytes(data, "little", signed=True) if n <= self.limits.digits else self._omit("integer"))

    def op_float(self) -> None:
        self.stack.append(float(self._line(longest=100)))

    def op_binfloat(self) -> None:
        self.stack.append(_F64.unpack(self._take(8))[0])

    def op_string(self) -> None:
        line = self._line(longest=self.limits.size).strip()
        if len(line) > 1 and line[:1] in (b"'", b'"') and line[-1:] == line[:1]:
            line = line[1:-1]
        self.stack.append(_python_2_text(_ESCAPE.sub(_unescape, line)))

    def op_binstring(self) -> None:
        self.stack.append(_python_2_text(self._take(_I32.unpack(self._take(4))[0])))

    def op_short_binstring(self) -> None:
        self.stack.append(_python_2_text(self._take(self._take(1)[0])))

    def op_unicode(self) -> None:
        self.stack.append(self._line(longest=self.limits.size).decode("raw-unicode-escape", "replace"))

    def _text(self, n: int) -> None:
        self.stack.append(self._take(n).decode("utf-8", "surrogatepass" if n < 1000 else "replace"))

    def op_short_binunicode(self) -> None:
        self._text(self._take(1)[0])

    def op_binunicode(self) -> None:
        self._text(_U32.unpack(self._take(4))[0])

    def op_binunicode8(self) -> None:
        self._text(_U64.unpack(self._take(8))[0])

    def op_short_binbytes(self) -> None:
        self.stack.append(self._take(self._take(1)[0]))

    def op_binbytes(self) -> None:
        self.stack.append(self._take(_U32.unpack(self._take(4))[0]))

    def op_binbytes8(self) -> None:
        self.stack.append(self._take(_U64.unpack(self._take(8))[0]))

    op_bytearray8 = op_binbytes8

    def op_next_buffer(self) -> None:
        self.stack.append(self._omit("buffer"))

    def op_readonly_buffer(self) -> None:
        pass

    def op_proto(self) -> None:
        self._take(1)  # newer protocols are read as far as their instructions are known

    def op_frame(self) -> None:
        """Framing helps readers of streams; every length is checked on its own."""
        length = int.from_bytes(self._take(8), "little")
        if self.pos < self.frame:
            self._straddled()
        self.frame = self.pos + length

    # -- containers --------------------------------------------------------------------------------------------------

    def op_empty_list(self) -> None:
        self.stack.append([])

    def op_empty_dict(self) -> None:
        self.stack.append({})

    def op_empty_tuple(self) -> None:
        self.stack.append(())

    def op_empty_set(self) -> None:
        self.stack.append(Record(SET))

    def op_list(self) -> None:
        items = self._pop_mark()
        self.stack.append(items)

    def op_tuple(self) -> None:
        items = self._pop_mark()
        self.stack.append(tuple(items))

    def op_tuple1(self) -> None:
        self.stack[-1] = (self.stack[-1],)

    def op_tuple2(self) -> None:
        b, a = self.stack.pop(), self.stack.pop()
        self.stack.append((a, b))

    def op_tuple3(self) -> None:
        c, b, a = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append((a, b, c))

    def op_dict(self) -> None:
        target: dict[object, object] = {}
        self._set(target, self._pop_mark())
        self.stack.append(target)

    def op_frozenset(self) -> None:
        record = Record(SET)
        record.items = self._pop_mark()
        self.stack.append(record)

    def op_append(self) -> None:
        value = self.stack.pop()
        self._extend(self.stack[-1], [value])

    def op_appends(self) -> None:
        items = self._pop_mark()
        self._extend(self.stack[-1], items)

    op_additems = op_appends

    def op_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def op_setitems(self) -> None:
        items = self._pop_mark()
        self._set(self.stack[-1], items)

    def _extend(self, target: object, items: list[object]) -> None:
        if type(target) is list:
            target.extend(items)
        elif type(target) is Record:
            if target.items is None:
                target.items = []
            target.items.extend(items)

    def _set(self, target: object, flat: list[object]) -> None:
        if type(target) is Record:
            if target.pairs is None:
                target.pairs = {}
            target = target.pairs
        if type(target) is not dict:
            return
        for key, value in pairs_of(flat):
            if type(key) is str or is_key(key):
                target[key] = value
            else:
                self.odd_keys += 1
                target[OddKey(key)] = value

    # -- the memo ----------------------------------------------------------------------------------------------------

    def op_put(self) -> None:
        self.memo[int(self._line(longest=20))] = self.stack[-1]

    def op_binput(self) -> None:
        self.memo[self.data[self.pos]] = self.stack[-1]
        self.pos += 1

    def op_long_binput(self) -> None:
        self.memo[_U32.unpack(self._take(4))[0]] = self.stack[-1]

    def op_memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self) -> None:
        self.stack.append(self.memo[int(self._line(longest=20))])

    def op_binget(self) -> None:
        self.stack.append(self.memo[self.data[self.pos]])
        self.pos += 1

    def op_long_binget(self) -> None:
        self.stack.append(self.memo[_U32.unpack(self._take(4))[0]])

    # -- globals and calls -------------------------------------------------------------------------------------------

    def op_global(self) -> None:
        module, name = self._line(), self._line()
        self.stack.append(self.calls.named(module.decode("utf-8", "replace"), name.decode("utf-8", "replace")))

    def op_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if isinstance(name, Record | Named) or isinstance(module, Record | Named):  # a name that is computed: only what hides does that
            name, module = "STACK_GLOBAL", "pickle"
        if not isinstance(name, str) or not isinstance(module, str):
            raise _HaltError(say("the pickle holds an instruction that makes no sense, at byte {at}", at=self.pos))
        self.stack.append(self.calls.named(module, name))

    def _extension(self, code: int) -> None:
        self.stack.append(self.calls.named("copyreg.extension", str(code)))

    def op_ext1(self) -> None:
        self._extension(self._take(1)[0])

    def op_ext2(self) -> None:
        self._extension(_U16.unpack(self._take(2))[0])

    def op_ext4(self) -> None:
        self._extension(_I32.unpack(self._take(4))[0])

    def op_persid(self) -> None:
        self.stack.append(Persistent(self._line().decode("utf-8", "replace")))

    def op_binpersid(self) -> None:
        id_ = self.stack.pop()
        if isinstance(id_, tuple) and len(id_) == 4 and id_[0] == "module":
            self.stack.append(id_[1])  # ("module", class, file, source): how the legacy format names a module's class
            return
        storage = storage_of(id_)
        if storage is not None:
            self.storages.append(storage)
        self.stack.append(storage or Persistent(id_))

    def op_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.calls.call(self.stack[-1], args)

    op_newobj = op_reduce

    def op_newobj_ex(self) -> None:
        kwargs, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self.calls.call(self.stack[-1], args, kwargs)

    def op_obj(self) -> None:
        callable_, *args = self._pop_mark()
        self.stack.append(self.calls.call(callable_, tuple(args)))

    def op_inst(self) -> None:
        self.op_global()
        named = self.stack.pop()
        self.stack.append(self.calls.call(named, tuple(self._pop_mark())))

    def op_build(self) -> None:
        state = self.stack.pop()
        self.calls.build(self.stack[-1], state)

    def op_unknown(self) -> None:
        raise _HaltError(say("the pickle holds an unknown instruction, {code:#04x}, at byte {at}", code=self.data[self.pos - 1], at=self.pos - 1))


def _python_2_text(data: bytes) -> str:
    """Python 2's `str`: text or bytes, nobody knows; latin-1 keeps every byte."""
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unescape(match: re.Match[bytes]) -> bytes:
    what = match[1]
    if what[:1] == b"x":
        return bytes([int(what[1:], 16)])
    if what[:1] in b"01234567":
        return bytes([int(what, 8) & 0xFF])
    return _ESCAPES.get(what, what)


_I32, _U16, _U32, _U64, _F64 = struct.Struct("<i"), struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q"), struct.Struct(">d")
_STOP = ord(".")
# Method name by opcode; `unknown` where pickle defines none.
_METHODS: list[str] = ["op_unknown"] * 256
for _info in pickletools.opcodes:
    if _info.code != ".":  # STOP is handled by the loop itself
        _METHODS[ord(_info.code)] = f"op_{_info.name.lower()}"
