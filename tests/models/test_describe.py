import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm


def test_a_sigmoid_network_1_64_64_1_has_4353_parameters():
    """SNU homework 3."""
    table = dm.models.describe(dm.models.mlp([64, 64], 1, activation="sigmoid"), jnp.ones((1, 1)))
    assert table.parameters == 4353
    assert [row.parameters for row in table.rows] == [128, 4160, 65]


def test_convolutions_of_alexnet_have_2469696_parameters_and_655566528_multiply_adds():
    """SNU homework 7, problem 2; 227² images and the max-poolings of AlexNet between the parts below."""
    first = dm.models.cnn([64], 1, kernel_size=11, strides=4, padding="VALID")
    second = dm.models.cnn([192], 1, kernel_size=5)
    rest = dm.models.cnn([384, 256, 256], 1)
    parts = [(first, (1, 227, 227, 3)), (second, (1, 27, 27, 64)), (rest, (1, 13, 13, 192))]
    rows = [
        row
        for model, shape in parts
        for row in dm.models.describe(model, jax.ShapeDtypeStruct(shape, jnp.float32)).rows
        if row.layer != "dense"
    ]
    assert rows[0].shape == (55, 55, 64)
    assert sum(row.parameters for row in rows) == 2_469_696
    assert sum(row.multiply_adds for row in rows) == 655_566_528


def test_read_out_layers_of_alexnet_have_58631144_parameters():
    """SNU homework 7, problem 2: 9216-4096-4096-1000."""
    model = dm.models.mlp([4096, 4096], 1000)
    table = dm.models.describe(model, jax.ShapeDtypeStruct((1, 9216), jnp.float32))
    assert (table.parameters, table.multiply_adds) == (58_631_144, 58_621_952)


def test_the_inception_module_of_homework_5_has_its_published_counts():
    """SNU homework 5, problem 5: 256×32×32 into branches 128@1×1, 192@3×3, 96@5×5."""
    image = jax.ShapeDtypeStruct((1, 32, 32, 256), jnp.float32)
    rows = [
        dm.models.describe(dm.models.cnn([channels], 1, kernel_size=size), image).rows[0]
        for channels, size in ((128, 1), (192, 3), (96, 5))
    ]
    assert sum(row.parameters for row in rows) == 1_089_952
    assert sum(row.multiply_adds for row in rows) == 1_115_684_864


def test_parameters_of_the_rows_add_up_to_those_of_the_model():
    models = {
        "mlp": (dm.models.mlp([5, 4], 3, bias_std=None), (2, 6)),
        "cnn": (dm.models.cnn([5, 4], 3, pool="flatten"), (2, 6, 6, 1)),
        "resnet": (dm.models.resnet(18, 4, 3), (2, 8, 8, 3)),
        "lenet5": (dm.models.lenet5(True), (2, 28, 28, 1)),
        "random features": (dm.models.random_features(jax.random.key(0), 6, 20, 3), (2, 6)),
    }
    for model, shape in models.values():
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        table = dm.models.describe(model, x)
        params = jax.eval_shape(model.init, jax.random.key(0), x)
        assert sum(row.parameters for row in table.rows) == table.parameters == dm.models.count_parameters(params)


def test_the_table_is_aligned_and_ends_with_the_totals():
    text = str(dm.models.describe(dm.models.cnn([16], 10), jnp.ones((1, 8, 8, 3)))).splitlines()
    assert text[0].split() == ["layer", "output", "parameters", "multiply-adds"]
    assert text[2].split() == ["conv1", "8", "×", "8", "×", "16", "448", "27,648"]
    assert text[-1].split() == ["total", "618", "27,808"]
    assert {len(line) for line in text} == {len(text[0])}


def test_a_network_whose_layers_are_unknown_has_one_row():
    model = dm.models.Model(lambda key, x: {"w": np.ones((3, 2))}, lambda params, x: x @ params["w"])
    table = dm.models.describe(model, jnp.ones((5, 3)))
    assert table.rows == (dm.models.LayerSummary("network", (2,), 6, None),)
    assert str(table).splitlines()[-1].split() == ["total", "6", "?"]
