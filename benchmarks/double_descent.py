"""A random-feature curve at 60 capacities and 12 penalties, against one decomposition a capacity in NumPy and scikit-learn.

All compute, for each of the capacities, ridge regression at all penalties on the first p of the same ReLU features, and
from it the errors on training and test points and the norm of the coefficients; float64, features included.
"""

import argparse
import json
import statistics
import sys
import time

from benchmarks import _harness

NUM_INPUTS = 35
NOISE = 0.5
NUM_TEST = 200
CONTENDERS = ("ridge_sweep", "scikit-learn", "numpy svd", "numpy eigh")
SEED_CONTENDERS = ("ridge_sweep, seeds", "ridge_sweep, seeds in threads", "numpy eigh, seeds")
AIMS = {"scikit-learn": 25.0, "numpy svd": 2.5, "numpy eigh": 0.9}
PARTS = ("features", "Gram matrices", "reduction", "products and scores")


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks double_descent", description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--features", type=int, default=1491, help="the largest capacity")
    parser.add_argument("--capacities", type=int, default=60)
    parser.add_argument("--penalties", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--name", default="double_descent", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    case = {key: getattr(options, key) for key in ("points", "features", "capacities", "penalties", "seeds")}
    names = [*options.contenders, *SEED_CONTENDERS]
    contenders = {n: _harness.Contender("benchmarks.double_descent", {**case, "contender": n}) for n in names}
    try:
        first = {name: contender.first for name, contender in contenders.items()}
        runs = _harness.in_turns(contenders, options.rounds)
    finally:
        for contender in contenders.values():
            contender.close()
    record = {
        "benchmark": "double_descent",
        "environment": _harness.environment(["dlmath", "jax", "jaxlib", "numpy", "scipy", "scikit-learn"]),
        "case": case,
        "floor": _floor(case),
        "aims": AIMS,
        "parts": _parts(case),
        "contenders": {},
        "ratios": {},
    }
    print(f"\n{json.dumps(case)}\nfloor: {json.dumps(record['floor'])}")
    for name in names:
        per_seed = case["seeds"] if name in SEED_CONTENDERS else 1
        seconds = [run["seconds"] / per_seed for run in runs[name]]
        shown = record["contenders"][name] = {
            "seconds_per_seed": _harness.summary(seconds),
            "cpu_seconds_per_seed": _harness.summary([run["cpu_seconds"] / per_seed for run in runs[name]]),
            "first_call_seconds": first[name]["seconds"],
            "compile_seconds": first[name]["seconds"] - statistics.median(seconds) * per_seed,
            "peak_megabytes": runs[name][-1]["peak_bytes"] / 2**20,
            "checksum": runs[name][-1]["checksum"],
        }
        print(f"  {name:30s} {1e3 * shown['seconds_per_seed']['median']:8.1f} ms a seed   cpu "
              f"{1e3 * shown['cpu_seconds_per_seed']['median']:8.1f} ms   compile {shown['compile_seconds']:5.1f} s   "
              f"peak {shown['peak_megabytes']:5.0f} MB   mean test error {shown['checksum']:.10f}")  # fmt: skip
    for name in options.contenders[1:]:
        _ratio(record, runs, name, "ridge_sweep")
    for own in SEED_CONTENDERS[:2]:
        _ratio(record, runs, "numpy eigh, seeds", own)
    print("where the time goes, ms: " + ", ".join(f"{k} {1e3 * v:.1f}" for k, v in record["parts"].items()))
    sums = [record["contenders"][name]["checksum"] for name in options.contenders]
    record["largest_relative_difference"] = max(abs(value / sums[0] - 1) for value in sums)
    print(f"test errors agree to {record['largest_relative_difference']:.1e}")
    print(f"written to {_harness.write(options.name, record)}")
    return 0


def _ratio(record, runs, other, own):
    for kind in ("seconds", "cpu_seconds"):
        paired = [a[kind] / b[kind] for a, b in zip(runs[other], runs[own], strict=True)]
        record["ratios"][f"{other} / {own}, {kind}"] = shown = _harness.summary(paired)
        if kind == "seconds":
            low, high = shown["quartiles"]
            print(f"  {own} is {shown['median']:6.2f} times as fast as {other} (quartiles {low:.2f}, {high:.2f})")


def _capacities(case):
    import numpy as np

    return np.unique(np.linspace(1, case["features"], case["capacities"]).round().astype(int))


def _floor(case):
    """Arithmetic of each way, in multiply-adds over all capacities; q = min(n, p)."""
    import numpy as np

    q = np.minimum(case["points"], _capacities(case)).astype(float)
    large = np.maximum(case["points"], _capacities(case)).astype(float)
    return {
        "gram_gflop": 2 * case["points"] ** 2 * case["features"] / 1e9,
        "tridiagonal_gflop": float((4 / 3 * q**3).sum()) / 1e9,
        "cholesky_a_penalty_gflop": float((case["penalties"] * q**3 / 3).sum()) / 1e9,
        "eigenvectors_gflop": float((9 * q**3).sum()) / 1e9,
        "thin_svd_gflop": float((6 * large * q**2 + 20 * q**3).sum()) / 1e9,
    }


def _data(case):
    import numpy as np

    rng = np.random.default_rng(0)
    draw = lambda num: rng.standard_normal((num, NUM_INPUTS))
    x, x_test, beta = draw(case["points"]), draw(NUM_TEST), rng.standard_normal(NUM_INPUTS) / NUM_INPUTS**0.5
    y = x @ beta + NOISE * rng.standard_normal(case["points"])
    penalty = 2.0 ** np.arange(-6, case["penalties"] - 6)
    return x, y, x_test, x_test @ beta, penalty


def _drawn(case, seed):
    """The features of a seed as arrays for the peers, of the distribution of dlmath's; for seed 0 the same."""
    import jax

    import dlmath as dm

    with jax.enable_x64(True):
        import numpy as np

        features = dm.double_descent.feature_map(jax.random.key(seed), NUM_INPUTS, case["features"], kind="relu")
        # The features of the unit vectors and their negatives give the weights back.
        units = np.eye(NUM_INPUTS)
        return np.asarray(features(units)) - np.asarray(features(-units))


def _sweep(case, num_seeds, threads=False):
    """One seed; many in one program, one after the other; or many calls of the program of one, in a thread a core."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    import jax
    import jax.numpy as jnp

    import dlmath as dm

    # The process is this contender's alone, as an experiment's run is.
    jax.config.update("jax_enable_x64", True)
    x, y, x_test, y_test, penalty = _data(case)
    capacities = _capacities(case).tolist()

    @jax.jit
    def one(key, x, y, x_test, y_test):
        features = dm.double_descent.feature_map(key, NUM_INPUTS, case["features"], kind="relu")
        return dm.double_descent.ridge_sweep(
            features, (x, y), capacities, penalty / case["points"], test=(x_test, y_test)
        )

    @jax.jit
    def every(keys, *data):
        return jax.lax.map(lambda key: one(key, *data), keys)

    data = tuple(map(jnp.asarray, (x, y, x_test, y_test)))
    keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))

    def run():
        found = one(keys[0], *data) if num_seeds == 1 else every(keys, *data)
        return {"checksum": float(jax.block_until_ready(found).test["mse"].mean())}

    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())

    def run_in_threads():
        found = pool.map(lambda key: float(one(key, *data).test["mse"].mean()), list(keys))
        return {"checksum": sum(found) / num_seeds}

    return run_in_threads if threads else run


def _numpy(case, fit, num_seeds=1):
    """`fit(z, y, z_test, penalties) -> (outputs on training, outputs on test, norms)` at every capacity."""
    import numpy as np

    x, y, x_test, y_test, penalty = _data(case)
    weights = [_drawn(case, seed) for seed in range(num_seeds)]
    capacities = _capacities(case)

    def run():
        total = 0.0
        for w in weights:
            z, z_test = np.maximum(x @ w, 0), np.maximum(x_test @ w, 0)
            errors = np.empty((len(capacities), len(penalty), 3))
            for i, (train, tested, norm) in enumerate(fit(z, y, z_test, penalty, capacities)):
                errors[i] = np.stack(
                    [((train - y[:, None]) ** 2).mean(0), ((tested - y_test[:, None]) ** 2).mean(0), norm], 1
                )
            total += errors[..., 1].mean()
        return {"checksum": float(total / len(weights))}

    return run


def _by_svd(z, y, z_test, penalty, capacities):
    import numpy as np

    for p in capacities:
        u, s, vt = np.linalg.svd(z[:, :p], full_matrices=False)
        beta = vt.T @ ((s[:, None] / (s[:, None] ** 2 + penalty)) * (u.T @ y)[:, None])
        yield z[:, :p] @ beta, z_test[:, :p] @ beta, np.linalg.norm(beta, axis=0)


def _by_eigh(z, y, z_test, penalty, capacities):
    """The Gram matrix of the smaller side; that of the points grows by the new features."""
    import numpy as np

    n, done = len(y), 0
    gram, gram_test = np.zeros((n, n)), np.zeros((len(z_test), n))
    small = z[:, :n].T @ z[:, :n]
    moment = z[:, :n].T @ y
    for p in capacities:
        if p < n:
            values, vectors = np.linalg.eigh(small[:p, :p])
            beta = vectors @ ((vectors.T @ moment[:p])[:, None] / (values[:, None] + penalty))
            yield z[:, :p] @ beta, z_test[:, :p] @ beta, np.linalg.norm(beta, axis=0)
            continue
        new = z[:, done:p]
        gram += new @ new.T
        gram_test += z_test[:, done:p] @ new.T
        done = p
        values, vectors = np.linalg.eigh(gram)
        alpha = vectors @ ((vectors.T @ y)[:, None] / (values[:, None] + penalty))
        train = gram @ alpha
        yield train, gram_test @ alpha, np.sqrt((alpha * train).sum(0))


def _by_sklearn(z, y, z_test, penalty, capacities):
    import numpy as np
    from sklearn.linear_model import Ridge

    for p in capacities:
        fits = [Ridge(alpha=a, fit_intercept=False).fit(z[:, :p], y) for a in penalty]
        beta = np.stack([fit.coef_ for fit in fits], 1)
        train, tested = (np.stack([fit.predict(a[:, :p]) for fit in fits], 1) for a in (z, z_test))
        yield train, tested, np.linalg.norm(beta, axis=0)


def _parts(case):
    """Seconds of the parts of a sweep, each compiled and run by itself on matrices of the same sizes, once a capacity."""
    contender = _harness.Contender("benchmarks.double_descent", {**case, "contender": "parts"})
    found = [contender.run()["parts"] for _ in range(5)]
    contender.close()
    return {name: statistics.median(run[name] for run in found) for name in PARTS}


def _measure_parts(case):
    import jax
    import jax.numpy as jnp
    import numpy as np

    import dlmath as dm

    jax.config.update("jax_enable_x64", True)
    x, _, x_test, *_ = _data(case)
    points, n = jnp.concatenate([jnp.asarray(x), jnp.asarray(x_test)]), case["points"]
    features = dm.double_descent.feature_map(jax.random.key(0), NUM_INPUTS, case["features"], kind="relu")
    z = features(points)
    blocks = jnp.stack(jnp.split(z[:, : z.shape[1] // 25 * 25], z.shape[1] // 25, axis=1))
    gram = z @ z[:n].T
    sizes = np.minimum(n, _capacities(case))
    tridiagonal = jax.jit(lambda s: jax.lax.linalg.tridiagonal(s, lower=True))
    matrices = [gram[:q, :q] for q in sizes.tolist() if q > 2]
    alpha = jnp.ones((case["penalties"], n, 1))
    programs = {
        "features": (jax.jit(lambda f, x: f(x)), [(features, points)]),
        "Gram matrices": (
            jax.jit(lambda blocks: jax.lax.scan(lambda k, b: (k + b @ b[:n].T, None), gram * 0, blocks)[0]), [(blocks,)],
        ),
        "reduction": (tridiagonal, [(matrix,) for matrix in matrices]),
        "products and scores": (jax.jit(lambda k, a: ((k @ a) ** 2).mean(1)), [(gram, alpha)] * len(sizes)),
    }  # fmt: skip
    for function, calls in programs.values():
        jax.block_until_ready([function(*call) for call in calls])

    def run():
        parts = {}
        for name, (function, calls) in programs.items():
            start = time.perf_counter()
            jax.block_until_ready([function(*call) for call in calls])
            parts[name] = time.perf_counter() - start
        return {"parts": parts}

    return run


def _worker(options):
    name = options.pop("contender")
    makers = {
        "ridge_sweep": lambda case: _sweep(case, 1),
        "ridge_sweep, seeds": lambda case: _sweep(case, case["seeds"]),
        "ridge_sweep, seeds in threads": lambda case: _sweep(case, case["seeds"], threads=True),
        "scikit-learn": lambda case: _numpy(case, _by_sklearn),
        "numpy svd": lambda case: _numpy(case, _by_svd),
        "numpy eigh": lambda case: _numpy(case, _by_eigh),
        "numpy eigh, seeds": lambda case: _numpy(case, _by_eigh, case["seeds"]),
        "parts": _measure_parts,
    }
    _harness.work(makers[name](options))


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        _worker(json.loads(sys.argv[2]))
