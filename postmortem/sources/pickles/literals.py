"""The instructions of a pickle that put numbers, text and bytes on the stack, and those about framing."""

import re
import struct

from postmortem.sources.pickles.records import Omitted
from postmortem.sources.pickles.tape import Tape

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[^x])", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\n": b""}
I32, U16, U32, _U64, _F64 = struct.Struct("<i"), struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q"), struct.Struct(">d")


class Literals(Tape):
    """Each method is one instruction; its argument is read from the tape."""

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
        self.stack.append(I32.unpack(self._take(4))[0])

    def op_binint1(self) -> None:
        self.stack.append(self.data[self.pos])
        self.pos += 1

    def op_binint2(self) -> None:
        self.stack.append(U16.unpack(self._take(2))[0])

    def op_long1(self) -> None:
        self._long(self._take(1)[0])

    def op_long4(self) -> None:
        self._long(I32.unpack(self._take(4))[0])

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
        self.stack.append(_python_2_text(self._take(I32.unpack(self._take(4))[0])))

    def op_short_binstring(self) -> None:
        self.stack.append(_python_2_text(self._take(self._take(1)[0])))

    def op_unicode(self) -> None:
        self.stack.append(self._line(longest=self.limits.size).decode("raw-unicode-escape", "replace"))

    def _text(self, n: int) -> None:
        self.stack.append(self._take(n).decode("utf-8", "surrogatepass" if n < 1000 else "replace"))

    def op_short_binunicode(self) -> None:
        self._text(self._take(1)[0])

    def op_binunicode(self) -> None:
        self._text(U32.unpack(self._take(4))[0])

    def op_binunicode8(self) -> None:
        self._text(_U64.unpack(self._take(8))[0])

    def op_short_binbytes(self) -> None:
        self.stack.append(self._take(self._take(1)[0]))

    def op_binbytes(self) -> None:
        self.stack.append(self._take(U32.unpack(self._take(4))[0]))

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
