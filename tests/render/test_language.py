"""The catalogues are whole and agree with the sources; a report in Chinese has no English sentence left."""

import gettext
import io
import re
import string
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from postmortem import Diagnosis
from postmortem.checklist import all_causes, checklist
from postmortem.cli.lang import asked_language
from postmortem.errors import UsageError
from postmortem.locale import words
from postmortem.locale.extract import PACKAGE, messages, python_messages, template_messages
from postmortem.model.codec import load
from postmortem.model.sentence import say
from postmortem.render.language import speaking, translated, word
from postmortem.render.terminal import render_terminal
from postmortem.render.words import breadth, listed, speak, t
from tests.analysed import FIXTURES, judged

babel = pytest.importorskip("babel")

CATALOGUES = sorted(PACKAGE.glob("locale/*/LC_MESSAGES/postmortem.po"))
RUNS = (
    "exploding-gradients", "vanishing-gradients", "overfitting", "healthy", "crash", "loss-not-decreasing", "frozen-parameters", "schedule-fault",
)  # fmt: skip


def read(po: Path) -> dict[tuple[str, str | None], str]:
    from babel.messages.pofile import read_po

    with po.open("rb") as file:
        return {(str(m.id), m.context): str(m.string) for m in read_po(file, po.parents[1].name) if m.id}


def fields(template: str) -> Counter[tuple[str, str, str]]:
    return Counter((name, spec or "", conversion or "") for _, name, spec, conversion in string.Formatter().parse(template) if name is not None)


@pytest.fixture(scope="module")
def extracted() -> tuple[tuple[str, str | None], ...]:
    return tuple(messages())


@pytest.fixture(params=CATALOGUES, ids=lambda po: po.parents[1].name)
def catalogue(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_is_a_catalogue(extracted: tuple[tuple[str, str | None], ...]) -> None:
    assert [po.parents[1].name for po in CATALOGUES] == ["zh"]
    assert len(extracted) > 1000


def test_no_message_of_the_sources_is_without_a_translation(catalogue: Path, extracted: tuple[tuple[str, str | None], ...]) -> None:
    known = read(catalogue)
    missing = [text for text, context in extracted if not known.get((text, context))]
    assert not missing, "translate them in the .po, then run: python -m postmortem.locale.extract"


def test_fields_agree(catalogue: Path) -> None:
    wrong = [text for (text, context), said in read(catalogue).items() if said and context is None and fields(text) != fields(said)]
    assert not wrong


def test_what_is_compiled_is_what_is_written(catalogue: Path) -> None:
    with catalogue.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for (text, context), said in read(catalogue).items():
        if said:
            assert (compiled.pgettext(context, text) if context else compiled.gettext(text)) == said


def test_code_within_backticks_is_kept(catalogue: Path) -> None:
    for (text, context), said in read(catalogue).items():
        if context is None and said:
            assert re.findall(r"`[^`]+`", text) == re.findall(r"`[^`]+`", said), text


def test_names_with_parentheses_are_kept(catalogue: Path) -> None:
    for (text, context), said in read(catalogue).items():
        if context is None and said:
            assert set(re.findall(r"[a-z_.]*_[a-z_]+\(\)|[a-z]+\(\)", text)) <= set(re.findall(r"[a-z_.]*_[a-z_]+\(\)|[a-z]+\(\)", said)), text


def test_ids_of_the_checklist_are_known_as_words() -> None:
    assert set(words.MODES) == {check.id for check in checklist()}
    assert set(words.CAUSES) == set(all_causes())


def test_what_is_a_message() -> None:
    source = 'say("a {x}", x=1) or t("b") or say("c" if x else "d") or say(e) or print("f") or other.say("g")'
    assert sorted(python_messages(source)) == ["a {x}", "b", "c", "d"]
    assert sorted(template_messages("{{ _('a {x}', x=1) }}{% if y %}{{ z(_(\"b\")) }}{% endif %}{{ _(c) }}{{ d('e') }}")) == ["a {x}", "b"]


def test_english_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monkeypatch.setenv("LANGUAGE", "zh")
    assert t("Learning rate") == "Learning rate"
    with speaking("zh"):
        assert t("Learning rate") == "学习率"
    assert t("Learning rate") == "Learning rate"
    assert asked_language("auto") == "zh"
    assert asked_language("en") == "en"
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert asked_language("auto") == "en"


@pytest.mark.parametrize("locale", ["zh", "zh_CN", "zh-Hans", "zh_CN.UTF-8", "ZH"])
def test_locales_of_a_language(locale: str) -> None:
    with speaking(locale):
        assert t("Loss") == "损失"


def test_a_language_without_a_catalogue_is_refused() -> None:
    with pytest.raises(UsageError, match="'xx'"), speaking("xx"):
        pass


def test_a_sentence_within_a_sentence_is_in_the_same_language() -> None:
    outer = say("the loss {what}", what=say("is flat"))
    assert str(outer) == speak(outer) == "the loss is flat"
    with speaking("zh"):
        assert speak(outer) == "损失平坦"


def test_chinese_is_set_as_chinese_where_texts_meet() -> None:
    with speaking("zh"):
        assert speak(say("Not measured: this needs {log}.", log="time stamps")) == "未测量：需要时间戳。"
        assert speak(say("Not measured: this needs {log}.", log="val/loss")) == "未测量：需要 val/loss。"
        assert speak(say("{quantity} is above {limit:.3g}", quantity=say("Kendall's tau of {name}", name="x"), limit=2.0)) == "x 的 Kendall τ 高于 2"
        assert speak(say("{text}", text="甲 乙")) == "甲 乙", "what a log says stays as it is"
        assert listed(["甲", "乙", "丙"]) == "甲、乙、丙"
    assert (listed(["a", "b"]), listed([])) == ("a, b", "")


def test_identifiers_are_words_and_texts_of_a_run_are_not() -> None:
    with speaking("zh"):
        assert word("language-model") == "语言模型"
        assert word("my-model") == "my-model"
        assert speak(say("{name}: {message}", name="loss", message="is flat")) == "loss: is flat"
        assert translated("") == ""


def test_chinese_characters_are_wide() -> None:
    assert breadth("abc") == 3
    assert breadth("损失") > 3


@pytest.fixture(scope="module", params=RUNS)
def diagnosis(request: pytest.FixtureRequest) -> Diagnosis:
    return judged(min((FIXTURES / request.param).glob("*/run")).parent)


@pytest.fixture(scope="module")
def chinese(diagnosis: Diagnosis) -> str:
    return diagnosis.to_html("zh")


class Visible(HTMLParser):
    """What a reader sees or hears of a page, without code, paths and what came from the run by its own name."""

    VOID = frozenset({"meta", "link", "br", "input", "use", "path", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.skipped: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        self.texts += [given[k] for k in ("aria-label", "data-label", "title", "alt", "data-copy", "data-copied", "data-filter") if k in given]
        if tag not in self.VOID:
            self.skipped.append(tag in {"style", "script", "pre", "code"} or "path" in given.get("class", "").split())

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            self.skipped.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and not any(self.skipped):
            self.texts.append(data)


ENGLISH = re.compile(r"(?:\b[A-Za-z][a-z']+\b[ ,;:]+){2,}\b[A-Za-z][a-z']+\b")  # three words in a row
OWN = re.compile(r"\[n for .*?\]|\{id\(p\).*?\}|using a target size that is different to the input size")  # code within sentences


def english(text: str) -> list[str]:
    return [m.group() for m in ENGLISH.finditer(OWN.sub("", text))]


def own_words(diagnosis: Diagnosis) -> str:
    """Texts of the run itself: log lines, settings, names."""
    run = diagnosis.run
    return "\n".join([*(e.text for e in run.events), *(f"{s.key} {s.value}" for s in run.settings), *(s.logged_as for s in run.series), run.name])


def test_the_detector_sees_english() -> None:
    assert english("损失 the loss is flat")
    assert not english("学习率 lr 为 0.1,AdamW")
    page = Visible()
    page.feed('<p aria-label="What decides it">x</p><pre>not this one</pre><br><p>Where to restart</p>')
    assert [text for text in page.texts if english(text)] == ["What decides it", "Where to restart"]


def test_no_english_sentence_is_left_on_the_page(diagnosis: Diagnosis, chinese: str) -> None:
    assert '<html lang="zh-Hans">' in chinese
    page = Visible()
    page.feed(chinese)
    own = own_words(diagnosis)
    assert len([text for text in page.texts if re.search("[一-鿿]", text)]) > 100
    assert [found for text in page.texts for found in english(text) if found not in own] == []


def test_no_english_sentence_is_left_in_markdown_and_terminal(diagnosis: Diagnosis) -> None:
    markdown = re.sub(r"```.*?```|`[^`\n]*`", "", diagnosis.to_markdown("zh"), flags=re.DOTALL)
    own = own_words(diagnosis)
    assert [found for found in english(markdown) if found not in own] == []
    console = Console(file=io.StringIO(), width=200, highlight=False)
    with speaking("zh"):
        render_terminal(diagnosis, console)
    assert isinstance(console.file, io.StringIO)
    snippets = "\n".join(one.code for one in diagnosis.verdict.fixes)  # code is English, with its comments
    assert [found for found in english(console.file.getvalue()) if found not in own and found not in snippets] == []
    assert re.search("[一-鿿]", console.file.getvalue())


def test_the_json_is_english_and_renders_in_either_language(diagnosis: Diagnosis, chinese: str) -> None:
    text = diagnosis.to_json()
    again = load(text)
    assert again.to_json() == text
    assert not re.search("[一-鿿]", text)
    assert again.to_html("zh") == chinese
    assert again.to_html() == diagnosis.to_html("en")


def test_the_pictures_have_their_words_in_chinese(chinese: str) -> None:
    assert re.search(r"<text[^>]*>[^<]*(损失|准确率)", chinese)


@pytest.mark.parametrize("item", [None, *words.MODES, *words.CAUSES])
def test_no_english_sentence_is_left_in_the_checklist(item: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    from postmortem.cli.checklist import show_checklist

    show_checklist(item, as_json=False, lang="zh")
    printed = re.sub(rf"\b(?:{'|'.join((*words.MODES, *words.CAUSES))})\b", "", re.sub(r"\n(?=\S)", " ", capsys.readouterr().out))
    assert re.search("[一-鿿]", printed)
    assert english(printed) == []
