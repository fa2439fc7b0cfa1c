"""Pairs of runs that differ in one thing: where they part, what differs, and the sentence about it."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from postmortem import Diagnosis
from postmortem.cli.compare import Asked, compare_runs
from postmortem.compare.axis import Placed, on_grid
from postmortem.compare.curves import noise_of, part
from postmortem.compare.settings import differing, same
from postmortem.errors import UsageError
from postmortem.measure import measure
from postmortem.model.codec import dump_comparison, load, load_comparison
from postmortem.model.comparison import Comparison, Parting
from postmortem.model.exhibits import CurveExhibit
from postmortem.model.run import Setting
from postmortem.pipeline import analyze, compare
from postmortem.render.comparison import render_html, render_markdown
from postmortem.sources import read_run
from tests.render.samples import plant

DATA = Path(__file__).parent / "data"
GOOD = DATA / "good"


def against_good(name: str, **given: str) -> Comparison:
    return compare([GOOD, DATA / name], **given)  # type: ignore[arg-type]


def parting(comparison: Comparison, curve: str) -> Parting:
    return next(p for p in comparison.differences[0].partings if p.curve == curve)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("again", "The curves are equal to the end; no setting that was logged differs."),
        ("rate-jumps", r"Same until step 3\d0, where (train|val)/loss parts; the logged learning rate differs from step 300 on \(0.1 against 3\)\."),
        ("lower-rate", r"Together, within their noise, until step \d+, where val/loss parts; only learning_rate differs \(0.1 → 0.001\)\."),
        ("weight-decay", r"Together, within their noise, until step \d+, where val/loss parts; only weight_decay differs \(0 → 0.05\)\."),
        ("bad-batch", r"Same until step 410, where (train|val)/loss parts; no setting that was logged differs\."),
        ("two-things", r"Together, .* parts; learning_rate \(0.1 → 0.02\), weight_decay \(0 → 0.05\) differ\."),
        ("other-validation", r"train/loss is equal to the end, and val/loss parts at step \d+; no setting that was logged differs\."),
        ("other-log", "The curves are equal to the end; no setting that was logged differs."),
    ],
)
def test_what_a_colleague_would_say(name: str, sentence: str) -> None:
    assert re.fullmatch(sentence, str(against_good(name).differences[0].summary))


def test_names_and_places_of_a_run_are_no_difference() -> None:
    assert not against_good("again").differences[0].settings


def test_a_seed_is_no_hyper_parameter() -> None:
    (found,) = against_good("other-seed").differences[0].settings
    assert (found.name, found.kind) == ("seed", "other")


def test_a_jump_of_the_rate_is_where_the_curves_part() -> None:
    found = against_good("rate-jumps")
    assert parting(found, "lr").at == 300
    assert parting(found, "lr").same_until == 290
    loss = parting(found, "train/loss")
    assert loss.same_until == 300
    assert loss.at == 310
    assert loss.worse is True
    assert found.runs[1].mode != "healthy" == found.runs[0].mode


def test_tensors_differ_from_the_first_checkpoint_after_it() -> None:
    layers = against_good("rate-jumps").differences[0].layers
    assert {d.name for d in layers} >= {"0.weight", "2.weight", "4.weight"}
    assert all(d.from_ == 400 for d in layers)
    assert not against_good("again").differences[0].layers
    decayed = against_good("weight-decay").differences[0].layers
    assert all(d.bad < d.good for d in decayed if d.name.endswith("weight"))
    assert min(d.from_ or 0 for d in decayed) == 200


def test_a_nan_parts_whatever_the_noise() -> None:
    loss = parting(against_good("bad-batch"), "train/loss")
    assert loss.at == 410
    assert loss.worse is True
    assert np.isnan(loss.bad)


def test_another_format_with_another_interval_is_the_same_run() -> None:
    found = against_good("other-log")
    assert parting(found, "train/loss").equal
    assert parting(found, "val/loss").at is None


def test_three_runs_have_two_differences_in_order() -> None:
    found = compare([GOOD, DATA / "again", DATA / "bad-batch"])
    assert [d.run for d in found.differences] == [1, 2]
    assert found.differences[0].partings[0].at is None
    assert found.differences[1].partings[0].at == 410
    assert all(len(c.curves) == 3 for c in found.curves)


def test_ten_runs_make_a_page() -> None:
    found = compare([GOOD] + [DATA / "again"] * 9)
    assert len(found.differences) == 9
    assert render_html(found).count("again") >= 9


def test_one_run_is_not_enough() -> None:
    with pytest.raises(UsageError, match="two runs"):
        compare([GOOD])


def test_an_axis_that_a_run_does_not_have_is_said() -> None:
    found = against_good("again", by="tokens")
    assert found.axis == "step"
    assert "tokens" in str(found.remarks[0])


def test_the_json_comes_back_as_it_was() -> None:
    for name in ("bad-batch", "rate-jumps"):
        text = dump_comparison(against_good(name))
        assert json.loads(text)["schema"] == "postmortem-comparison/1"
        assert dump_comparison(load_comparison(text)) == text
        assert render_html(load_comparison(text)) == render_html(against_good(name))


def test_the_page_is_safe_whatever_the_names() -> None:
    evil = "<img src=x onerror=alert(1)>"
    planted = plant(against_good("bad-batch"), evil)
    markdown = re.sub(r"`[^`]*`", "", render_markdown(planted))  # code spans hold text as it is
    for text in (render_html(planted), render_html(planted, "zh"), markdown):
        assert "<img" not in text
    assert "default-src &#39;none&#39;" in render_html(planted)


def test_in_chinese() -> None:
    html = render_html(against_good("rate-jumps"), "zh")
    assert '<html lang="zh-Hans">' in html
    words = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", "\n", html, flags=re.DOTALL)
    assert not re.findall(r"(?:\b[A-Za-z][a-z']+\b ){2,}", words)


def test_a_baseline_becomes_a_section() -> None:
    alone, held = analyze(DATA / "bad-batch"), analyze(DATA / "bad-batch", baseline=GOOD)
    assert alone.comparison is None
    assert held.comparison is not None
    assert (held.verdict.mode, held.verdict.cause) == (alone.verdict.mode, alone.verdict.cause)
    summary = str(held.comparison.differences[0].summary)
    assert summary in held.to_markdown().replace("\\", "")
    again: Diagnosis = load(held.to_json())
    assert again.to_html() == held.to_html()
    assert summary in again.to_html()
    assert 'id="baseline"' not in alone.to_html()
    short = load(held.to_json(exhibits=False))
    assert short.comparison is not None
    assert not short.comparison.curves


def test_a_baseline_tells_validation_data_from_the_labels() -> None:
    alone, held = analyze(DATA / "other-validation"), analyze(DATA / "other-validation", baseline=GOOD)
    assert alone.verdict.cause == "wrong-labels"
    assert (held.verdict.mode, held.verdict.cause) == ("validation-fault", "train-validation-shift")
    assert (held.verdict.confidence or 0) > (alone.verdict.confidence or 1)
    claims = [str(c.claim) for f in alone.findings for c in (*f.clues, *(k for cause in f.causes for k in cause.clues))]
    assert not [c for c in claims if "good run" in c]
    assert not [n for n in alone.next_time if "good run" in n.log]


@pytest.mark.parametrize("name", ["again", "other-seed", "weight-decay", "bad-batch", "rate-jumps"])
def test_a_baseline_accuses_no_validation_that_follows_training(name: str) -> None:
    alone, held = analyze(DATA / name), analyze(DATA / name, baseline=[GOOD, DATA / "other-seed"])
    assert (held.verdict.mode, held.verdict.cause) == (alone.verdict.mode, alone.verdict.cause)


def test_a_bad_baseline_tells_nothing() -> None:
    held = analyze(DATA / "other-validation", baseline=DATA / "bad-batch")
    assert held.verdict.cause == analyze(DATA / "other-validation").verdict.cause


def test_the_spread_of_good_runs_is_the_tolerance() -> None:
    rng = np.random.default_rng(3)
    course = 0.5 + 2 * np.exp(-np.arange(200) / 40)
    wander = [course * np.exp(0.1 * np.sin(np.arange(200) / 30 + phase)) * np.exp(rng.normal(0, 0.005, 200)) for phase in (0.0, 2.0, 4.0, 5.5)]
    good, *others = [curve(w) for w in wander]
    alone, held = part(good, others[-1]), part(good, others[-1], others[:-1])
    assert alone is not None
    assert held is not None
    assert alone.at is not None
    assert held.at is None
    worse = part(good, curve(wander[-1] * np.where(np.arange(200) < 120, 1.0, 3.0)), others[:-1])
    assert worse is not None
    assert worse.at == pytest.approx(120, abs=1)
    assert worse.worse is True


def test_the_mean_of_the_first_window_reaches_back_to_the_start() -> None:
    fine = curve(np.arange(1.0, 101.0))
    fine = dataclasses.replace(fine, x=fine.x + 1)
    coarse = Placed("train/loss", np.array([50.0, 100.0]), np.zeros(2), means=True)
    assert on_grid(fine, coarse)[1].tolist() == [np.arange(1, 51).mean(), np.arange(51, 101).mean()]


def test_a_setting_that_one_run_does_not_state_is_named(tmp_path: Path) -> None:
    runs = [written(tmp_path / "a", 512, 2.0), written(tmp_path / "b", 512, 2.0)]
    config = json.loads((runs[1] / "config.json").read_text())
    (runs[1] / "config.json").write_text(json.dumps({**config, "weight_decay": 0.3, "lr": 0.2}))
    summary = str(compare(runs).differences[0].summary)
    assert summary.endswith("of what both state, only lr differs (0.1 → 0.2); only one of them states weight_decay (0.3).")


def test_the_command_takes_further_good_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = Asked(tmp_path / "page.html", "-", None, "auto", "en", redact=True, good=(str(DATA / "other-seed"),))
    compare_runs([str(GOOD), str(DATA / "bad-batch")], asked)
    found = json.loads(capsys.readouterr().out)
    assert found["good"] == 2
    assert [d["run"] for d in found["differences"]] == [2]
    assert "other-seed (good)" in (tmp_path / "page.html").read_text()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    compare_runs([str(GOOD), str(DATA / "bad-batch")], Asked(None, None, None, "auto", "en", redact=True))
    assert "Same until step 410" in " ".join(capsys.readouterr().out.split())
    assert [p.name for p in tmp_path.iterdir()] == ["postmortem-compare-good-bad-batch.html"]
    compare_runs([str(GOOD), str(DATA / "bad-batch")], Asked(None, "-", None, "step", "en", redact=True))
    assert json.loads(capsys.readouterr().out)["axis"] == "step"
    with pytest.raises(UsageError, match="--by"):
        compare_runs([str(GOOD), str(GOOD)], Asked(None, "-", None, "moons", "en", redact=True))


def curve(values: list[float] | np.ndarray, every: float = 1.0, name: str = "train/loss") -> Placed:
    return Placed(name, np.arange(len(values)) * every, np.asarray(values, dtype=float))


def test_noise_is_that_of_white_noise_whatever_the_trend() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(0, 0.3, 4000)
    assert noise_of(y) == pytest.approx(0.3, rel=0.06)
    assert noise_of(y + np.linspace(0, 50, 4000)) == pytest.approx(noise_of(y), rel=0.02)
    assert noise_of(np.linspace(5, 1, 50)) == pytest.approx(0.0, abs=1e-12)
    assert noise_of(np.array([1.0, 2.0])) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_two_noisy_samples_of_one_course_do_not_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    course = 0.5 + 2 * np.exp(-np.arange(300) / 60)
    found = part(curve(course * np.exp(rng.normal(0, 0.05, 300))), curve(course * np.exp(rng.normal(0, 0.05, 300))))
    assert found is not None
    assert found.at is None


@pytest.mark.parametrize("seed", range(10))
def test_the_place_of_parting_is_found_within_the_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    course = 0.5 + 2 * np.exp(-np.arange(300) / 60)
    other = course * np.where(np.arange(300) < 180, 1.0, 2.0)
    found = part(curve(course * np.exp(rng.normal(0, 0.03, 300))), curve(other * np.exp(rng.normal(0, 0.03, 300))))
    assert found is not None
    assert found.at == pytest.approx(180, abs=2)
    assert found.worse is True


def test_a_short_spike_is_no_parting() -> None:
    values = np.full(100, 1.0)
    spiked = values.copy()
    spiked[50:52] = 5.0
    found = part(curve(values), curve(spiked))
    assert found is not None
    assert found.at is None


def test_accuracy_is_better_when_it_is_higher() -> None:
    found = part(curve(np.full(50, 0.5), name="val/accuracy"), curve(np.r_[np.full(20, 0.5), np.full(30, 0.9)], name="val/accuracy"))
    assert found is not None
    assert (found.at, found.worse) == (20, False)


def test_too_few_common_points_say_nothing() -> None:
    assert part(curve([1.0, 2.0]), curve([1.0, 2.0])) is None
    apart = Placed("train/loss", np.array([100.0, 101.0, 102.0]), np.ones(3))
    assert part(curve([1.0, 1.0, 1.0]), apart) is None


def test_the_coarser_grid_takes_means_of_the_finer() -> None:
    fine = curve(np.arange(100.0))
    coarse = Placed("train/loss", np.array([9.5, 19.5, 29.5]), np.zeros(3), means=True)
    x, a, b = on_grid(fine, coarse)
    assert x.tolist() == [9.5, 19.5, 29.5]
    assert a.tolist()[1:] == [np.arange(10, 20).mean(), np.arange(20, 30).mean()]
    assert b.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [(0.001, "1e-3", True), (5, 5.0, True), (None, False, True), ("none", None, True), ("AdamW", "adamw", True), (0.1, 0.2, False),
     ("adam", "sgd", False), (True, False, False), (float("nan"), float("nan"), True), ("", None, True)],
)  # fmt: skip
def test_values_that_say_the_same(a: object, b: object, equal: bool) -> None:
    assert same(a, b) is equal  # type: ignore[arg-type]


def test_empty_curves_are_no_lines() -> None:
    found = against_good("again")
    hollow = tuple(dataclasses.replace(c, curves=(c.curves[0], CurveExhibit(c.name, (), (), 0))) for c in found.curves)
    assert render_html(dataclasses.replace(found, curves=hollow))
    assert render_html(dataclasses.replace(found, curves=()))


def written(place: Path, per_step: int, seconds: float) -> Path:
    """A run whose loss depends on the tokens seen: `per_step` of them each step."""
    place.mkdir()
    rng = np.random.default_rng(per_step)
    rows = [
        {"step": s, "loss": 2 + 6 * float(np.exp(-s * per_step / 60000)) + float(rng.normal(0, 0.02)), "num_tokens": s * per_step,
         "timestamp": 1.7e9 + s * seconds}
        for s in range(0, 400, 5)
    ]  # fmt: skip
    (place / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    (place / "config.json").write_text(json.dumps({"batch_size": per_step // 64, "lr": 0.1}))
    return place


def test_another_batch_size_is_compared_by_tokens(tmp_path: Path) -> None:
    runs = [written(tmp_path / "a", 512, 2.0), written(tmp_path / "b", 1024, 4.0)]
    found = compare(runs)
    assert found.axis == "tokens"
    assert str(found.differences[0].summary) == "The curves stay together, within their noise, to the end; only batch_size differs (8 → 16)."
    by_step = compare(runs, by="step")
    assert by_step.axis == "step"
    assert parting(by_step, "train/loss").at is not None
    assert parting(by_step, "train/loss").worse is False
    by_time = compare(runs, by="time")
    assert by_time.axis == "time"
    assert parting(by_time, "train/loss").at is None
    assert by_time.runs[0].last == pytest.approx(395 * 2.0 / 3600)


def test_runs_of_two_frameworks_are_compared_by_epochs() -> None:
    fixtures = Path(__file__).parents[2] / "fixtures" / "healthy"
    found = compare([fixtures / "pytorch" / "run", fixtures / "keras" / "run"])
    assert found.axis == "epoch"
    assert {p.curve for p in found.differences[0].partings} >= {"train/loss", "val/loss"}
    assert found.differences[0].settings


def stated(*pairs: tuple[str, str, float], file: str = "config.yaml") -> tuple[Setting, ...]:
    return tuple(Setting(name, key, value, file) for name, key, value in pairs)


SHARED = (("learning_rate", "lr", 0.1), ("batch_size", "batch_size", 32.0), ("", "width", 8.0))


def test_a_key_that_one_program_left_out_differs_although_nobody_knows_it() -> None:
    read, _ = measure(read_run([GOOD]))
    one, other = (dataclasses.replace(read, framework="", settings=stated(*SHARED, *more)) for more in ((), (("", "bn_momentum", 0.0003),)))
    assert [(d.key, d.missing, d.bad) for d in differing(one, other)] == [("bn_momentum", "good", 0.0003)]
    elsewhere = dataclasses.replace(other, settings=stated(*SHARED, ("", "bn_momentum", 0.0003), file="hparams.json"))
    assert differing(one, elsewhere) == (), "another writer states other things"
    unlike = dataclasses.replace(other, settings=(*other.settings, *stated(*(("", f"k{i}", 1.0) for i in range(9)))))
    assert differing(one, unlike) == ()
