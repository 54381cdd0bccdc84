import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import dlmath as dm


def test_records_run_from_the_start_to_the_last_epoch(paper):
    config = dataclasses.replace(paper.Config(), num_epochs=500, cnn_epochs=1280, num_records=40)
    epochs = paper.record_epochs(config, "mlp")
    assert (epochs[0], epochs[1], epochs[-1]) == (0, 1, 500)
    assert (np.diff(epochs) > 0).all()
    assert paper.record_epochs(config, "cnn")[-1] == 1280


def test_the_rate_of_the_cnn_falls_with_the_root_of_the_step(paper):
    optimizer = paper.optimizer("cnn")

    def step(state, _):
        update, state = optimizer.update(jnp.ones(()), state)
        return state, update

    _, updates = jax.lax.scan(step, optimizer.init(jnp.ones(())), None, length=1600)
    np.testing.assert_allclose(updates[jnp.array([0, 511, 512, 1536])], -0.1 / np.sqrt([1, 1, 2, 4]), rtol=1e-6)


def test_a_share_of_the_labels_is_wrong_and_another_one_in_every_seed(paper):
    data = paper.load(paper.Config(data_set="mnist1d"))
    labels = np.asarray(paper.noisy(jax.random.split(jax.random.key(0), 2), data, 3000, 0.15))
    wrong = labels != data.y[:3000]
    assert abs(wrong.mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / 6000)
    assert (wrong[0] != wrong[1]).any()


def test_training_errors_are_those_of_each_seed_on_its_own_labels(paper):
    apply = lambda shift, x: jnp.roll(jnp.eye(3), shift, axis=1)[x]  # the class x + shift
    x = jnp.array([0, 1, 2, 0, 1])
    labels = jnp.array([[0, 1, 2, 0, 2], [1, 2, 0, 0, 1]])
    errors = paper.train_errors(apply, jnp.array([0, 1]), None, x, labels, block_size=2)
    np.testing.assert_allclose(errors, [0.2, 0.4])


def test_doublings_compare_an_n_with_twice_as_many(paper):
    error = xr.DataArray(
        np.array([[[[0.5, 0.7]], [[0.4, 0.2]], [[0.1, 0.9]]]]),
        dims=("architecture", "num_train", "width", "seed"),
        coords={"num_train": [100, 200, 300], "width": [8]},
    )
    np.testing.assert_allclose(paper.doublings({"training/test_error": error}), [[-0.3]])


def test_hours_of_a_curve_are_interpolated_by_powers_of_the_width(paper):
    hours = xr.DataArray(
        [[1.0, 16.0]], coords={"architecture": ["cnn"], "speed_width": [1, 4]}, dims=("architecture", "speed_width")
    )
    config = dataclasses.replace(paper.Config(), widths=(1, 2, 4))
    assert paper.curve_hours(config, hours)["cnn"] == pytest.approx(1 + 4 + 16)  # hours ∝ width²


@pytest.mark.parametrize(("architecture", "side"), [("cnn", 32), ("resnet18", 8)])  # the CNN pools by 32 in all
def test_networks_of_the_paper_take_a_few_steps_and_go_on_from_a_checkpoint(
    paper, architecture, side, monkeypatch, tmp_path
):
    draws = np.random.default_rng(0)
    images = lambda n: draws.standard_normal((n, side, side, 3)).astype(np.float32)
    labels = lambda n: (np.arange(n) % 10).astype(np.int32)
    tiny = dm.data.Dataset(images(10), labels(10), images(10), labels(10))
    monkeypatch.setattr(paper, "load", lambda name: tiny)
    config = dataclasses.replace(
        paper.SCALES["paper"], num_epochs=2, cnn_epochs=2, batch_size=5, num_records=2, checkpoints=str(tmp_path)
    )
    keys = jax.random.split(jax.random.key(0), 1)
    first = paper.measure(config, keys, architecture=architecture, width=1, num_train=10)
    assert first["test_error_over_time"][1].shape == (1, 3)
    assert np.isfinite(first["loss_over_time"][1]).all()
    assert len(list(tmp_path.iterdir())) == 1
    again = paper.measure(config, keys, architecture=architecture, width=1, num_train=10)
    np.testing.assert_array_equal(again["test_error_over_time"][1], first["test_error_over_time"][1])
