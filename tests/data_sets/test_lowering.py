"""Every generator compiles for accelerators."""

import jax
import jax.numpy as jnp
import pytest

from dlmath import data

KEY = jax.random.key(0)
PROGRAMS = {
    "crop_and_flip": lambda key: data.crop_and_flip(key, jnp.ones((3, 5, 6, 2)), padding=1),
    "gaussian_features": lambda key: data.gaussian_features(key, 6, 4, covariance="ar1"),
    "covariance_matrix": lambda key: data.covariance_matrix("ar1", 4),
    "sphere": lambda key: data.sphere(key, 6, 4),
    "linear_gaussian": lambda key: data.linear_gaussian(key, 6, 4, covariance="power_law"),
    "teacher_student": lambda key: data.teacher_student(key, lambda w, x: x @ w, jnp.ones((4, 1)), 6, 4, noise_std=0.1),
    "gaussian_mixture": lambda key: data.gaussian_mixture(key, 6, *data.MIXTURE_1D),
    "gaussian_mixture_log_density": lambda key: data.gaussian_mixture_log_density(
        jax.random.normal(key, (6, 1)), *data.MIXTURE_1D
    ),
    "moons": lambda key: data.moons(key, 6),
    "circles": lambda key: data.circles(key, 6),
    "ellipses": lambda key: data.ellipses(key, 6),
    "rings": lambda key: data.rings(key, 6),
    "spiral": lambda key: data.spiral(key, 6),
    "swiss_roll": lambda key: data.swiss_roll(key, 6),
    "swiss_roll_arms": lambda key: data.swiss_roll_arms(key, 6),
    "peaks": lambda key: data.peaks(jax.random.normal(key, (6, 2))),
    "peaks_regression": lambda key: data.peaks_regression(key, 6),
    "peaks_classification": lambda key: data.peaks_classification(key, 6, grid_size=32),
    "noisy_sine": lambda key: data.noisy_sine(key, 6),
    "cosine_ramp": lambda key: data.cosine_ramp(key, 6),
    "sparse_parity": lambda key: data.sparse_parity(key, 6, 8, 3),
    "modular_addition": lambda key: data.modular_addition(key, 7),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_generator_lowers_for_cuda_and_tpu(name):
    jax.jit(PROGRAMS[name]).trace(KEY).lower(lowering_platforms=("cuda", "tpu"))


def test_generators_follow_the_precision_in_force():
    for name in set(PROGRAMS) - {"covariance_matrix"}:
        single = jax.eval_shape(PROGRAMS[name], KEY)
        with jax.enable_x64(True):
            double = jax.eval_shape(PROGRAMS[name], KEY)
        kinds = {
            (str(a.dtype), str(b.dtype)) for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True)
        }
        assert kinds <= {("float32", "float64"), ("int32", "int32")}, name
        assert ("float32", "float64") in kinds, name


def test_generators_do_not_rely_on_rank_promotion():
    with jax.numpy_rank_promotion("raise"):
        for program in PROGRAMS.values():
            jax.eval_shape(program, KEY)


def test_generators_can_be_mapped_over_keys():
    keys = jax.random.split(KEY, 3)
    for name, program in PROGRAMS.items():
        if name != "covariance_matrix":
            assert jax.tree.leaves(jax.eval_shape(jax.vmap(program), keys))[0].shape[0] == 3, name
