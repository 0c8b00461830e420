"""Nearest neighbours under two models, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from hamsa_deploy.parity import retrieval
from hamsa_deploy.parity.retrieval import neighbours, recalls


def by_scikit_learn(embeddings: np.ndarray, k: int) -> np.ndarray:
    """Without the query itself, which `kneighbors()` leaves out when it is given none."""
    judge = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(embeddings)
    return np.asarray(judge.kneighbors(return_distance=False))


@pytest.fixture
def embeddings() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    expected = generator.standard_normal((60, 16))
    return expected + 0.3 * generator.standard_normal(expected.shape), expected


def test_neighbours_on_a_circle() -> None:
    angles = np.radians([0, 10, 25, 180])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [5], [2], [3]]  # lengths do not matter
    np.testing.assert_array_equal(neighbours(points, 2), [[1, 2], [0, 2], [1, 0], [2, 1]])


def test_an_image_is_not_its_own_neighbour_even_where_all_others_are_opposite() -> None:
    opposite = np.array([[1.0, 0], [-1, 0], [-2, 0]])
    np.testing.assert_array_equal(neighbours(opposite, 2), [[1, 2], [2, 0], [1, 0]])


def test_neighbours_are_those_of_scikit_learn(embeddings: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(neighbours(embeddings[1], 10), by_scikit_learn(embeddings[1], 10))


def test_recalls_are_the_shares_of_scikit_learn_s_neighbours(embeddings: tuple[np.ndarray, np.ndarray]) -> None:
    found, expected = embeddings
    for k, recall in recalls(found, expected).items():
        pairs = zip(by_scikit_learn(found, k), by_scikit_learn(expected, k), strict=True)
        assert recall == pytest.approx(np.mean([len(set(a) & set(b)) / k for a, b in pairs]), rel=1e-12)
        assert 0.3 < recall < 1


def test_equal_embeddings_and_longer_ones_find_the_same(embeddings: tuple[np.ndarray, np.ndarray]) -> None:
    assert recalls(2 * embeddings[1], embeddings[1]) == {1: 1.0, 5: 1.0, 10: 1.0}


def test_a_large_matrix_is_worked_on_in_parts(
    embeddings: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = neighbours(embeddings[1], 5)
    monkeypatch.setattr(retrieval, "ROWS", 7)
    np.testing.assert_array_equal(neighbours(embeddings[1], 5), at_once)


@pytest.mark.parametrize(("images", "known"), [(2, []), (3, [1]), (10, [1]), (11, [1, 5]), (21, [1, 5, 10])])
def test_no_recall_that_chance_alone_would_bring_near_one(images: int, known: list[int]) -> None:
    some = np.random.default_rng(0).standard_normal((images, 8))
    assert list(recalls(some, some)) == known
