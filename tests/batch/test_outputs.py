"""What is written: safe to open whatever the runs hold, small, and true to the rows."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import postmortem
from postmortem.batch.curves import WIDTH, tiny
from postmortem.batch.groups import group_id, signature, summarize
from postmortem.batch.outputs import cell, write_outputs
from postmortem.batch.run import Plan, run_batch
from postmortem.batch.task import Options
from postmortem.errors import NothingReadable, UsageError
from postmortem.model.batch import Row, RowStatus
from postmortem.render.batch_index import render_index
from tests.batch import places
from tests.warm import Warm

CHROMIUM = shutil.which("chromium")
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run".split()  # noqa: SIM905
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e|`@user [x](javascript:alert(3)) =cmd()"


def many(n: int) -> list[Row]:
    modes = [("crash", "Crash"), ("overfitting", "Overfitting"), ("exploding-gradients", "Exploding gradients"), ("healthy", "Healthy")]
    out = []
    for i in range(n):
        mode, title = modes[i % 4]
        out.append(
            Row(
                f"experiments/team/run-{i:05d}-with-a-name", RowStatus.ANALYSED, "0" * 32, mode=mode, title=title, cause="learning-rate-too-high",
                cause_title="The learning rate is too high", severity="serious" if i % 4 < 3 else None, worst="serious", confidence=0.9,
                onset=float(i), steps_after_onset=float(i * 7 % 1000), hours_after_onset=(i % 50) / 7, curve="".join("0123456789abcdefghijklmnopqrstuv"[(i * k) % 32] for k in range(40)),
                summary=f"The training loss fell to {i / 7:.4g} by step {i} and then rose to {i / 3:.4g}; it never recovered what it had gained.",
                report=f"reports/experiments--team--run-{i:05d}.html", node=f"node-{i % 90}", user=f"user-{i % 30}", week="2026-W31",
                settings={"learning_rate": 0.1 * (i % 9), "batch_size": 2 ** (i % 5)},
            )
        )  # fmt: skip
    return out


def evil(name: str) -> Row:
    return Row(
        f"{name}{EVIL}", RowStatus.ANALYSED, "0", reason=EVIL, mode="crash", title=EVIL, cause="python-error", cause_title=EVIL, severity="fatal", outcome=EVIL,
        exception=EVIL, frame=EVIL, layer=EVIL, node=EVIL, user=EVIL, image=EVIL, settings={EVIL: EVIL, "optimizer": "=1+1"}, curve='"><b>', summary=EVIL, report="javascript:alert(1)",
    )  # fmt: skip


def index(rows: list[Row]) -> str:
    return render_index(summarize(rows), rows, {r.name: group_id(signature(r)) for r in rows})


def test_a_batch_writes_everything_and_a_second_one_the_same_bytes(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    for kind in places.KINDS:
        places.run(jobs, kind, kind)
    done = postmortem.batch(str(jobs), tmp_path / "out", workers=1)
    assert {r.name: r.mode for r in done.rows} == {kind: postmortem.analyze(jobs / kind).verdict.mode for kind in places.KINDS}
    rows = places.rows(tmp_path / "out")
    for name, row in rows.items():
        report = tmp_path / "out" / row["report"]
        assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>") or "<!DOCTYPE html>" in report.read_text(encoding="utf-8")
        assert row["document"]["run"]["name"] == name
        assert row["document"]["exhibits"]["curves"] == []
        assert len(row["curve"]) in (0, WIDTH)
    assert rows["error"]["exception"]
    table = list(csv.DictReader((tmp_path / "out" / "runs.csv").read_text(encoding="utf-8").splitlines()))
    assert [r["name"] for r in table] == sorted(rows)
    before = {f: (tmp_path / "out" / f).read_bytes() for f in ("index.html", "summary.md", "runs.csv", "runs.jsonl")}
    assert postmortem.batch([jobs], tmp_path / "out", workers=1).reused == len(rows)
    assert {f: (tmp_path / "out" / f).read_bytes() for f in before} == before


def test_in_chinese_no_english_words_of_ours_are_left(tmp_path: Path, pool: Executor) -> None:
    jobs = tmp_path / "jobs"
    for kind in places.KINDS:
        places.run(jobs, kind, f"{kind}_")  # a name that is no word
    (jobs / "void").mkdir()
    postmortem.batch(str(jobs / "*"), tmp_path / "out", executor=pool, lang="zh")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    for text in data["labels"].values():
        assert not re.sub(r"\{\w+\}|GPU|epoch", "", text).strip().isascii(), text
    shown = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    ours = r"\b(the|of|runs?|failed|healthy|steps?|fatal|serious|analysed|nothing|learning rate)\b"
    reason = places.rows(tmp_path / "out")["void"]["reason"]  # errors are English
    for text in (shown, re.sub(r"`[^`\n]*`|<[^>]*>", " ", summary)):
        assert not re.search(ours, re.sub(r"RuntimeError\S.*|KeyboardInterrupt\S.*", "", text.replace(reason, "")))  # texts of the runs
    assert '<html lang="zh-Hans">' in (tmp_path / "out" / "reports" / "steep_.html").read_text(encoding="utf-8")
    assert postmortem.batch(str(jobs / "*"), tmp_path / "out", executor=pool, lang="zh").reused == 6
    assert postmortem.batch(str(jobs / "killed_"), tmp_path / "out", executor=pool).reused == 0


def test_only_failed_leaves_healthy_runs_out(tmp_path: Path, pool: Executor) -> None:
    jobs = tmp_path / "jobs"
    places.run(jobs, "killed", "bad")
    places.run(jobs, "healthy", "good")
    run_batch([str(jobs / "*")], Plan(tmp_path / "out", Options(only_failed=True)), executor=pool)
    assert [p.name for p in (tmp_path / "out" / "reports").iterdir()] == ["bad.html"]
    assert "good" not in (tmp_path / "out" / "runs.csv").read_text(encoding="utf-8").split("\n")[2:]
    assert '"good"' not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert set(places.rows(tmp_path / "out")) == {"bad", "good"}  # known, so not done again


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "＝1", "%0A", "|calc"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert str(cell(text)).startswith("'")


def test_cells_that_are_harmless_stay(tmp_path: Path) -> None:
    assert cell("a=1") == "a=1"
    assert cell(-1.5) == -1.5
    write_outputs(tmp_path, [evil(""), evil("="), *many(3)], only_failed=False)
    raw = (tmp_path / "runs.csv").read_text(encoding="utf-8")
    for line in csv.reader(raw.splitlines()):
        for value in line:
            assert not value.startswith(("=", "+", "@"))
            assert not value.startswith("-") or value[1:2].isdigit()
    assert "\u202e" not in raw


def test_evil_text_stays_text(tmp_path: Path) -> None:
    rows = [evil(""), evil("second"), replace(evil("third"), status=RowStatus.CRASHED, mode="")]
    page = index(rows)
    assert "<img" not in page
    assert "<script>alert" not in page
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert 'href="javascript' not in page
    assert "\u202e" not in page
    batch = write_outputs(tmp_path, rows, only_failed=False)
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert batch.runs == 3
    outside = re.sub(r"(`+)[^\n]*?[^`]\1(?!`)", "", text)
    assert "&lt;img" in outside
    assert "<img" not in outside
    assert "\u202e" not in text


def test_ten_thousand_runs_stay_under_ten_megabytes() -> None:
    page = index(many(10_000))
    assert len(page.encode()) < 10_000_000
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(data["rows"]) == 10_000


def test_a_curve_in_forty_characters() -> None:
    import numpy as np

    steps = np.arange(200.0)
    falling = tiny(steps, 2.0 - steps / 100)
    assert falling[0] == "v"
    assert falling[-1] == "0"
    assert len(falling) == WIDTH
    broken = np.where(steps > 150, np.nan, 1.0)
    assert tiny(steps, broken).endswith("!!!")
    assert tiny(steps, np.full(200, 3.0)) == "g" * WIDTH
    assert tiny(np.zeros(0), np.zeros(0)) == ""
    assert tiny(np.zeros(1), np.array([5.0])).startswith("g")
    for wild in ([1e308, -1e308, 5.0], [np.inf, 1.0, 2.0], [1e-320, 1e-310, 0.0], [np.nan, np.nan, np.nan]):
        for at in ([0.0, 1.0, 2.0], [0.0, 1e308, np.inf], [-1e308, 0.0, 1e308], [3.0, 3.0, 3.0]):
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                assert len(tiny(np.array(at), np.array(wild))) == WIDTH


def test_exit_statuses(tmp_path: Path, a_warm_process: Warm) -> None:
    jobs = places.jobs(tmp_path / "jobs", ["a"], "steep")
    (tmp_path / "void" / "b").mkdir(parents=True)

    def status(*arguments: str) -> int:
        return a_warm_process(["batch", "-o", str(tmp_path / "out"), "--no-reports", *arguments], tmp_path).returncode

    assert status(str(jobs)) == 0
    assert status(str(jobs), "--fail-on", "minor") == 1
    assert status("nowhere") == 2
    assert status(str(tmp_path / "void" / "*")) == 3
    assert status(str(jobs), "-o", "/proc/nowhere") == 5


def test_what_is_asked_is_checked_before_anything_is_done(tmp_path: Path, pool: Executor) -> None:
    jobs = places.jobs(tmp_path / "jobs", ["a"])
    for changes in ({"shard": "0/3"}, {"shard": "4/3"}, {"shard": "x"}, {"since": "yesterday"}):
        with pytest.raises(UsageError):
            run_batch([str(jobs)], Plan(tmp_path / "out", **changes))
    assert run_batch([str(jobs)], Plan(tmp_path / "out", Options(reports=False), since="2999-01-01")).rows == ()
    assert len(run_batch([str(jobs)], Plan(tmp_path / "out", Options(reports=False), since="5000w"), executor=pool).rows) == 1
    with pytest.raises(NothingReadable):
        postmortem.batch([], tmp_path / "out")


def test_names_are_pseudonyms_that_hold_all_over_the_batch(tmp_path: Path, pool: Executor) -> None:
    jobs = tmp_path / "jobs"
    for name, host in (("a", "gpu-one"), ("b", "gpu-two"), ("c", "gpu-one")):
        place = places.run(jobs, "killed", name)
        (place / "config.json").write_text(json.dumps({"hostname": host, "user": "jane.doe", "lr": 0.1}), encoding="utf-8")
    run_batch([str(jobs)], Plan(tmp_path / "out", Options(reports=False)), executor=pool)
    rows = places.rows(tmp_path / "out")
    assert rows["a"]["node"] == rows["c"]["node"] != rows["b"]["node"]
    assert rows["a"]["user"] == rows["b"]["user"] != ""
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            assert not any(name in file.read_bytes() for name in (b"gpu-one", b"gpu-two", b"jane.doe", bytes(tmp_path)))
    run_batch([str(jobs)], Plan(tmp_path / "open", Options(reports=False, redact=False)), executor=pool)
    assert places.rows(tmp_path / "open")["a"]["node"] == "gpu-one"


@pytest.fixture
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_index_in_a_browser(browser: Any, tmp_path: Path) -> None:
    from playwright import sync_api

    rows = [*many(10_000), evil("evil")]
    file = tmp_path / "index.html"
    file.write_text(index(rows), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert page.locator("#table tbody tr").count() == 100
    assert "10001 of 10001" in page.inner_text("#pager")
    page.fill("#controls input", "run-00042")
    sync_api.expect(page.locator("#table tbody tr")).to_have_count(1)
    link = page.locator("#table tbody a")
    assert link.get_attribute("href") == "reports/experiments--team--run-00042.html"
    page.fill("#controls input", "")
    sync_api.expect(page.locator("#table tbody tr")).to_have_count(100)
    page.select_option("#controls select >> nth=0", label="Overfitting (2500)")
    assert "2500 of 10001" in page.inner_text("#pager")
    page.click(".group a.in-table >> nth=0")
    assert "2500 of 10001" in page.inner_text("#pager")
    assert page.input_value("#controls select >> nth=0") == ""
    page.select_option("#controls select >> nth=1", value="")
    page.select_option("#controls select >> nth=0", label="Overfitting (2500)")
    page.click("#table thead button >> nth=3")
    assert page.locator("#table tbody tr").first.locator("td").nth(2).inner_text() == "1"
    page.click("#table thead button >> nth=3")
    assert page.locator("#table tbody tr").first.locator("td").nth(2).inner_text() == "9997"
    page.click("#pager button >> nth=1")
    assert "page 2 of 25" in page.inner_text("#pager")
    assert page.locator("#table tbody svg path").count() >= 100
    took = page.evaluate(
        "(() => { const t = performance.now(); document.querySelectorAll('#table thead button')[0].click(); return performance.now() - t })()"
    )
    assert took < 1500  # milliseconds, on a machine that does other things
    for width in (360, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert asked == [file.as_uri()]
    quiet = browser.new_context(java_script_enabled=False).new_page()
    quiet.goto(file.as_uri())
    assert quiet.locator("#table tbody tr").count() == 100
    assert quiet.locator("#cut").is_visible()
    assert quiet.locator(".group").count() == 4
