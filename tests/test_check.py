"""Argument checks return what is right and explain what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import check


def test_close_names_are_suggested_and_far_ones_are_not():
    assert check.did_you_mean("rellu", ["relu", "tanh"]) == "; did you mean 'relu'?"
    assert check.did_you_mean("zzz", ["relu", "tanh"]) == ""
    assert check.did_you_mean(3, ["relu"]) == ""


def test_one_of_returns_the_option():
    assert check.one_of("activation", "relu", ["relu", "tanh"]) == "relu"


@pytest.mark.parametrize("value", ["Relu", None, 3, ["relu"], "relu "])
def test_one_of_refuses_everything_else(value):
    with pytest.raises(ValueError, match=r"activation must be one of 'relu', 'tanh', got "):
        check.one_of("activation", value, ["relu", "tanh"])


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3)])
def test_integers_of_any_kind_become_int(value):
    checked = check.integer("n", value, at_least=3, at_most=3)
    assert checked == 3
    assert type(checked) is int


@pytest.mark.parametrize("value", [3.0, True, np.bool_(True), "3", None, np.array([3])])
def test_what_is_not_an_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match="n must be an integer, got "):
        check.integer("n", value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at_least": 1}, "n must be positive, got -3"),
        ({"at_least": 0}, "n must be non-negative, got -3"),
        ({"at_least": 2}, "n must be at least 2, got -3"),
        ({"at_most": -5}, "n must be at most -5, got -3"),
    ],
)
def test_integers_out_of_range_are_named_with_the_range(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check.integer("n", -3, **options)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2.0), np.int64(2)])
def test_real_numbers_of_any_kind_become_float(value):
    checked = check.real("a", value, above=1.0, at_least=2.0, below=3.0, at_most=2.0)
    assert checked == 2.0
    assert type(checked) is float


def test_a_jax_scalar_is_a_real_number():
    assert check.real("a", jnp.float32(2.0)) == 2.0


@pytest.mark.parametrize("value", ["2", None, True, 1j, np.array([2.0]), [2.0]])
def test_what_is_not_a_real_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="a must be a real number, got "):
        check.real("a", value)


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (np.nan, {}, "a must be finite, got nan"),
        (-np.inf, {}, "a must be finite, got -inf"),
        (0.0, {"above": 0.0}, "a must be positive, got 0"),
        (0.5, {"above": 0.5}, "a must be greater than 0.5, got 0.5"),
        (-0.1, {"at_least": 0.0}, "a must be non-negative, got -0.1"),
        (0.0, {"at_least": 1.0}, "a must be at least 1, got 0"),
        (1.0, {"below": 1.0}, "a must be less than 1, got 1"),
        (1.1, {"at_most": 1.0}, "a must be at most 1, got 1.1"),
    ],
)
def test_reals_out_of_range_are_named_with_the_range(value, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check.real("a", value, **options)


def test_traced_scalars_pass_unchanged():
    assert jax.jit(lambda a: check.real("a", a, above=0.0) * 2)(-1.0) == -2.0
    assert jax.grad(lambda a: check.real("a", a, at_least=0.0) ** 2)(3.0) == 6.0


def test_functions_pass_and_other_things_do_not():
    assert check.callable_("apply", abs) is abs
    with pytest.raises(TypeError, match="apply must be a function, got 3 of type int"):
        check.callable_("apply", 3)


def test_arrays_pass_untouched_and_lists_become_arrays():
    x = np.zeros((2, 3))
    assert check.array("x", x, ndim=2) is x
    assert check.array("x", x, ndim=(1, 2)) is x
    np.testing.assert_array_equal(check.array("x", [[1, 2]]), [[1, 2]])


@pytest.mark.parametrize(
    ("value", "options", "error", "message"),
    [
        ([[1], [1, 2]], {}, ValueError, "x must be an array, got rows of unequal lengths"),
        (["a"], {}, TypeError, "x must be an array of numbers, got dtype <U1"),
        (None, {}, TypeError, "x must be an array of numbers, got dtype object"),
        (np.array(["2020-01-01"], "datetime64[D]"), {}, TypeError, "x must be an array of numbers"),
        (np.zeros(3), {"ndim": 2}, ValueError, r"x must have 2 dimensions, got shape \(3,\)"),
        (np.zeros(3), {"ndim": (0, 2)}, ValueError, r"x must have 0 or 2 dimensions, got shape \(3,\)"),
        (np.zeros((0, 3)), {}, ValueError, r"x must not be empty, got shape \(0, 3\)"),
        (np.array([1, np.nan, np.inf]), {}, ValueError, "x must be finite, got 2 NaN or infinite of 3 entries"),
        (np.array([1, 1j * np.inf]), {}, ValueError, "x must be finite, got 1 NaN"),
        (jnp.array([jnp.nan]), {}, ValueError, "x must be finite"),
        (jnp.array([jnp.nan], jnp.bfloat16), {}, ValueError, "x must be finite"),
    ],
)
def test_wrong_arrays_are_explained(value, options, error, message):
    with pytest.raises(error, match=message):
        check.array("x", value, **options)


def test_non_finite_and_empty_arrays_pass_on_request():
    assert check.array("x", np.array([np.nan]), finite=False).shape == (1,)
    assert check.array("x", np.zeros((0, 2)), nonempty=False).shape == (0, 2)


def test_traced_arrays_are_checked_for_shape_only():
    checked = jax.jit(lambda x: check.array("x", x, ndim=1))
    assert np.isnan(checked(jnp.array([jnp.nan]))).all()
    with pytest.raises(ValueError, match="x must have 1 dimensions"):
        checked(jnp.zeros((1, 1)))


def test_rows_must_match():
    check.same_length("x", np.zeros((2, 3)), "y", np.zeros(2))
    with pytest.raises(ValueError, match=r"x and y must have the same number of rows, got shapes \(2, 3\) and \(3,\)"):
        check.same_length("x", np.zeros((2, 3)), "y", np.zeros(3))


def test_typed_keys_pass_also_when_traced():
    key = jax.random.key(0)
    assert check.key("key", key) is key
    keys = jax.random.split(key, 3)
    assert jax.vmap(lambda k: jax.random.uniform(check.key("key", k)))(keys).shape == (3,)


def test_other_keys_are_refused_with_advice():
    for wrong in (0, None, jax.random.PRNGKey(0)):
        with pytest.raises(TypeError, match=r"key must be a typed key such as jax.random.key\(0\), got "):
            check.key("key", wrong)
    with pytest.raises(ValueError, match=r"got an array of keys of shape \(2,\); vmap over it"):
        check.key("key", jax.random.split(jax.random.key(0)))


def test_a_tracer_is_known_as_one():
    assert not check.is_traced(jnp.zeros(1))
    assert not check.is_traced(1.0)
    seen = []
    jax.jit(lambda x: seen.append(check.is_traced(x)))(1.0)
    assert seen == [True]
