"""What networks see of an observation."""

import numpy as np
import pytest
import torch

from offline_actrep.nets.features import (
    FeatureConfig,
    ObservationFeatures,
    fourier_columns,
    is_binary,
)

GENERATOR = np.random.default_rng(0)
OBSERVATIONS = np.stack(
    [
        GENERATOR.normal(5, 3, 400),
        GENERATOR.integers(2, size=400),
        np.full(400, 7.0),
        GENERATOR.uniform(-2, 6, 400),
    ],
    axis=1,
).astype(np.float32)


def test_columns_are_standardised_but_flags_are_not() -> None:
    features = ObservationFeatures.of(OBSERVATIONS, FeatureConfig()).numpy(OBSERVATIONS)
    assert features.shape == (400, 4)
    np.testing.assert_allclose(features[:, [0, 3]].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(features[:, [0, 3]].std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(features[:, 1], OBSERVATIONS[:, 1])
    np.testing.assert_allclose(features[:, 2], 0, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_other_columns_are_refused(size: int) -> None:
    """One column alone would be spread over all four."""
    features = ObservationFeatures.of(OBSERVATIONS, FeatureConfig(fourier=(0,)))
    with pytest.raises(ValueError, match=f"need the 4 columns .* got {size}"):
        features.numpy(np.zeros((5, size), np.float32))


def test_the_scales_are_those_of_the_fit() -> None:
    features = ObservationFeatures.of(OBSERVATIONS, FeatureConfig())
    half = features.numpy(OBSERVATIONS[:200])
    np.testing.assert_array_equal(half, features.numpy(OBSERVATIONS)[:200])
    assert abs(half[:, 0].mean()) > 1e-4


def test_made_from_a_size_it_scales_nothing() -> None:
    features = ObservationFeatures(4, FeatureConfig())
    np.testing.assert_array_equal(features.numpy(OBSERVATIONS), OBSERVATIONS)


def test_fourier_features_by_hand() -> None:
    observations = np.array([[0.0, 10.0], [1.0, 20.0], [0.0, 30.0]], np.float32)
    features = ObservationFeatures.of(observations, FeatureConfig(fourier=(1,), harmonics=2))
    assert features.size == 2 + 4
    x = np.array([0.0, 0.5, 1.0])
    waves = [np.sin(np.pi * x), np.sin(2 * np.pi * x), np.cos(np.pi * x), np.cos(2 * np.pi * x)]
    np.testing.assert_allclose(features.numpy(observations)[:, 2:], np.stack(waves, 1), atol=1e-6)
    np.testing.assert_array_equal(features.numpy(observations)[:, 0], observations[:, 0])


def test_each_fourier_column_has_its_own_range() -> None:
    config = FeatureConfig(fourier=(3, 0), harmonics=1)
    features = ObservationFeatures.of(OBSERVATIONS, config)
    found = features.numpy(OBSERVATIONS)
    assert found.shape == (400, features.size) == (400, 8)
    for place, column in enumerate((3, 0)):
        row = OBSERVATIONS[:, column].argmin()
        np.testing.assert_allclose(found[row, [4 + place, 6 + place]], [0, 1], atol=1e-6)
        row = OBSERVATIONS[:, column].argmax()
        np.testing.assert_allclose(found[row, [4 + place, 6 + place]], [0, -1], atol=1e-5)


def test_the_scales_travel_with_the_state() -> None:
    config = FeatureConfig(fourier=(0,), harmonics=3)
    fitted = ObservationFeatures.of(OBSERVATIONS, config)
    other = ObservationFeatures(4, config)
    assert (other.numpy(OBSERVATIONS) != fitted.numpy(OBSERVATIONS)).any()
    other.load_state_dict(fitted.state_dict())
    np.testing.assert_array_equal(other.numpy(OBSERVATIONS), fitted.numpy(OBSERVATIONS))


def test_the_border_gives_what_the_module_gives() -> None:
    features = ObservationFeatures.of(OBSERVATIONS, FeatureConfig(fourier=(0,)))
    inside = features(torch.from_numpy(OBSERVATIONS))
    np.testing.assert_array_equal(features.numpy(np.asfortranarray(OBSERVATIONS)), inside.numpy())
    assert not inside.requires_grad


@pytest.mark.parametrize("column", [-1, 4])
def test_a_column_that_is_not_there_is_refused(column: int) -> None:
    with pytest.raises(ValueError, match=rf"asked of column {column}, .* columns 0\.\.3"):
        ObservationFeatures(4, FeatureConfig(fourier=(0, column)))


def test_is_binary_looks_at_every_row() -> None:
    columns = np.array([[0, 0, 1, 0], [1, 0, 1, 0.5], [1, 0, 1, 1]], np.float32)
    assert is_binary(columns).tolist() == [True, True, True, False]


def test_columns_are_found_by_name() -> None:
    assert fourier_columns(("x", "y", "flag"), ("y", "x")) == (1, 0)
    with pytest.raises(ValueError, match=r"called 'z'; there are \['x', 'y'\]"):
        fourier_columns(("x", "y"), ("x", "z"))
