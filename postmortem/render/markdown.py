"""A diagnosis as GitHub-flavoured Markdown for the text of an issue: under 60,000 characters, nothing from a log is markup."""

import math
import re
from collections.abc import Iterable

from postmortem.model.diagnosis import CauseVerdict, Clue, Diagnosis, Finding, FindingStatus, Fix, Standing
from postmortem.model.sentence import Sentence
from postmortem.render import checklist, mermaid, story
from postmortem.render.figures import number, percent, size, step, weight
from postmortem.render.language import speaking, word
from postmortem.render.panels import mark_word, panels, telling
from postmortem.render.sparkline import sparkline
from postmortem.render.words import answer_word, listed, name_words, one_line, severity_word, speak, standing_word, status_word, sureness, t, visible

LIMIT = 60_000  # characters; GitHub takes 65,536
TEXT = 600  # characters of one sentence
CODE = 4_000  # characters of one snippet
EXCERPT = 1_500  # characters of a traceback, its end

_PUNCTUATION = re.compile(r"([\\`*_\[\]|~$])")
_LEADING = re.compile(r"^(?:\d{1,9}(?=[.)](?:\s|$))|(?=[-+=]))")
_BREAK = "&#8203;"  # keeps GitHub from making a mention, a reference or a link of what follows
_LINKED = re.compile(r"(@|#|://|GH-(?=\d)|www(?=\.)|:(?=[\w+-]{1,40}:))", re.IGNORECASE)
_TICKS = re.compile(r"`+")
_STATUS = {FindingStatus.PRESENT: "🔺", FindingStatus.ABSENT: "✅", FindingStatus.NOT_MEASURED: "⚪", FindingStatus.CRASHED: "❗"}
_BOX = {"box-ticked": "☑", "box-crossed": "☒", "box-open": "☐"}


def render_markdown(diagnosis: Diagnosis, lang: str = "en") -> str:
    """The text, in a language of `language.LANGUAGES`. What does not fit under the limit is left out at the end, and said so."""
    with speaking(lang):
        return _whole(diagnosis)


def _whole(diagnosis: Diagnosis) -> str:
    out: list[str] = []
    used = 0
    for part in _parts(diagnosis):
        if used + len(part) + 2 > LIMIT - 200:
            out.append(t("*The rest does not fit into an issue; see the HTML report.*"))
            break
        out.append(part)
        used += len(part) + 2
    return "\n\n".join(out) + "\n"


def escape(text: str) -> str:
    """`text` as plain words of Markdown, on one line: no markup, mention, reference, link, image or HTML comes of it."""
    flat = one_line(text, TEXT).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = _PUNCTUATION.sub(r"\\\1", _LINKED.sub(lambda m: f"{m.group()}{_BREAK}", flat))
    return _LEADING.sub(lambda m: f"{m.group()}\\", flat)


def code(text: str, *, table: bool = False) -> str:
    """`text` as a code span."""
    flat = one_line(text, TEXT) or " "
    ticks = "`" * (1 + max((len(m) for m in _TICKS.findall(flat)), default=0))
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    flat = flat.replace("|", "\\|") if table else flat
    return f"{ticks}{pad}{flat}{pad}{ticks}"


def block(text: str, language: str = "") -> str:
    """`text` as a fenced block."""
    shown = visible(text.rstrip("\n"))
    fence = "`" * max(3, 1 + max((len(m) for m in _TICKS.findall(shown)), default=0))
    return f"{fence}{language}\n{shown}\n{fence}"


def _parts(diagnosis: Diagnosis) -> Iterable[str]:
    v = diagnosis.verdict
    title = say_inline(v.title)
    if v.cause_title is not None:
        title = t("{mode}. {label} {cause}", mode=title, label=story.cause_label(v), cause=say_inline(v.cause_title))
    yield f"## {title}"
    yield say_inline(v.summary)
    others = story.rivals_words(diagnosis)
    if others:
        yield escape(others)
    refused = story.refused(diagnosis)
    if refused:
        words = [f"- {code(s.path)}" + (f": {say_inline(s.detail)}" if s.detail is not None else "") for s in refused]
        if more := story.more_refused(diagnosis):
            words.append(f"- {escape(more)}")
        yield "\n".join((f"**{t('Refused: hostile content.')}**", "", *words))
    yield _facts(diagnosis)
    if v.decided_by:
        yield "\n".join((f"**{t('What decides it')}**", "", *(_clue(c) for c in story.deciding(v))))
    if v.fixes:
        yield f"### {t('What to try') if v.mode in ('inconclusive', 'healthy') else t('What to change')}"
        for one in v.fixes[:2]:
            yield _fix(one)
    if v.restart is not None:
        yield f"### {t('Where to restart')}"
        yield f"{code(v.restart.path)}. {say_inline(v.restart.why)}"
        if v.restart.code:
            yield block(v.restart.code[:CODE], "python")
    also = checklist.others(diagnosis)
    if also:
        yield "\n".join((f"**{t('Also found')}**", "", *(_also(diagnosis, f) for f in also[:10])))
    if diagnosis.next_time and not v.fixes:
        yield f"**{t('What to log next time')}**\n\n{_next_time(diagnosis)}"
    curves = _curves(diagnosis)
    if curves:
        yield curves
    drawn = _chart(diagnosis)
    if drawn:
        yield drawn
    if diagnosis.comparison is not None:
        from postmortem.render.comparison import differences, section

        for held in differences(diagnosis.comparison):
            yield f"**{t('Against the baseline')}**: {say_inline(held.difference.summary)}"
            yield _folded(t("What differs"), "\n\n".join(section(held)))
    yield _checklist(diagnosis)
    for finding in diagnosis.findings:
        if finding.status is FindingStatus.PRESENT:
            yield _details(finding)
    if diagnosis.run.events:
        yield _events(diagnosis)
    if diagnosis.next_time and v.fixes:
        yield _folded(t("What to log next time"), _next_time(diagnosis))
    yield _sources(diagnosis)
    absent = [f for f in diagnosis.findings if checklist.cleared(f)]
    if absent:
        yield _folded(t("Why the others are absent"), "\n".join(_looked_at(f) for f in absent))
    yield f"<sub>{escape(diagnosis.tool.name)} {escape(diagnosis.tool.version)}</sub>"


def say_inline(sentence: Sentence) -> str:
    """A sentence, escaped."""
    return escape(speak(sentence))


def _facts(diagnosis: Diagnosis) -> str:
    rows = [(t("Run"), escape(diagnosis.run.name))]
    if diagnosis.verdict.severity is not None:
        rows.append((t("Severity"), severity_word(diagnosis.verdict.severity)))
    rows += [
        (term, t("**{main}**, {rest}", main=escape(main), rest=escape(rest)) if rest else f"**{escape(main)}**")
        for term, main, rest in story.facts(diagnosis)
    ]
    return "\n".join(("| | |", "| --- | --- |", *(f"| {term} | {text} |" for term, text in rows)))


def _clue(clue: Clue) -> str:
    source = f" ({code(clue.source)})" if clue.source else ""
    return f"- {_mark(clue.holds)} {_told(clue)}{source}"


def _told(clue: Clue) -> str:
    return f"{say_inline(clue.claim)}{t(': ')}{say_inline(clue.detail)}"


def _mark(holds: bool | None) -> str:  # noqa: FBT001
    return "?" if holds is None else "✓" if holds else "✗"


def _fix(fix: Fix) -> str:
    parts = [f"**{say_inline(fix.title)}**"]
    lines = []
    for file, changes in checklist.diff(fix.changes):
        lines.append(f"# {one_line(file, 200)}")
        lines += [f"{'-' if kind == 'del' else '+'} {one_line(line, 300)}" for kind, line in changes]
    if lines:
        parts.append(block("\n".join(lines), "diff"))
    if fix.code:
        parts.append(block(fix.code[:CODE], "python"))
    parts.append(say_inline(fix.why))
    return "\n\n".join(parts)


def _also(diagnosis: Diagnosis, finding: Finding) -> str:
    attempt = "" if finding.attempt == len(diagnosis.run.attempts) - 1 else t(" in attempt {n}", n=finding.attempt + 1)
    root = t("(a consequence of: {mode})", mode=checklist.mode_title(diagnosis, finding.consequence_of)) if finding.consequence_of else ""
    return (
        f"- **{say_inline(finding.title)}**, {severity_word(finding.severity)}{attempt}{t(': ')}{say_inline(finding.summary)} {escape(root)}".rstrip()
    )


def _next_time(diagnosis: Diagnosis) -> str:
    shown = ((n, t(": ") + code(n.code) if n.code else "") for n in diagnosis.next_time[:8])
    return "\n".join(f"- **{escape(word(n.log))}**{t(': ')}{say_inline(n.how)}{snippet}" for n, snippet in shown)


def _chart(diagnosis: Diagnosis) -> str:
    """The panel that shows the verdict, as a chart that GitHub draws; "" when there is none of our own vocabulary."""
    main, _ = panels(diagnosis.exhibits)
    chosen = [p for p in (telling(diagnosis, main), *main[:1]) if p is not None]
    drawn = next(filter(None, (mermaid.chart(p, p.title, story.unit(diagnosis.run.axis)) for p in chosen)), "")
    return block(drawn, "mermaid") if drawn else ""


def _curves(diagnosis: Diagnosis) -> str:
    main, rest = panels(diagnosis.exhibits)
    shown = [(p, line) for p in (*main, *rest)[:12] for line in reversed(p.lines) if len(line.curve.steps) > 1]
    if not shown:
        return ""
    first = min(line.curve.steps[0] for _, line in shown)
    last = max(line.curve.steps[-1] for _, line in shown)
    rows = [
        f"| {t('Curve')} | {t('First')} | {t('Lowest')} | {t('Last')} | {story.unit(diagnosis.run.axis)} {number(first, 7)} … {number(last, 7)} |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for panel, line in shown:
        finite = [v for v in line.curve.values if math.isfinite(v)]
        bars = code(sparkline(line.curve, first, last, log=panel.scale == "log"), table=True)
        figures = [number(line.curve.values[0], 3), number(min(finite), 3) if finite else "–", number(line.curve.values[-1], 3)]
        scale = t(", log scale") if panel.scale == "log" else ""
        rows.append(f"| {escape(line.curve.name)}{scale} | {' | '.join(figures)} | {bars} |")
    marks = listed(
        t("{what} at {unit} {n}", what=mark_word(m.kind), unit=story.unit(diagnosis.run.axis), n=step(m.step))
        for m in diagnosis.exhibits.marks
        if m.kind in ("visible", "onset", "crash", "resume", "best-validation")
    )
    return "\n".join((*rows, *(("", escape(marks)) if marks else ())))


def _folded(title: str, body: str) -> str:
    """`body`, Markdown, folded under `title`, plain text: a summary is read as HTML, where a backslash is a backslash."""
    shown = _LINKED.sub(lambda m: f"{m.group()}{_BREAK}", one_line(title, TEXT).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    shown = _PUNCTUATION.sub(lambda m: f"&#x{ord(m[1]):x};", shown)
    return f"<details><summary>{shown}</summary>\n\n{body}\n\n</details>"


def _checklist(diagnosis: Diagnosis) -> str:
    rows = [f"| | {t('Failure mode')} | {t('Probability')} | {t('What was seen')} |", "| --- | --- | ---: | --- |"]
    for _, findings in checklist.groups(diagnosis):
        for f in findings:
            sure = escape(percent(f.confidence)) if f.confidence is not None else "–"
            rows.append(f"| {_STATUS[f.status]} {status_word(f.status)} | {say_inline(f.title)} | {sure} | {say_inline(f.summary)} |")
    return _folded(t("Checklist: {tally}", tally=speak(checklist.tally(diagnosis))), "\n".join(rows))


def _details(finding: Finding) -> str:
    sure = t(" ({word}, {p})", word=sureness(finding.confidence), p=escape(percent(finding.confidence))) if finding.confidence is not None else ""
    body = [_sum(finding.prior, finding.clues)] if finding.clues else []
    body += [_cause(cause) for cause in finding.causes]
    title = t("Clues and causes: {title}", title=speak(finding.title))
    return _folded(f"{title}{sure}", "\n\n".join(body) or say_inline(finding.summary))


def _looked_at(finding: Finding) -> str:
    """What cleared a symptom, on one line: each figure beside the limit from which it would speak of it."""
    asked = (f"{_mark(c.holds)} {_told(c)}" for c in finding.clues if c.holds is not None)
    return f"- **{say_inline(finding.title)}**{t(': ')}{t('; ').join(asked)}"


def _cause(cause: CauseVerdict) -> str:
    sure = f", {escape(percent(cause.confidence))}" if cause.standing is not Standing.NOT_MEASURED else ""
    head = (
        f"{_BOX[checklist.box(cause.standing)]} **{say_inline(cause.title)}** – {standing_word(cause.standing)}{sure}. {say_inline(cause.mechanism)}"
    )
    return f"{head}\n\n{_sum(cause.prior, cause.clues)}" if cause.clues else head


def _sum(prior: float, clues: tuple[Clue, ...]) -> str:
    rows = [
        f"| {t('Answer')} | {t('Clue')} | {t('Source')} | {t('Log-odds')} |",
        "| --- | --- | --- | ---: |",
        f"| | {t('before any clue')} | | {weight(prior)} |",
    ]
    for c in clues:
        source = code(c.source, table=True) if c.source else ""
        rows.append(f"| {answer_word(c.holds)} | {_told(c)} | {source} | {weight(c.weight)} |")
    rows.append(f"| | {t('sum')} | | {weight(prior + sum(c.weight for c in clues))} |")
    return "\n".join(rows)


def _events(diagnosis: Diagnosis) -> str:
    parts = []
    for e in diagnosis.run.events[:10]:
        place = code(f"{e.source}:{e.line}" if e.line else e.source)
        parts.append(f"{escape(name_words(e.kind))} {place}\n\n{block(e.text[-EXCERPT:])}")
    return _folded(t("What the log says"), "\n\n".join(parts))


def _sources(diagnosis: Diagnosis) -> str:
    rows = [f"| {t('File')} | {t('Status')} | {t('Reader')} | {t('Size')} | {t('Remark')} |", "| --- | --- | --- | ---: | --- |"]
    for s in diagnosis.run.sources[:60]:
        remark = say_inline(s.detail) if s.detail is not None else ""
        rows.append(f"| {code(s.path, table=True)} | {escape(name_words(s.status))} | {escape(s.reader)} | {size(s.size)} | {remark} |")
    left = len(diagnosis.run.sources) - 60
    body = "\n".join(rows) + (t("\n\n{n} more files.", n=left) if left > 0 else "")
    return _folded(t("What was read"), body)
