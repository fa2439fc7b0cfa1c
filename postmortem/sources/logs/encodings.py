"""The encoding of a text file, as its bytes show it. Nearly all logs are UTF-8, or ASCII with a stray byte, and need no decoding."""

import codecs
import re

_SEEN = 1 << 16  # bytes that show what the text is in, from the first one that is no UTF-8
_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef\u2010-\u203f\u2500-\u25ff]")  # with what is drawn and set beside it
_USUAL = re.compile(rb"[\xb0-\xd7][\xa1-\xfe]")  # the 3,755 characters of GB 2312 that most texts are made of
_MOST = 0.9  # of the characters that are no ASCII
_HALF = 0.5


def encoding_of(data: bytes) -> str:
    """What the first bytes of a file have to be decoded from; "" where they are UTF-8, ASCII or Latin-1.

    PowerShell's `>` writes UTF-16, a Chinese Windows GBK, of which GB 18030 is the whole.
    """
    if data.isascii() and b"\0" not in data:
        return ""
    return _utf16(data) or _gbk(data)


def without_mark(data: bytes) -> bytes:
    """The first bytes of a file without a byte-order mark."""
    return data[2:] if data[:2] in _MARKS else data.removeprefix(codecs.BOM_UTF8)


def _utf16(head: bytes) -> str:
    if head[:2] in _MARKS:
        return _MARKS[head[:2]]
    even, odd = head[0:512:2], head[1:512:2]
    if len(odd) >= 8:
        if odd.count(0) > 0.8 * len(odd) and even.count(0) < 0.1 * len(even):
            return "utf-16-le"
        if even.count(0) > 0.8 * len(even) and odd.count(0) < 0.1 * len(odd):
            return "utf-16-be"
    return ""


def _gbk(data: bytes) -> str:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:
            return ""
        sample = data[data.rfind(b"\n", 0, error.start) + 1 :][:_SEEN]
    else:
        return ""
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)
    except UnicodeDecodeError:
        return ""
    foreign = [c for c in text if not c.isascii()]
    chinese, usual = len(_CHINESE.findall(text)), len(_USUAL.findall(sample))
    return "gb18030" if usual and chinese >= _MOST * len(foreign) and usual >= _HALF * sum(c >= "\u4e00" for c in foreign if c <= "\u9fff") else ""
