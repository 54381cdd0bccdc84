"""Bayesian networks: NUTS against numpyro and blackjax, chains side by side, SGLD against posteriors, ensembles by vmap.

The network has one tanh layer on synthetic data of yacht's size; its noise is known, so that chains converge. Effective draws
are those of the predictions at test points, the smallest over points.
"""

import argparse
import statistics
import sys
import time

from benchmarks import _harness

CONTENDERS = {
    "nuts": ("bnn.nuts", "numpyro", "blackjax"),
    "chains": ("bnn.nuts, 32 chains", "bnn.nuts, 32 chains by vmap", "bnn.nuts, 32 chains in turn"),
    "sgld": ("bnn.sgld", "posteriors"),
    "ensemble": ("bnn.ensemble", "compiled loop", "Python loop of jitted steps"),
}
NUM_DATA, NUM_INPUTS, NUM_TEST = 277, 6, 31
PRIOR_STD, NOISE_STD = 1.0, 0.3
NUM_CHAINS, NUM_WARMUP, NUM_DRAWS = 4, 100, 100
MANY_CHAINS, FEW_DRAWS = 32, 10
"""Chains side by side, of so many draws after as many of warm-up."""
SGLD = {"step_size": 1e-6, "batch_size": 32, "num_steps": 20_000}
ENSEMBLE = {"members": 20, "num_steps": 2000, "learning_rate": 1e-2}


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks bayesian_networks", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--width", type=int, default=20, help="hidden units")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="bayesian_networks", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    record = {
        "benchmark": "bayesian_networks",
        "environment": _harness.environment(["dlmath", "jax", "jaxlib", "numpyro", "blackjax", "posteriors", "torch"]),
        "case": {"data": [NUM_DATA, NUM_INPUTS], "width": options.width, "chains": NUM_CHAINS, "warmup": NUM_WARMUP,
                 "draws": NUM_DRAWS, "many_chains": [MANY_CHAINS, FEW_DRAWS], "sgld": SGLD, "ensemble": ENSEMBLE},
        "cases": {},
    }  # fmt: skip
    for case in options.cases:
        record["cases"][case] = _measured(case, options)
        print(f"written to {_harness.write(options.name, record)}")
    return 0


def _measured(case, options):
    contenders, first = {}, {}
    try:
        for name in CONTENDERS[case]:
            try:
                contender = _harness.Contender(
                    "benchmarks.bayesian_networks", {"contender": name, "width": options.width}
                )
            except RuntimeError as error:
                print(f"  {name}: left out, {error}")
                continue
            contenders[name], first[name] = contender, contender.first
        runs = _harness.in_turns(contenders, options.rounds)
    finally:
        for contender in contenders.values():
            contender.close()
    found = {"contenders": {}, "ratios": {}}
    own = CONTENDERS[case][0]
    print(f"\n{case}")
    for name, several in runs.items():
        shown = found["contenders"][name] = {
            "seconds": _harness.summary([run["seconds"] for run in several]),
            "cpu_seconds": _harness.summary([run["cpu_seconds"] for run in several]),
            "compile_seconds": first[name]["seconds"] - statistics.median(run["seconds"] for run in several),
            "peak_megabytes": several[-1]["peak_bytes"] / 2**20,
        }
        for key in ("ess", "gradients", "steps"):
            if key in several[0]:
                shown[key] = statistics.median(run[key] for run in several)
        line = f"  {name:32s} {shown['seconds']['median']:8.2f} s   compile {shown['compile_seconds']:5.1f} s"
        if "ess" in shown:
            per_second = [run["ess"] / run["seconds"] for run in several]
            per_gradient = [run["ess"] / run["gradients"] for run in several]
            shown["ess_per_second"], shown["ess_per_gradient"] = map(_harness.summary, (per_second, per_gradient))
            line += f"   ess {shown['ess']:7.0f}   {shown['ess_per_second']['median']:8.1f} a second"
            line += f"   {1e3 * shown['ess_per_gradient']['median']:6.3f} a thousand gradients"
        if "steps" in shown:
            line += f"   {shown['steps'] / shown['seconds']['median']:10.0f} steps a second"
        print(line)
    for other in runs:
        if other == own:
            continue
        paired = [b["seconds"] / a["seconds"] for a, b in zip(runs[own], runs[other], strict=True)]
        kinds = {"seconds": paired}
        if "steps" in runs[own][0]:
            kinds = {
                "steps a second": [
                    t * a["steps"] / b["steps"] for t, a, b in zip(paired, runs[own], runs[other], strict=True)
                ]
            }
        if "ess" in runs[own][0]:
            kinds["ess a second"] = [
                t * a["ess"] / b["ess"] for t, a, b in zip(paired, runs[own], runs[other], strict=True)
            ]
            kinds["ess a gradient"] = [
                a["ess"] / a["gradients"] * b["gradients"] / b["ess"]
                for a, b in zip(runs[own], runs[other], strict=True)
            ]
        for kind, values in kinds.items():
            ratio = found["ratios"][f"{own} over {other}, {kind}"] = _harness.summary(values)
            print(f"  {kind}: {own} is {ratio['median']:.2f} times {other} (quartiles {ratio['quartiles']})")
    return found


# The problem ----------------------------------------------------------------------------------------------------------


def _data():
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((NUM_DATA + NUM_TEST, NUM_INPUTS)).astype("float32")
    y = np.sin(x[:, :1] + x[:, 1:2]) + NOISE_STD * rng.standard_normal((len(x), 1))
    return x[:NUM_DATA], y[:NUM_DATA].astype("float32"), x[NUM_DATA:]


def _problem(width):
    """(posterior, starts of so many chains, test inputs)."""
    import jax

    import dlmath as dm

    x, y, x_test = _data()
    model = dm.models.mlp([width], 1, activation="tanh", parameterization="standard")
    prior, likelihood = dm.bnn.priors.normal(PRIOR_STD), dm.bnn.likelihoods.gaussian(NOISE_STD)
    posterior = dm.bnn.posterior(model.apply, prior, likelihood, (x, y))
    params = model.init(jax.random.key(0), x)
    return posterior, lambda number: dm.bnn.sample_prior(jax.random.key(1), posterior, params, number), x_test


def _effective(posterior, params, x_test):
    """The smallest effective number of draws of the predictions, from draws with leading axes [chain, draw]."""
    import jax
    import numpy as np
    from numpyro.diagnostics import effective_sample_size

    outputs = jax.jit(jax.vmap(jax.vmap(lambda p: posterior.outputs(p, x_test)[:, 0])))(params)
    return float(np.min(effective_sample_size(np.asarray(outputs))))


# NUTS -----------------------------------------------------------------------------------------------------------------


def _nuts(width, num_chains=NUM_CHAINS, num_draws=NUM_DRAWS, num_warmup=NUM_WARMUP, chains="together"):
    """Chains as `bnn.nuts` runs them ("together"), by one `vmap`, or in turn."""
    import jax
    import numpy as np

    import dlmath as dm

    posterior, starts, x_test = _problem(width)
    params = starts(num_chains)
    run = lambda key, start: dm.bnn.nuts(key, posterior, start, num_draws=num_draws, num_warmup=num_warmup)
    side_by_side = jax.jit(run)
    keys = iter(range(10_000))

    def sampled(key):
        if chains == "together":
            return run(key, params)
        if chains == "vmap":
            return side_by_side(key, params)
        one = lambda i: jax.tree.map(lambda leaf: leaf[i : i + 1], params)
        parts = [jax.block_until_ready(run(jax.random.fold_in(key, i), one(i))) for i in range(num_chains)]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def measured():
        start, start_cpu = time.perf_counter(), time.process_time()
        samples = jax.block_until_ready(sampled(jax.random.key(next(keys))))
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        gradients = float(np.sum(samples.stats["num_steps"])) * (num_draws + num_warmup) / num_draws
        ess = _effective(posterior, samples.params, x_test)
        return {"seconds": seconds, "cpu_seconds": cpu, "ess": ess, "gradients": gradients}

    return measured


def _numpyro(width):
    import jax
    import numpy as np
    from numpyro.infer import MCMC, NUTS

    posterior, starts, x_test = _problem(width)
    params = starts(NUM_CHAINS)
    mcmc = MCMC(
        NUTS(potential_fn=posterior.potential, step_size=0.1), num_warmup=NUM_WARMUP, num_samples=NUM_DRAWS,
        num_chains=NUM_CHAINS, chain_method="vectorized", progress_bar=False, jit_model_args=False,
    )  # fmt: skip
    keys = iter(range(10_000))

    def measured():
        start, start_cpu = time.perf_counter(), time.process_time()
        mcmc.run(jax.random.key(next(keys)), init_params=params, extra_fields=("num_steps",))
        samples = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        steps = np.sum(mcmc.get_extra_fields()["num_steps"])
        gradients = float(steps) * (NUM_DRAWS + NUM_WARMUP) / NUM_DRAWS
        ess = _effective(posterior, samples, x_test)
        return {"seconds": seconds, "cpu_seconds": cpu, "ess": ess, "gradients": gradients}

    return measured


def _blackjax(width):
    import blackjax
    import jax
    import numpy as np

    posterior, starts, x_test = _problem(width)
    params = starts(NUM_CHAINS)
    density = lambda p: -posterior.potential(p)

    @jax.jit
    @jax.vmap
    def run(key, start):
        warmup, sampling = jax.random.split(key)
        adaptation = blackjax.window_adaptation(blackjax.nuts, density, initial_step_size=0.1)
        (state, settings), _ = adaptation.run(warmup, start, num_steps=NUM_WARMUP)
        kernel = blackjax.nuts(density, **settings).step

        def draw(state, key):
            state, info = kernel(key, state)
            return state, (state.position, info.num_integration_steps)

        return jax.lax.scan(draw, state, jax.random.split(sampling, NUM_DRAWS))[1]

    keys = iter(range(10_000))

    def measured():
        start, start_cpu = time.perf_counter(), time.process_time()
        samples, steps = jax.block_until_ready(run(jax.random.split(jax.random.key(next(keys)), NUM_CHAINS), params))
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        gradients = float(np.sum(steps)) * (NUM_DRAWS + NUM_WARMUP) / NUM_DRAWS
        ess = _effective(posterior, samples, x_test)
        return {"seconds": seconds, "cpu_seconds": cpu, "ess": ess, "gradients": gradients}

    return measured


# SGLD -----------------------------------------------------------------------------------------------------------------


def _sgld(width):
    import jax

    import dlmath as dm

    posterior, starts, _ = _problem(width)
    params = starts(1)
    num_draws = 100

    def run():
        samples = dm.bnn.sgld(
            jax.random.key(0), posterior, params, num_draws=num_draws, num_warmup=0,
            thinning=SGLD["num_steps"] // num_draws, step_size=SGLD["step_size"], batch_size=SGLD["batch_size"],
        )  # fmt: skip
        jax.block_until_ready(samples.params)
        return {"steps": SGLD["num_steps"]}

    return run


def _posteriors(width):
    import posteriors
    import torch

    torch.manual_seed(0)
    x, y, _ = map(torch.as_tensor, _data())
    model = torch.nn.Sequential(torch.nn.Linear(NUM_INPUTS, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    params = {name: value.detach().clone() for name, value in model.named_parameters()}

    def log_posterior(params, batch):
        inputs, targets = batch
        outputs = torch.func.functional_call(model, params, (inputs,))
        log_likelihood = -0.5 * ((targets - outputs) / NOISE_STD).square().mean() * NUM_DATA
        log_prior = sum(-0.5 * (value / PRIOR_STD).square().sum() for value in params.values())
        return log_likelihood + log_prior, outputs

    transform = posteriors.sgmcmc.sgld.build(log_posterior, lr=SGLD["step_size"])
    # A tenth of the steps: the time of a step does not depend on their number.
    num_steps = SGLD["num_steps"] // 10

    def run():
        state = transform.init(params)
        for _ in range(num_steps):
            rows = torch.randint(NUM_DATA, (SGLD["batch_size"],))
            state, _ = transform.update(state, (x[rows], y[rows]))
        return {"steps": num_steps}

    return run


# Ensembles ------------------------------------------------------------------------------------------------------------


def _ensemble(width):
    import jax

    import dlmath as dm

    posterior, starts, _ = _problem(width)
    params = starts(ENSEMBLE["members"])

    def run():
        found = dm.bnn.ensemble(
            jax.random.key(0), posterior, params, num_steps=ENSEMBLE["num_steps"],
            learning_rate=ENSEMBLE["learning_rate"],
        )  # fmt: skip
        jax.block_until_ready(found.params)
        return {"steps": ENSEMBLE["members"] * ENSEMBLE["num_steps"]}

    return run


def _loops(width, *, compiled):
    import jax
    import jax.numpy as jnp
    import optax

    posterior, starts, _ = _problem(width)
    params = starts(ENSEMBLE["members"])
    adam = optax.adam(ENSEMBLE["learning_rate"])

    def step(carry):
        params, state = carry
        slope = jax.grad(lambda p: posterior.potential(p) / NUM_DATA)(params)
        moves, state = adam.update(slope, state)
        return optax.apply_updates(params, moves), state

    one_step = jax.jit(step)

    @jax.jit
    def all_steps(start):
        run = lambda start: jax.lax.fori_loop(
            0, ENSEMBLE["num_steps"], lambda _, carry: step(carry), (start, adam.init(start))
        )
        return jax.lax.map(run, start)

    def run():
        if compiled:
            jax.block_until_ready(all_steps(params))
        else:
            for i in range(ENSEMBLE["members"]):
                start = jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), params)
                carry = start, adam.init(start)
                for _ in range(ENSEMBLE["num_steps"]):
                    carry = one_step(carry)
                jax.block_until_ready(carry)
        return {"steps": ENSEMBLE["members"] * ENSEMBLE["num_steps"]}

    return run


MAKERS = {
    "bnn.nuts": _nuts,
    "numpyro": _numpyro,
    "blackjax": _blackjax,
    "bnn.nuts, 32 chains": lambda width: _nuts(width, MANY_CHAINS, FEW_DRAWS, FEW_DRAWS),
    "bnn.nuts, 32 chains by vmap": lambda width: _nuts(width, MANY_CHAINS, FEW_DRAWS, FEW_DRAWS, "vmap"),
    "bnn.nuts, 32 chains in turn": lambda width: _nuts(width, MANY_CHAINS, FEW_DRAWS, FEW_DRAWS, "in turn"),
    "bnn.sgld": _sgld,
    "posteriors": _posteriors,
    "bnn.ensemble": _ensemble,
    "compiled loop": lambda width: _loops(width, compiled=True),
    "Python loop of jitted steps": lambda width: _loops(width, compiled=False),
}


if __name__ == "__main__":
    import json

    options = json.loads(sys.argv[sys.argv.index("--worker") + 1])
    _harness.work(MAKERS[options["contender"]](options["width"]))
