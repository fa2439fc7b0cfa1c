"""Labels that belong to their inputs are told from labels that do not; the training's random numbers stay where they were."""

import numpy as np
import pytest

from postmortem.capture.batches import first_rows, sample_hashes
from postmortem.capture.relation import SIZES, Relation, relation

Z_RELATED, Z_UNRELATED = 4.0, 2.5


def fed(x: np.ndarray, y: np.ndarray, *, indices: bool = False, batch: int = 32) -> dict[str, float]:
    related, found = Relation(), {}
    for at in range(0, len(x), batch):
        rows = first_rows(x[at : at + batch])
        assert rows is not None
        if related.add(rows, sample_hashes(rows), y[at : at + batch], indices=indices):
            found = related.figures()
    return found


def blobs(seed: int, n: int = 512, d: int = 20, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return (rng.normal(size=(classes, d))[y] + 2.0 * rng.normal(size=(n, d))).astype(np.float32), y


@pytest.mark.parametrize("seed", range(6))
def test_labels_of_blobs_are_related_and_shuffled_ones_are_not(seed: int) -> None:
    x, y = blobs(seed)
    assert fed(x, y)["label_relation_z"] > Z_RELATED
    shuffled = fed(x, np.random.default_rng(seed + 100).permutation(y))
    assert shuffled["label_relation_z"] < Z_UNRELATED
    assert shuffled["label_relation_samples"] == SIZES[-1]


def test_rings_have_no_linear_relation_and_are_found_all_the_same() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 2)).astype(np.float32)
    y = (np.linalg.norm(x, axis=1) > 1.18).astype(np.int64)
    assert fed(x, y)["label_relation_z"] > Z_RELATED


def test_images_tokens_and_numbers() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 512)
    images = rng.normal(size=(512, 3, 32, 32)).astype(np.float32)
    images[np.arange(512), 0, y * 5] += 3.0
    assert fed(images, y)["label_relation_z"] > Z_RELATED
    tokens = rng.integers(0, 30_000, (512, 24))
    tokens[:, 5] = 100 + y
    assert fed(tokens, y, indices=True)["label_relation_z"] > Z_RELATED
    assert fed(tokens, rng.permutation(y), indices=True)["label_relation_z"] < Z_UNRELATED
    x = rng.normal(size=(512, 8)).astype(np.float32)
    target = (x @ rng.normal(size=8) + rng.normal(size=512)).astype(np.float32)
    assert fed(x, target)["label_relation"] > 0.5
    assert fed(x, rng.permutation(target))["label_relation_z"] < Z_UNRELATED


def test_samples_that_come_again_do_not_predict_themselves() -> None:
    x, y = blobs(0, n=160)
    y = np.random.default_rng(5).permutation(y)
    found = fed(np.concatenate([x] * 4), np.concatenate([y] * 4))
    assert found["label_relation_samples"] == 160 // 32 * 32 - 32  # asked at 128 and never again: there are no more samples
    assert found["label_relation_z"] < Z_UNRELATED


@pytest.mark.parametrize(
    "labels",
    [np.zeros(512, np.int64), np.arange(512), np.r_[np.zeros(400, np.int64), np.ones(112, np.int64)], np.zeros(512, np.float32)],
)
def test_nothing_is_said_where_nothing_can_be(labels: np.ndarray) -> None:
    x, _ = blobs(0)
    assert fed(x, labels) == {}


def test_bad_values_and_shapes_are_left_out() -> None:
    x, y = blobs(0)
    x[::3, 0] = np.nan
    assert fed(x, y)["label_relation_z"] > Z_RELATED
    assert fed(x, np.stack([y, y], 1)) == {}
    assert fed(np.zeros((512, 20), np.float32), y) == {}
    assert fed(x[:64], y[:64]) == {}


def test_leave_one_out_is_what_refitting_gives() -> None:
    from postmortem.capture.relation import _ridge

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    ridge = 0.5 * np.trace(x @ x.T) / 40
    slow = []
    for n in range(40):
        keep = np.arange(40) != n
        kept = x[keep]
        slow.append(x[n] @ np.linalg.solve(kept.T @ kept + ridge * np.eye(3), kept.T @ y[keep]))
    assert np.allclose(_ridge(x, y, 0.5), np.array(slow))


def test_no_random_number_of_the_training_is_drawn() -> None:
    np.random.seed(3)  # noqa: NPY002  # what many training scripts draw from
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    x, y = blobs(0)
    rows = np.repeat(x, 20, axis=1)
    fed(rows, y)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert relation(x[:10].astype(np.float64), y[:10]) is None
