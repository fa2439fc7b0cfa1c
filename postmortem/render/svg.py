"""matplotlib's SVG made fit for a strict page: no inline styles, no colours of its own, no foreign ids, few digits.

Colours in a figure are stand-ins (`ROLES`); here each becomes a class, so that the style sheet decides, in light, dark and
print. What remains of inline styles becomes presentation attributes, which a content security policy allows.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from xml.etree import ElementTree as ET

from markupsafe import Markup

from postmortem.render.words import visible

_NAMES = (
    "ink", "muted", "grid", "train", "val", "test", "only", "earlier", "onset", "visible", "crash", "mark", "nan", "level", "bad", "first", "last",
    "middle", "paper",
)  # fmt: skip
ROLES = {name: f"#00{i:02x}fe" for i, name in enumerate(_NAMES, 1)}
_CLASS_OF = {colour: name for name, colour in ROLES.items()}
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
_FONT_SIZE = re.compile(r"([\d.]+)px")
_KEPT = re.compile(r"(series|moves|tick)(?:-(\d+-\d+))?$")  # ids that say what a group is
_SPACE = re.compile(r"\s*\b([MLHVCQZz])\s*|\s+")
_DROPPED = frozenset({"stroke-linecap", "stroke-linejoin", "font-family", "font", "fill", "stroke"})


def polish(raw: bytes, prefix: str, label: str, data: Mapping[str, str] = MappingProxyType({})) -> Markup:
    """The `<svg>` element for a page. `prefix` makes ids unique on the page, `label` says what the picture shows.

    `data` becomes `data-…` attributes of it. Groups that a script of the page moves or reads keep their id as one.
    """
    root = ET.fromstring(raw)  # noqa: S314 - matplotlib's own output
    wanted = _referenced(root)
    _clean(root, prefix, wanted)
    _flatten(root)
    width, height = root.attrib["viewBox"].split()[2:]
    attributes = {"viewBox": f"0 0 {_short(width)} {_short(height)}", "role": "img", "aria-label": visible(label), "class": "plot"}
    root.attrib.clear()
    root.attrib.update(attributes)
    root.attrib.update({f"data-{name}": visible(value) for name, value in data.items()})
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - serialised from a tree, all text escaped


def _referenced(root: ET.Element) -> set[str]:
    found = set()
    for element in root.iter():
        target = element.get(_XLINK)
        if target:
            found.add(target[1:])
        clip = element.get("clip-path")
        if clip:
            found.add(clip[5:-1])
    return found


def _clean(element: ET.Element, prefix: str, wanted: set[str]) -> None:
    for child in list(element):
        tag = child.tag.removeprefix(_SVG) if isinstance(child.tag, str) else ""
        if tag in {"metadata", "style", ""} or (tag == "defs" and not any(c.get("id") in wanted for c in child)):
            element.remove(child)
        else:
            _clean(child, prefix, wanted)
    element.tag = element.tag.removeprefix(_SVG)
    element.text = visible(element.text) if element.text and element.text.strip() else None
    element.tail = None
    _restyle(element)
    identifier = element.attrib.pop("id", None)
    kept = _KEPT.match(identifier or "")
    if kept:
        element.set(f"data-{kept[1]}", kept[2] or "")
    if identifier in wanted:
        element.set("id", f"{prefix}-{identifier}")
    target = element.attrib.pop(_XLINK, None)
    if target:
        element.set("href", f"#{prefix}-{target[1:]}")
    if "clip-path" in element.attrib:
        element.set("clip-path", f"url(#{prefix}-{element.attrib['clip-path'][5:-1]})")
    for name in ("d", "x", "y", "transform", "width", "height"):
        value = element.get(name)
        if value is not None:
            element.set(name, _SPACE.sub(_command, _NUMBER.sub(_round, value)).strip())
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]


def _flatten(element: ET.Element) -> None:
    """Take groups without attributes out of the tree, their children in their place."""
    kept: list[ET.Element] = []
    for child in element:
        _flatten(child)
        if child.tag == "g" and not child.attrib:
            kept.extend(child)
        else:
            kept.append(child)
    element[:] = kept


def _restyle(element: ET.Element) -> None:
    style = element.attrib.pop("style", "")
    if not style:
        return
    pairs = {k.strip(): v.strip() for k, _, v in (part.partition(":") for part in style.split(";")) if v}
    classes = [f"s-{_CLASS_OF[c]}" for c in (pairs.get("stroke", ""),) if c in _CLASS_OF]
    classes += [f"f-{_CLASS_OF[c]}" for c in (pairs.get("fill", ""),) if c in _CLASS_OF]
    if classes:
        element.set("class", " ".join(classes))
    if pairs.get("fill") == "none":
        element.set("fill", "none")
    size = _FONT_SIZE.search(pairs.get("font", "") or pairs.get("font-size", ""))
    if size:
        element.set("font-size", _short(size.group(1)))
        if "bold" in pairs.get("font", "") or "700" in pairs.get("font", ""):
            element.set("font-weight", "600")
    for name, value in pairs.items():
        if name not in _DROPPED and name != "font-size" and not (name == "stroke-dashoffset" and float(value) == 0):
            element.set(name, value)


def _command(match: re.Match[str]) -> str:
    return match[1] or " "


def _round(match: re.Match[str]) -> str:
    return _short(match.group())


def _short(number: str) -> str:
    return f"{float(number):.1f}".removesuffix(".0").replace("-0", "0") if float(number) > -0.05 else f"{float(number):.1f}".removesuffix(".0")
