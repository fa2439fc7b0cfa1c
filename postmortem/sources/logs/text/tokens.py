"""What a number and a moment look like in a log, and the shape of a line once they are taken out.

A line's *shape* is its text with every number replaced by `NUMBER` and every moment (a date, a clock, a dotted version)
by `MOMENT`. Lines of one habit share one shape, so that a shape is understood once and then only its numbers are read.
All patterns are linear: quantifiers are possessive or bounded and never nested over the same characters.
"""

import calendar
import math
import re
from time import gmtime

NUMBER = "\x00"
MOMENT = "\x02"
WORDS_OF_SHAPE = 2_000  # bytes of a line that are looked at for its shape

_DIGITS = rb"[0-9]++(?:\.[0-9]*+)?+(?:[eE][-+]?+[0-9]++)?+"
_NON_FINITE = rb"(?i:nan|inf(?:inity)?+)(?:\.0|\(ind\))?+(?![A-Za-z_0-9])"
PLAIN = rb"[-+]?+(?:" + _DIGITS + rb"|\.[0-9]++(?:[eE][-+]?+[0-9]++)?+|" + _NON_FINITE + rb")"

_TAIL = rb"(?:\.0|\(ind\))?+(?![A-Za-z_0-9])"
_FREE = rb"(?<![\w.@#].)(?<![Tt][Oo][Pp]-.)(?<!BLEU-.)"  # the character before the one just read is no part of a word, nor of `top-5`
# Both begin with a plain set of characters, so that the search jumps from one candidate to the next.
NUMBERS = re.compile(
    rb"([-+.0-9nNiI](?:(?<=[0-9])(?:" + _FREE + rb"(?:"
    rb"[0-9]{0,2}(?:,[0-9]{3})++(?![0-9]|,[0-9])|"  # 121,400
    rb"\.\#(?:IND|INF|QNAN|SNAN)[0-9]*+|"  # what MSVC prints
    rb"[0-9]*+(?:\.[0-9]*+)?+(?:[eE][-+]?+[0-9]++)?+)"
    rb"|(?:(?<=[Ee]poch.)|(?<=batch.)|(?<=step.)|(?<=\[rank.)|(?<=\[default.)|(?<=[Ee]poch\ #.)|(?<=\b[Ee]p.)|(?<=\b[Ii]ter.)|"
    rb"(?<=[Ii]teration\ #.)|(?<=[Ee]pisode\ #.))"
    rb"[0-9]*+(?!\w|\.\S)"  # epoch0; [rank3]
    rb"|(?:(?<=\[\#.)|(?<=^\#.))[0-9]*+(?=[\]:])|(?<=^\#.)[0-9]*+(?=/[0-9]|\ [a-z])"  # [#000100]; #00000010:; #385/1500 loss; #385 loss
    rb"|(?:(?<=loss.)|(?<=[0-9]s\ r.))[0-9]*+\.[0-9]++(?![\w.])"  # loss0.545; 2.94(0.63s r2.27)s/itr
    rb"|(?<=\|Iter.)[0-9]*+(?=\())"  # |Iter0(1/500)
    rb"|(?<=[-+])(?<![\w)\].].)(?:[0-9]\.\#(?:IND|INF|QNAN|SNAN)[0-9]*+|" + _DIGITS + rb"|\.[0-9]++(?:[eE][-+]?+[0-9]++)?+|" + _NON_FINITE + rb")"
    rb"|(?<=\.)" + _FREE + rb"[0-9]++(?:[eE][-+]?+[0-9]++)?+"
    rb"|(?<=[nN])" + _FREE + rb"(?i:an)" + _TAIL + rb"|(?<=[iI])" + _FREE + rb"(?i:nf(?:inity)?+)" + _TAIL + rb"))"
)  # fmt: skip
_CLOCK_TIME = rb":[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]++)?+)?+(?![0-9:])"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
MOMENTS = re.compile(
    rb"[0-9](?<![\w./].)(?<![^A-Za-z_]:.)(?:"
    rb"(?:(?<=" + _MONTH + rb"\ .)|(?<=" + _MONTH + rb"\ \ .))[0-9]?\ [0-9]{2}:[0-9]{2}:[0-9]{2}\ [0-9]{4}(?![\w.])|"  # Mon May  1 10:00:00 2023
    rb"(?:[0-9]?/[0-9]{1,2}/[0-9]{4}|(?:[0-9]{3}|[0-9])[-/][0-9]{1,2}[-/][0-9]{1,2}|[0-9]/[0-9]{2}(?=\ [0-9]{2}:))"
    rb"(?:[T ]\ ?[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]++)?+)?+(?:Z|[-+][0-9]{2}:?[0-9]{2})?+(?![\w])|"
    rb"[0-9]*+\ days?,\ [0-9]{1,3}" + _CLOCK_TIME + rb"|[0-9]{0,2}" + _CLOCK_TIME + rb"|"
    rb"[0-9]*+(?:\.[0-9]++){2,}+(?:\.?[a-z]++[0-9]*+)?+)"
)  # fmt: skip
_BAR = re.compile("[=>#.━╸╺─█▏▎▍▌▋▊▉░▒-]{4,}")
_BLANKS = re.compile("[ \t]{3,}")
_BEFORE = re.compile(f"(?<![ \t])[ \t]+(?={NUMBER})")
_INF = {"inf", "infinity"}


_TQDM = re.compile(rb"%\|[^|\n]*+\|")
_KERAS = re.compile(rb"\[(?:=[=>.]{3,}+|>\.{3,}+)\]")


def without_bars(text: bytes) -> bytes:
    """The text with what tqdm and Keras draw put into one form; everything else stays."""
    if b"%|" in text:
        text = _TQDM.sub(b"%||", text)
    if b"[=" in text or b"[>" in text:
        text = _KERAS.sub(b"[====]", text)
    return text


def mask(line: bytes) -> tuple[bytes, list[bytes]]:
    """A line's shape (as bytes, blanks untouched) and its numbers, as printed."""
    line = without_bars(line)
    if b":" in line or b"." in line or b"/" in line or b"-" in line:
        line = MOMENTS.sub(b"\x02", line)
    parts = NUMBERS.split(line)
    return b"\x00".join(parts[::2]), parts[1::2]


def shape_of(masked: bytes) -> str:
    """The text of a masked line with blanks and bars made alike. Bytes that are not UTF-8 are read as Latin-1."""
    try:
        text = masked.decode()
    except UnicodeDecodeError:
        text = masked.decode("latin-1")
    text = _BAR.sub("====", text)
    if NUMBER in text:
        text = _BEFORE.sub("", text)
    if "   " in text or "\t" in text:
        text = _BLANKS.sub("  ", text)
    return text.strip()


def number(token: bytes) -> float:
    """The value of a printed number. `nan`, `-nan(ind)`, `nan.0` are NaN, `1.#INF` is infinite."""
    try:
        return float(token)
    except ValueError:
        text = token.decode("ascii", "replace").lower()
    sign = -1.0 if text.startswith("-") else 1.0
    bare = text.lstrip("+-")
    if bare.removesuffix(".0") in _INF or "#inf" in bare:
        return sign * math.inf
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return math.nan


def numbers_in(tokens: list[bytes]) -> list[float]:
    """The values of printed numbers, as `number` gives them."""
    try:
        return list(map(float, tokens))
    except ValueError:
        return [number(t) for t in tokens]


def quantum(token: bytes) -> float | None:
    """The unit of the last printed digit; None for a number that is not finite or printed to full precision (12 digits)."""
    mantissa, _, exponent = token.lower().lstrip(b"+-").partition(b"e")
    whole, _, decimals = mantissa.partition(b".")
    if not mantissa[:1].isdigit() or b"#" in mantissa:
        return None
    if len((whole + decimals).lstrip(b"0")) >= 12:
        return None
    try:
        return float(10.0 ** (int(exponent or b"0") - len(decimals)))
    except (ValueError, OverflowError):
        return None


WHOSE = re.compile(  # a line's prefix that names a rank, or a process of Ray's
    rb"(?:\[(?:rank|default) ?[0-9]{1,6}\]:?|\([A-Za-z][\w ,]{0,40}pid=[0-9]{1,9}(?:, ip=[0-9.]{7,15})?\))[ \t]?"
)
LEADING_DATE = re.compile(
    rb"[\[(<]?(?:(?P<year>[0-9]{4}|[0-9]{2})[-/](?P<month>[0-9]{1,2})[-/](?P<day>[0-9]{1,2})[T ]\ ?)"
    rb"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?"
)
_MONTH_FIRST = re.compile(  # `01/30/2026 04:32:55 - INFO - __main__ - `: the examples of transformers, accelerate and diffusers
    rb"[\[(<]?(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4}),? (?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
    rb"(?:[.,](?P<part>[0-9]{1,9}))?"
)
_GLOG = re.compile(rb"[IWEF](?P<month>[0-9]{2})(?P<day>[0-9]{2}) (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})\.(?P<part>[0-9]{6})")
_CLOCK_ONLY = re.compile(rb"\[?(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?")
_BEGINS_MOMENT = frozenset(bytes((c,)) for c in b"[(<IWEF0123456789")
YEAR_UNKNOWN = 2000
_YEAR_2000 = 946_684_800.0  # stands in where no year is printed
_DAY = 86_400.0
_SHORT = re.compile(rb"\[(?P<month>[0-9]{2})/(?P<day>[0-9]{2}) (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?P<part>)")


def leading_moment(line: bytes) -> re.Match[bytes] | None:
    """The moment that a line begins with, behind the name of a rank: groups `hour`, `minute`, `second`, where printed `part`, `year`, `month`
    and `day`."""
    if line[:1] not in _BEGINS_MOMENT:
        return None
    whose = WHOSE.match(line)
    at = whose.end() if whose else 0
    found = LEADING_DATE.match(line, at) or _MONTH_FIRST.match(line, at) or _GLOG.match(line, at) or _SHORT.match(line, at)
    return found or _CLOCK_ONLY.match(line, at)


def moment(line: bytes) -> float | None:
    """Seconds since 1970 of the date at the start of a line, read as UTC. Differences are what is used.

    glog and detectron2 print no year: the year 2000 stands in. A bare clock counts from midnight.
    """
    match = leading_moment(line)
    if match is None:
        return None
    parts = match.groupdict()
    part = parts["part"] or b""
    clock = int(parts["hour"]) * 3600 + int(parts["minute"]) * 60 + int(parts["second"])
    fraction = int(part) / 10 ** len(part) if part else 0.0
    if "day" not in parts:
        return clock + fraction
    midnight = midnight_of(int(parts.get("year") or YEAR_UNKNOWN), int(parts["month"]), int(parts["day"]))
    return None if midnight is None else midnight + clock + fraction


def midnight_of(year: int, month: int, day: int) -> int | None:
    """Seconds since 1970 at the begin of a day, None for what is no date. A year of two digits is one of this century."""
    year += 2000 * (year < 100)
    if not (1 <= month <= 12 and 1 <= day <= 31 and 1970 <= year <= 2200):
        return None
    return calendar.timegm((year, month, day, 0, 0, 0, 0, 0, 0))


def dated(time: float, before: float) -> float:
    """A moment whose year or date was not printed, on the calendar of the dated moment before it. Both in seconds, as `moment` gives them.

    A bare clock that is far behind has passed midnight.
    """
    then = gmtime(before)
    if time >= _YEAR_2000:
        parts = gmtime(time)
        return calendar.timegm((then.tm_year, parts.tm_mon, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec)) + time % 1.0
    today = before - before % _DAY + time
    return today + _DAY if today < before - _DAY / 2 else today
