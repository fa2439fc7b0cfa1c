"""Contrasts are as the textbook says, keep quiet about chance, and find what was planted."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.batch.groups import group_id, signature, summarize
from postmortem.batch.separation import Attributes, fisher, holm
from postmortem.model.batch import Row, RowStatus
from postmortem.render.batch_words import contrast
from tests.benchmarks.bench_groups import adjusted_rand


def row(name: str, *, good: bool = False, **changes: object) -> Row:
    plain = Row(name, RowStatus.ANALYSED, "0", mode="healthy" if good else "exploding-gradients", title="Exploding", axis="step")
    return replace(plain, **changes)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_fisher_is_scipys(a: int, b: int, c: int, d: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.fisher_exact([[a, b], [c, d]])[1] if (a + b) and (c + d) and (a + c) and (b + d) else 1.0
    assert fisher(a, a + b, c, c + d) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_what_was_planted_is_found_with_its_counts() -> None:
    rng = random.Random(1)
    rows = []
    for i in range(40):
        bad = i < 20
        lr = rng.choice([0.1, 0.3, 1.0]) if bad else rng.choice([0.001, 0.003, 0.01])
        node = "node-7" if (bad and i < 17) or i == 25 else rng.choice(["node-1", "node-2", "node-3"])
        rows.append(row(f"r{i}", good=not bad, node=node, settings={"learning_rate": lr, "seed": i, "optimizer": "ab"[i % 2]}))
    found = {c.attribute: c for c in summarize(rows).contrasts}
    assert set(found) == {"learning_rate", "node"}
    assert (found["learning_rate"].value, found["learning_rate"].inside, found["learning_rate"].outside) == ("≥ 0.1", 20, 0)
    assert (found["node"].value, found["node"].inside, found["node"].of_inside, found["node"].outside) == ("= node-7", 17, 20, 1)


def test_where_no_run_is_healthy_a_group_is_held_against_the_other_runs() -> None:
    rows = [row(f"f{i}", mode="crash", cause="hardware-fault", node="node-7" if i < 17 else "node-2") for i in range(20)]
    rows += [row(f"o{i}", node=f"node-{i % 9}") for i in range(60)]
    groups = {g.mode: g for g in summarize(rows).groups}
    (one,) = groups["crash"].contrasts
    assert (one.attribute, one.value, one.against) == ("node", "= node-7", "other")
    assert (one.inside, one.of_inside, one.outside, one.of_outside) == (17, 20, 6, 60)
    assert str(contrast(one, "of them")).startswith("node = node-7: 17 of 20 of them, 6 of 60 other runs")
    healthy = [row(f"g{i}", good=True, node="node-7") for i in range(9)]
    assert all(c.against == "healthy" for g in summarize([*rows, *healthy]).groups for c in g.contrasts)


def test_the_smaller_side_is_said_the_right_way_round() -> None:
    rows = [row(f"r{i}", good=i >= 10, settings={"batch_size": [1, 2, 4][i % 3] if i < 10 else [256, 512, 1024][i % 3]}) for i in range(20)]
    (one,) = summarize(rows).contrasts
    assert (one.value, one.inside, one.of_inside, one.outside, one.of_outside) == ("< 256", 10, 10, 0, 10)


def test_chance_alone_is_rarely_reported() -> None:
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(100):
        rows = [
            row(f"r{i}", good=bool(rng.integers(2)), node=f"node-{rng.integers(6)}", settings={f"s{k}": float(rng.normal()) for k in range(8)})
            for i in range(40)
        ]
        false += bool(summarize(rows).contrasts)
    assert false <= 9  # 5 expected at most


def test_too_few_runs_are_said_to_be_too_few() -> None:
    rows = [row(f"r{i}", good=i >= 4, settings={"learning_rate": float(i < 4)}) for i in range(30)]
    summary = summarize(rows)
    assert summary.contrasts == ()
    assert summary.groups[0].too_few
    assert any("Too few" in note.template for note in summary.notes)


def test_unknown_values_are_not_counted() -> None:
    rows = [row(f"r{i}", good=i >= 20, settings={"dropout": float(i < 20)} if i % 4 == 0 else {}) for i in range(40)]
    assert summarize(rows).contrasts == ()  # known for a quarter only
    assert Attributes([]).contrasts(np.zeros(0, bool), np.zeros(0, bool)) == ()


def test_runs_that_failed_the_same_way_are_one_group() -> None:
    crash = {"mode": "crash", "title": "Crash"}
    rows = [
        row("a", **crash, cause="python-error", exception="KeyError", frame="train.py:step", gpu_hours_after_onset=1.0, layer="fc1"),
        row("b", **crash, cause="python-error", exception="KeyError", frame="train.py:step", gpu_hours_after_onset=5.0, layer="fc1"),
        row("c", **crash, cause="python-error", exception="KeyError", frame="data.py:load"),
        row("d", **crash, cause="out-of-memory", exception="OutOfMemoryError", frame="model.py:forward"),
        row("e", **crash, cause="out-of-memory", exception="OutOfMemoryError", frame="train.py:step"),
        row("f", cause="no-warmup", exception="KeyboardInterrupt"),
        row("g", cause="no-warmup"),
        row("ok", good=True),
        Row("t", RowStatus.TIMEOUT, "0", reason="it took longer"),
        Row("u", RowStatus.UNREADABLE, "0", reason="empty"),
        Row("v", RowStatus.UNREADABLE, "0", reason="a picture"),
    ]
    summary = summarize(rows)
    assert [set(g.runs) for g in summary.groups] == [{"a", "b"}, {"d", "e"}, {"f", "g"}, {"c"}, {"u", "v"}, {"t"}]
    first = summary.groups[0]
    assert first.runs == ("b", "a")
    assert (first.gpu_hours, first.frame, first.layers) == (6.0, "train.py:step", (("fc1", 2),))
    assert summary.failed == 7
    assert len({group_id(signature(r)) for r in rows}) == 7


def test_the_first_bad_layer_tells_mistakes_apart_where_a_mode_is_about_one() -> None:
    """A frozen embedding and a frozen encoder are two mistakes; a run that diverges shows it first in any layer."""
    frozen = {"mode": "frozen-parameters", "cause": "requires-grad-off"}
    rows = [
        row("a", **frozen, layer="embed.weight"),
        row("b", **frozen, layer="encoder.weight"),
        row("c", **frozen, layer="embed.weight"),
        row("d", mode="exploding-gradients", layer="fc1"),
        row("e", mode="exploding-gradients", layer="fc2"),
    ]
    assert sorted(g.runs for g in summarize(rows).groups) == [("a", "c"), ("b",), ("d", "e")]


def test_the_adjusted_rand_index() -> None:
    assert adjusted_rand([1, 1, 2, 2], ["x", "x", "y", "y"]) == 1
    assert adjusted_rand([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]) == pytest.approx(8 / 33)  # scikit-learn's documentation: 0.2424…
    assert adjusted_rand([1, 2, 3], [1, 1, 1]) == 0


def test_a_cut_point_is_written_as_people_write_numbers() -> None:
    rows = [
        row(f"r{i:02}", mode="overfitting" if i < 10 else "healthy", settings={"parameters": 26_123.0 + i if i < 10 else 900.0 + i})
        for i in range(20)
    ]
    failed = np.array([i < 10 for i in range(20)])
    (found,) = [c for c in Attributes(rows).contrasts(failed, ~failed) if c.attribute == "parameters"]
    assert found.value == "≥ 26,120"
