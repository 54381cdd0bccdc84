"""Chains spread over devices: the same first steps, and the same law."""

import json
import os
import subprocess
import sys

FOUR_DEVICES = """
import json
import jax, jax.numpy as jnp, numpy as np, dlmath as dm
from dlmath import bnn, sharding

rng = np.random.default_rng(0)
x, y = jnp.asarray(rng.normal(size=(12, 3))), jnp.asarray(rng.normal(size=(12, 1)))
posterior = bnn.posterior(lambda w, x: x @ w, bnn.priors.normal(0.7), bnn.likelihoods.gaussian(0.3), (x, y))
exact = bnn.exact.linear_gaussian(x, y, prior_std=0.7, noise_std=0.3)
start = bnn.sample_prior(jax.random.key(0), posterior, jnp.zeros((3, 1)), 8)
samplers = {
    "hmc": lambda start, n: bnn.hmc(jax.random.key(1), posterior, start, num_draws=n, num_warmup=100, trajectory_length=1.5),
    "nuts": lambda start, n: bnn.nuts(jax.random.key(1), posterior, start, num_draws=n, num_warmup=100),
    "sgld": lambda start, n: bnn.sgld(jax.random.key(1), posterior, start, num_draws=n, num_warmup=100, thinning=20,
                                      step_size=3e-4),
}
found = {}
for name, sample in samplers.items():
    one, many = sample(start, 300), sample(sharding.shard(start), 300)
    parts = len({str(s.index) for s in many.params.addressable_shards})
    first = float(np.abs(np.asarray(one.params[:, :5]) - np.asarray(many.params[:, :5])).max())
    draws = np.asarray(many.params)[..., 0] - np.asarray(exact.mean)[:, 0]
    squares = bnn.diagnose(many._replace(params=draws**2))
    gaps = [draws.mean((0, 1)) / bnn.diagnose(many).mcse[:, 0],
            ((draws**2).mean((0, 1)) - np.diag(exact.covariance)) / squares.mcse]
    found[name] = {"parts": parts, "first": first, "gap": float(np.abs(gaps).max())}
print(json.dumps(found))
"""


def test_chains_over_devices_take_the_same_first_steps_and_draw_from_the_same_law():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "true",
        # Virtual devices share XLA's pool of threads, and a pool as small as two may wait for itself for ever.
        "NPROC": "16",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    }
    done = subprocess.run([sys.executable, "-c", FOUR_DEVICES], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, found in json.loads(done.stdout.splitlines()[-1]).items():
        assert found["parts"] == 4, name
        assert found["first"] < 1e-5, name
        assert found["gap"] < 4, name
