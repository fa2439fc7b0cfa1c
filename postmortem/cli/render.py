"""`postmortem render`: a report from a stored document."""

import sys
from pathlib import Path

from postmortem.cli.files import write_result
from postmortem.cli.lang import asked_language
from postmortem.errors import UsageError
from postmortem.model.codec import load


def render_file(file: str, output: Path | None, markdown: str | None, json: str | None, lang: str) -> None:
    """Read FILE.json and write HTML (the default: FILE.html), Markdown or JSON. Raises `UsageError`, `DocumentError`, `OutputError`."""
    lang = asked_language(lang)
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from error
    diagnosis = load(data)
    if json is not None:
        write_result(json, diagnosis.to_json())
    if markdown is not None:
        write_result(markdown, diagnosis.to_markdown(lang))
    if output is not None or (json is None and markdown is None):
        target = output or ("-" if file == "-" else Path(file).with_suffix(".html"))
        write_result(target, diagnosis.to_html(lang))
