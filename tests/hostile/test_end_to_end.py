"""Every hostile run, analysed by the real command line under watch: nothing runs, nothing leaks, nothing is lost."""

import json
import re
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.attacks import ATTACKS, crowded_zip, hostile_tar, hostile_zip
from tests.hostile.checkpoints import CHECKPOINTS
from tests.hostile.harness import RESIDENT, WITHIN, Done, Zygote, good_log, state
from tests.hostile.logs import LOGS, SECRETS
from tests.hostile.places import PLACES, packed, tar

CASES = {**CHECKPOINTS, **LOGS, **PLACES, **ATTACKS}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]")


@pytest.fixture(scope="module")
def honest(run: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the good log alone gives."""
    folder = tmp_path_factory.mktemp("honest")
    good_log(folder / "run")
    _, document, _, _ = analysed(run, folder)
    assert document["verdict"]["mode"] == "exploding-gradients"
    return document


def analysed(run: Zygote, folder: Path, argument: str = "run", **more: object) -> tuple[Done, dict, str, str]:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    source = folder / argument
    before = state(folder / "run")
    names = {kind: out / f"report.{kind}" for kind in ("html", "json", "md")}
    done = run(
        ["analyze", str(source), "-o", str(names["html"]), "--json", str(names["json"]), "--markdown", str(names["md"])],
        folder=out,
        read=[source],
        write=[out],
        **more,
    )
    assert state(folder / "run") == before, "the run was changed"
    assert run.left() == [], "temporary files were left"
    assert not done.late, f"it took longer than {done.seconds} s"
    assert done.seen == []
    assert "Traceback" not in done.stderr
    assert done.status == 0, done.stderr
    texts = [path.read_text(encoding="utf-8") for path in names.values()]
    return done, json.loads(texts[1]), texts[0], texts[2]


class Markup(HTMLParser):
    """Tags and attributes as a browser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in KNOWN_TAGS:
            self.wrong.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "srcdoc":
                self.wrong.append(name)
            if name in ("src", "href", "xlink:href", "action", "formaction", "data", "background") and not (value or "").startswith(
                ("#", "data:,", "data:image/png")
            ):
                self.wrong.append(f"{name}={value}")


def without_code(markdown: str) -> str:
    """Markdown without escaped signs, fenced blocks and code spans, which are shown as they are (CommonMark 4.5 and 6.1)."""
    rest = re.sub(r"^(`{3,})[^`\n]*\n.*?^\1`*$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    out, at = [], 0
    while at < len(rest):
        if rest[at] == "\\":
            out.append("·")  # an escaped sign is no markup
            at += 2
        elif rest[at] == "`":
            ticks = re.match("`+", rest[at:]).group()  # type: ignore[union-attr]
            end = re.search(f"(?<!`){ticks}(?!`)", rest[at + len(ticks) :])
            at += len(ticks) + (end.end() if end else 0)
        else:
            out.append(rest[at])
            at += 1
    return "".join(out)


def harmless(html: str, markdown: str) -> None:
    """No tag, handler or link of an input got into a report, and no control character."""
    for text in (html, markdown):
        assert not CONTROL.search(text)
    parser = Markup()
    parser.feed(html)
    assert parser.wrong == []
    assert html.count("<script") == 1
    words = without_code(markdown)
    assert not re.search(r"<(?!/?(?:details|summary|sub)>)", words)
    assert "](http://evil.example" not in words
    assert "](javascript:" not in words


KNOWN_TAGS = set(  # noqa: C405
    [
        "html",
        "head",
        "meta",
        "title",
        "body",
        "main",
        "header",
        "footer",
        "nav",
        "section",
        "article",
        "div",
        "span",
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "a",
        "code",
        "pre",
        "details",
        "summary",
        "figure",
        "figcaption",
        "svg",
        "g",
        "path",
        "rect",
        "circle",
        "line",
        "polyline",
        "polygon",
        "text",
        "tspan",
        "defs",
        "use",
        "symbol",
        "clippath",
        "desc",
        "strong",
        "em",
        "b",
        "i",
        "small",
        "sub",
        "sup",
        "br",
        "hr",
        "del",
        "ins",
        "kbd",
        "mark",
        "abbr",
        "button",
        "label",
        "input",
        "time",
        "template",
        "noscript",
        "style",
        "script",
        "metadata",
        "rdf:rdf",
        "cc:work",
        "dc:type",
        "dc:date",
        "dc:format",
        "dc:creator",
        "dc:title",
        "cc:agent",
        "lineargradient",
        "stop",
        "image",
        "pattern",
        "marker",
        "colgroup",
        "col",
        "aside",
        "samp",
        "link",
        "tfoot",
        "wbr",
    ]
)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow(c.slow)) if c.slow else n for n, c in CASES.items()])
def test_a_hostile_run(name: str, run: Zygote, honest: dict, tmp_path: Path) -> None:
    case = CASES[name]
    good_log(tmp_path / "run")
    case.build(tmp_path / "run")
    around = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    done, document, html, markdown = analysed(run, tmp_path, smaller=case.smaller)
    assert done.seconds < WITHIN
    assert done.peak < RESIDENT
    assert len(html) < 4_000_000
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == around, "a file beside the run was changed"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    assert document["verdict"]["mode"] in {honest["verdict"]["mode"], *(["corrupt-checkpoint"] if case.damaged else [])}
    mine = {s["name"]: s for s in honest["run"]["series"]}
    now = {(s["name"], s["source"]): s for s in document["run"]["series"]}
    assert all(now[key, s["source"]] == s for key, s in mine.items()), "the good log was read otherwise"
    for wanted in case.names:
        assert wanted in html, f"the report does not name {wanted}"
    sources = document["run"]["sources"]
    if case.refused:
        assert any(s["refused"] for s in sources)
        assert html.index("Refused: hostile content.") < html.index('id="checklist"'), "it stands beside the verdict"
        assert "**Refused: hostile content.**" in markdown
        found = next(f for f in document["findings"] if f["mode"] == "corrupt-checkpoint")
        assert found["status"] == "present"
        told = next(c for c in found["causes"] if c["cause"] == "hostile-content")
        assert told["standing"] in ("confirmed", "likely", "possible")
        assert any(wanted in json.dumps(told, ensure_ascii=False) for wanted in case.names)
    assert sum(c["tensors"] for c in document["run"]["checkpoints"]) >= case.tensors
    harmless(html, markdown)


def texts(document: object) -> dict[tuple[str, ...], list[tuple[Any, Any]]]:
    """Where a document holds texts: keys down to each → (what holds it, its key there), of all that have the same keys."""
    places: dict[tuple[str, ...], list[tuple[Any, Any]]] = {}

    def walk(value: Any, path: tuple[str, ...]) -> None:
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            here = path if isinstance(value, list) else (*path, str(key))
            if isinstance(inside, str):
                places.setdefault(here, []).append((value, key))
            walk(inside, here)

    walk(document, ())
    return places


def test_a_document_from_a_stranger(tmp_path: Path) -> None:
    """Every text of a stored document, each replaced in turn: `render` refuses it or shows it harmlessly."""
    import postmortem
    from postmortem.errors import DocumentError
    from postmortem.model.codec import load

    good_log(tmp_path / "run")
    LOGS["text: injection through every field"].build(tmp_path / "run")
    document = json.loads(postmortem.analyze(tmp_path / "run").to_json())
    fields = set(texts(document))
    del document["exhibits"]["curves"][2:]  # each costs a picture and has no field that those have not
    places = texts(document)
    assert set(places) == fields
    foreign = '"]\n```\n<script>alert(1)</script>\x1b[2J\u202e](javascript:alert(1))'
    accepted = []
    for (holder, key), *_ in places.values():
        old, holder[key] = holder[key], foreign
        with suppress(DocumentError):
            load(json.dumps(document).encode())
            accepted.append((holder, key, old))
        holder[key] = old
    assert len(accepted) > 50
    for first in range(0, len(accepted), 10):  # ten at a time: rendering is what takes long
        for holder, key, _ in accepted[first : first + 10]:
            holder[key] = foreign
        diagnosis = load(json.dumps(document).encode())
        harmless(diagnosis.to_html(), diagnosis.to_markdown())
        for holder, key, old in accepted[first : first + 10]:
            holder[key] = old


def test_secrets_are_in_no_report(run: Zygote, tmp_path: Path) -> None:
    good_log(tmp_path / "run")
    LOGS["secrets in configurations and tracebacks"].build(tmp_path / "run")
    _, document, html, markdown = analysed(run, tmp_path)
    for name, secret in SECRETS.items():
        for text in (html, markdown, json.dumps(document)):
            assert secret not in text, name


@pytest.mark.parametrize("command", ["sources", "inspect"])
def test_what_is_printed_steers_no_terminal(command: str, run: Zygote, tmp_path: Path) -> None:
    """Everything at once, so that names, series, settings and tensors of all kinds are printed."""
    folder = tmp_path / "run"
    good_log(folder)
    for name in (
        "text: injection through every field",
        "tensor names with markup",
        "odd file names",
        "events: tags and settings with markup",
    ):
        CASES[name].build(folder)
    before = state(folder)
    for more in ([], ["--json"]):
        done = run([command, str(folder), *more], folder=tmp_path, read=[folder])
        assert (done.status, done.seen) == (0, []), done.stderr
        assert not CONTROL.search(done.stdout)
        assert not CONTROL.search(done.stderr)
        assert len(done.stdout) > 1000
    assert state(folder) == before
    shown = run(["analyze", str(folder)], folder=tmp_path, read=[folder], write=[tmp_path])
    assert (shown.status, shown.seen) == (0, []), shown.stderr
    assert not CONTROL.search(shown.stdout)


# those for time and memory, which `analyze` has met above; of the two crowds of tensors one is enough here, for they are printed alike
NOT_AGAIN = re.compile(r"10\^[69]|bomb|circles|60,000|torch: 6,000")


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if not NOT_AGAIN.search(name)])
def test_inspect_of_every_hostile_checkpoint(name: str, run: Zygote, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    CHECKPOINTS[name].build(folder)
    done = run(["inspect", str(folder)], folder=tmp_path, read=[folder], smaller=CHECKPOINTS[name].smaller)
    assert done.status in (0, 3), done.stderr
    assert done.seen == []
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


def test_a_run_of_nothing_but_damage_is_said_in_one_sentence(run: Zygote, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "train.log").write_bytes(bytes(range(256)) * 50)
    (folder / "model.pt").write_bytes(b"\x80\x02garbage")
    done = run(["analyze", str(folder)], folder=tmp_path, read=[folder], write=[tmp_path])
    assert done.status in (0, 3)
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("pack", [tar, packed, hostile_tar, hostile_zip])
def test_an_archive_of_a_run_that_tries_to_leave_it(pack: object, run: Zygote, honest: dict, tmp_path: Path) -> None:
    good_log(tmp_path / "log")
    log = (tmp_path / "log" / "train.log").read_bytes()
    folder = tmp_path / "run"
    folder.mkdir()
    pack(folder / "run.archive", log)  # type: ignore[operator]
    _, document, html, markdown = analysed(run, tmp_path, "run/run.archive")
    assert document["verdict"]["mode"] == honest["verdict"]["mode"]
    assert "escaped.log" in html
    assert any(s["refused"] for s in document["run"]["sources"])
    assert not Path("/tmp/postmortem-escaped.log").exists()
    assert not (tmp_path / "escaped.log").exists()
    harmless(html, markdown)


def test_an_archive_whose_directory_lists_a_million_members(run: Zygote, honest: dict, tmp_path: Path) -> None:
    good_log(tmp_path / "log")
    folder = tmp_path / "run"
    folder.mkdir()
    data = crowded_zip((tmp_path / "log" / "train.log").read_bytes())
    (folder / "run.zip").write_bytes(data)
    done, document, _, _ = analysed(run, tmp_path, "run/run.zip")
    assert done.seconds < WITHIN
    assert done.peak < RESIDENT // 2
    assert document["verdict"]["mode"] == honest["verdict"]["mode"]
    assert any(s["refused"] for s in document["run"]["sources"])


CANARIES = {
    "exec": "pass",
    "import": "import this_module_is_named_by_an_input",
    "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
    "socket.__new__": "import socket; socket.socket()",
    "open: writes": "open('../run/train.log', 'a').close()",
    "open: reads": "open('/etc/hostname').read()",
    "os.system": "import os; os.system('true')",
    "os.remove": "import os; os.remove('../run/nothing')",
}


@pytest.mark.parametrize("event", CANARIES)
def test_the_watch_sees_it(event: str, run: Zygote, tmp_path: Path) -> None:
    good_log(tmp_path / "run")
    (tmp_path / "out").mkdir()
    code = f"try:\n    {CANARIES[event]}\nexcept Exception:\n    pass\n"
    done = run(["sources", str(tmp_path / "run")], folder=tmp_path / "out", read=[tmp_path / "run"], canary=code)
    assert any(seen.startswith(event) for seen in done.seen), done.seen


def test_the_watch_sees_what_the_supervised_process_does(run: Zygote, tmp_path: Path) -> None:
    """Not only what its supervisor does, in which nothing is read."""
    good_log(tmp_path / "run")
    code = "import os, postmortem.sources as s\nold = s.discover\ndef planted(*a, **k):\n    os.system('true')\n    return old(*a, **k)\ns.discover = planted\n"
    done = run(["sources", str(tmp_path / "run")], folder=tmp_path, read=[tmp_path / "run"], canary=code)
    assert any(seen.startswith("os.system") for seen in done.seen), done.seen


def test_a_slow_child_is_told_from_a_quick_one(run: Zygote, tmp_path: Path) -> None:
    done = run(["--version"], folder=tmp_path, canary="import time; time.sleep(30)", seconds=0.5)
    assert done.late
    assert done.status == -1
