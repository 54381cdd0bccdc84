import dataclasses

import jax
import numpy as np

import dlmath as dm


def test_features_come_in_pairs_and_the_threshold_is_among_their_numbers(paper):
    for config in paper.SCALES.values():
        numbers = paper.capacities(config)
        assert all(number % 2 == 0 for number in numbers)
        assert numbers == sorted(set(numbers))
        assert config.num_train in numbers
        assert numbers[-1] == 16 * config.num_train


def test_a_measurement_agrees_with_numpy_below_and_beyond_the_threshold(paper):
    config = dataclasses.replace(paper.Config(), num_train=20, num_test=50, ratios=(0.5, 2.0))
    key = jax.random.key(3)
    with jax.enable_x64(True):
        measured = paper.measure_one(config, key)
        data_key, feature_key = jax.random.split(key)
        data = dm.data.load("digits", flatten=True, one_hot=True, dtype="float64")
        data = dm.data.random_subset(data_key, dm.data.subset(data, num_test=50), 20)
        features = dm.double_descent.feature_map(feature_key, 64, 40, kind="fourier", bandwidth=config.bandwidth)
        z, z_test = np.asarray(features(data.x)), np.asarray(features(data.x_test))
    for index, number in enumerate((10, 40)):
        beta = np.linalg.pinv(z[:, :number]) @ data.y
        outputs = z_test[:, :number] @ beta
        wrong = np.mean(outputs.argmax(1) != data.y_test.argmax(1))
        np.testing.assert_allclose(measured["test_error"][index], wrong, atol=1e-12)
        np.testing.assert_allclose(
            measured["test_square"][index], np.mean(np.sum((outputs - data.y_test) ** 2, axis=1)), rtol=1e-6
        )
        np.testing.assert_allclose(measured["norm"][index], np.sqrt(number) * np.linalg.norm(beta), rtol=1e-6)


def test_the_kernel_machine_is_that_of_numpy(paper):
    config = dataclasses.replace(paper.Config(), num_train=20, num_test=50, ratios=(0.5,))
    key = jax.random.key(3)
    with jax.enable_x64(True):
        measured = paper.measure_one(config, key)
        data = dm.data.load("digits", flatten=True, one_hot=True, dtype="float64")
        data = dm.data.random_subset(jax.random.split(key)[0], dm.data.subset(data, num_test=50), 20)
    gaussian = lambda a, b: np.exp(-np.sum((a[:, None] - b) ** 2, axis=-1) / (2 * 1.5**2))
    dual = np.linalg.solve(gaussian(data.x, data.x), data.y)
    wrong = np.mean((gaussian(data.x_test, data.x) @ dual).argmax(1) != data.y_test.argmax(1))
    np.testing.assert_allclose(measured["kernel_error"], wrong, atol=1e-12)
    np.testing.assert_allclose(measured["kernel_norm"], np.sqrt(np.sum(data.y * dual)), rtol=1e-6)
