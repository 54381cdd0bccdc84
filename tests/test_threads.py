import subprocess
import sys

TWO_AT_ONCE = """
import jax, jax.numpy as jnp
import dlmath.linalg

@jax.jit
def sums(a, b):
    return jax.lax.fori_loop(0, 20, lambda i, s: s + jnp.linalg.solve(a, a).sum() + jnp.linalg.solve(b, b).sum(), 0.0)

a, b = (jax.random.normal(jax.random.key(n), (500, n, n)) for n in (14, 12))
for i in range(30):
    jax.block_until_ready(sums(a + i, b))
"""


def test_two_batched_linear_solves_at_once_come_to_an_end():
    subprocess.run([sys.executable, "-c", TWO_AT_ONCE], check=True, timeout=120)
