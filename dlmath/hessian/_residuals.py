"""Which residuals of a linearised function are one and the same, found in the program that computes them."""

import functools
from typing import Any

from jax.extend import core


@functools.lru_cache(maxsize=64)
def repeats(jaxpr: Any) -> tuple[int, ...]:
    """For every output of a program, the first output that is computed in the same way.

    Forward over reverse differentiates a program that was itself derived: what both passes keep, such as the patches
    of a convolution, is computed and kept twice. XLA merges such repetitions within one program, not among its
    outputs. Equal are values of equations with the same primitive, parameters and equal inputs (value numbering).

    Args:
        jaxpr: a closed jaxpr, as in `jax.jit(f).trace(x).jaxpr`.

    Cost: linear in the equations; computed once a program.
    """
    return _first_outputs(jaxpr.jaxpr, {})


def _first_outputs(jaxpr: Any, known: dict[Any, int]) -> tuple[int, ...]:
    number_of = {variable: _new(known) for variable in (*jaxpr.invars, *jaxpr.constvars)}
    outputs = _numbers(jaxpr, number_of, known)
    return tuple(outputs.index(number) for number in outputs)


def _numbers(jaxpr: Any, number_of: dict[Any, int], known: dict[Any, int]) -> list[int]:
    """Numbers of the outputs, equal where the values are; `known` maps what was computed to its number."""
    read = lambda atom: known.setdefault(_literal(atom), len(known)) if _is_literal(atom) else number_of[atom]
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        inner = equation.params.get("jaxpr")
        if equation.primitive.name in ("jit", "pjit") and not inner.consts:
            # What a nested program computes is compared, not its name.
            found = _numbers(inner.jaxpr, dict(zip(inner.jaxpr.invars, inputs, strict=True)), known)
        else:
            key = _key(equation)
            found = [
                _new(known) if key is None else known.setdefault((key, tuple(inputs), position), len(known))
                for position in range(len(equation.outvars))
            ]
        number_of.update(zip(equation.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _new(known: dict[Any, int]) -> int:
    return known.setdefault(object(), len(known))


def _is_literal(atom: Any) -> bool:
    return isinstance(atom, core.Literal)


def _literal(atom: Any) -> Any:
    return ("literal", str(atom.aval), repr(atom.val)) if not getattr(atom.val, "shape", ()) else object()


def _key(equation: Any) -> Any:
    """What an equation computes, given its inputs; None where that cannot be told."""
    if equation.effects:
        return None
    try:
        parameters = frozenset((name, _parameter(value)) for name, value in equation.params.items())
    except TypeError:  # unhashable
        return None
    return equation.primitive.name, parameters


def _parameter(value: Any) -> Any:
    if isinstance(value, core.ClosedJaxpr):
        return str(value.jaxpr), tuple(map(id, value.consts))
    if isinstance(value, core.Jaxpr):
        return str(value)
    if isinstance(value, tuple | list):
        return tuple(map(_parameter, value))
    hash(value)
    return value
