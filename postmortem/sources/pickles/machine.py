"""The inert pickle interpreter: pickle's instructions (protocols 0 to 5) over plain data.

It imports nothing, calls nothing that a pickle names and evaluates nothing. What the C unpickler would call becomes a
`Record`; a short list of calls is understood (see `rebuild`). Every length is compared with the bytes that are left before
anything is taken, the memo is a dict (an index of four billion costs one entry), no step recurses, and total work is
bounded, so that hostile input costs at most a fixed time and memory.
"""

import pickletools
import struct

from postmortem.model.sentence import Sentence, say
from postmortem.sources.pickles.folding import fold
from postmortem.sources.pickles.literals import I32, U16, U32, Literals
from postmortem.sources.pickles.rebuild import SET, is_key, storage_of
from postmortem.sources.pickles.records import DEFAULT_LIMITS, Limits, Named, OddKey, Persistent, Pickled, Record, pairs_of
from postmortem.sources.pickles.tape import HaltError


def read_pickle(data: bytes | memoryview, *, limits: Limits = DEFAULT_LIMITS) -> Pickled:
    """Interpret the pickle at the start of `data` (bytes after its STOP are not looked at). Never raises.

    A damaged or truncated pickle gives what had been built, with the reason in `problem`.
    """
    if len(data) > limits.size:
        data = data[: limits.size]
    return _Machine(bytes(data), limits).run()


class _Machine(Literals):
    """The instructions about containers, the memo, globals and calls, each a method; and the loop."""

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
        except HaltError as halt:
            problem = halt.reason
        except IndexError:
            problem = self._why_index()
        except (MemoryError, RecursionError, ValueError, TypeError, KeyError, OverflowError, struct.error):
            problem = say("the pickle holds an instruction that makes no sense, at byte {at}", at=self.pos)
        if problem is not None:
            self.value = fold([*self.marks, self.stack])
        return Pickled(self.value, problem, self.calls.reported(), self.pos, self.odd_keys, self.omitted, tuple(self.storages))

    # -- the stack ---------------------------------------------------------------------------------------------------

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
        self.memo[U32.unpack(self._take(4))[0]] = self.stack[-1]

    def op_memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self) -> None:
        self.stack.append(self.memo[int(self._line(longest=20))])

    def op_binget(self) -> None:
        self.stack.append(self.memo[self.data[self.pos]])
        self.pos += 1

    def op_long_binget(self) -> None:
        self.stack.append(self.memo[U32.unpack(self._take(4))[0]])

    # -- globals and calls -------------------------------------------------------------------------------------------

    def op_global(self) -> None:
        module, name = self._line(), self._line()
        self.stack.append(self.calls.named(module.decode("utf-8", "replace"), name.decode("utf-8", "replace")))

    def op_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if isinstance(name, Record | Named) or isinstance(module, Record | Named):  # a name that is computed: only what hides does that
            name, module = "STACK_GLOBAL", "pickle"
        if not isinstance(name, str) or not isinstance(module, str):
            raise HaltError(say("the pickle holds an instruction that makes no sense, at byte {at}", at=self.pos))
        self.stack.append(self.calls.named(module, name))

    def _extension(self, code: int) -> None:
        self.stack.append(self.calls.named("copyreg.extension", str(code)))

    def op_ext1(self) -> None:
        self._extension(self._take(1)[0])

    def op_ext2(self) -> None:
        self._extension(U16.unpack(self._take(2))[0])

    def op_ext4(self) -> None:
        self._extension(I32.unpack(self._take(4))[0])

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
        raise HaltError(say("the pickle holds an unknown instruction, {code:#04x}, at byte {at}", code=self.data[self.pos - 1], at=self.pos - 1))


_STOP = ord(".")
# Method name by opcode; `unknown` where pickle defines none.
_METHODS: list[str] = ["op_unknown"] * 256
for _info in pickletools.opcodes:
    if _info.code != ".":  # STOP is handled by the loop itself
        _METHODS[ord(_info.code)] = f"op_{_info.name.lower()}"
