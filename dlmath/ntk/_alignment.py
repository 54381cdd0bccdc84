"""Spectra of Gram matrices: eigenvalues, coefficients of a task, effective rank, alignment."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.ntk._gram_store import StoredGram

RANKS = ("entropy", "participation", "intrinsic")


class Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of K/n, from the largest on.

    Attributes:
        eigenvalues: λᵢ of K/n [n]: estimates of the eigenvalues of f ↦ E k(·, x) f(x).
        eigenvectors: orthonormal columns uᵢ [n, n]; √n uᵢ are values of the eigenfunctions at the inputs.
    """

    eigenvalues: Float[Array, "n"]
    eigenvectors: Float[Array, "n n"]


def spectrum(gram: Any) -> Spectrum:
    """The eigenvalues λᵢ and eigenvectors uᵢ of K/n, K uᵢ = n λᵢ uᵢ.

    Args:
        gram: K, symmetric and positive semi-definite [n, n].

    Returns:
        A Spectrum. Eigenvalues that rounding made negative are 0.

    Raises:
        ValueError: no square matrix, one that is not symmetric, or (outside jit and vmap) one with an eigenvalue below
            −10 n eps λ_max, which rounding does not explain.

    Cost: about 10 n³.

    >>> print(spectrum(jnp.diag(jnp.array([2.0, 4.0]))).eigenvalues)
    [2. 1.]
    """
    k = square("gram", gram)
    values, vectors = jnp.linalg.eigh((k + k.T) / 2)
    check_definite("gram", values)
    return Spectrum(jnp.maximum(values[::-1], 0) / len(k), vectors[:, ::-1])


def task_coefficients(spectrum: Spectrum, targets: Any) -> Float[Array, "n *o"]:
    """Coefficients vᵢ = uᵢᵀ y/√n of targets in the eigenvectors of a Gram matrix: Σ vᵢ² is the mean of y².

    With the eigenvalues of the same `spectrum` they are what `learning_curve` needs.

    Args:
        spectrum: as the function of that name returns it.
        targets: y [n] or [n, o].

    Raises:
        ValueError: as many targets as eigenvectors there are not.

    >>> s = spectrum(jnp.diag(jnp.array([2.0, 4.0])))
    >>> print(abs(task_coefficients(s, jnp.array([0.0, 2.0]))).round(4))
    [1.4142 0.    ]
    """
    y = check.array("targets", targets, ndim=(1, 2))
    check.same_length("spectrum", spectrum.eigenvectors, "targets", y)
    u = spectrum.eigenvectors
    return jnp.matmul(u.T, jnp.asarray(y, u.dtype), precision="highest") / len(u) ** 0.5


def effective_rank(spectrum: Any, *, kind: str = "entropy") -> Float[Array, ""]:
    """How many eigenvalues count: between 1 and n, and r for r equal ones.

    | kind | formula, pᵢ = λᵢ/Σλ |
    |---|---|
    | entropy | exp(−Σ pᵢ log pᵢ) (Roy & Vetterli 2007) |
    | participation | (Σ λᵢ)²/Σ λᵢ² |
    | intrinsic | Σ λᵢ/max λᵢ |

    Args:
        spectrum: a `Spectrum`, eigenvalues λᵢ ≥ 0 [n], or a Gram matrix [n, n].
        kind: one of these.

    Raises:
        ValueError: an unknown kind, or no positive eigenvalue.

    >>> print(effective_rank(jnp.array([3.0, 3.0, 0.0])).round(4))
    2.0
    """
    check.one_of("kind", kind, RANKS)
    values = spectrum.eigenvalues if isinstance(spectrum, Spectrum) else check.array("spectrum", spectrum, ndim=(1, 2))
    if values.ndim == 2:
        values = _spectrum(values).eigenvalues
    if not check.is_traced(values) and (np.min(values) < 0 or np.max(values) <= 0):
        raise ValueError(
            f"spectrum must hold non-negative eigenvalues, not all zero, got them from {float(np.min(values)):.3g} to "
            f"{float(np.max(values)):.3g}"
        )
    values = jnp.asarray(values)
    p = values / values.sum()
    if kind == "participation":
        return 1 / (p**2).sum()
    if kind == "intrinsic":
        return 1 / p.max()
    return jnp.exp(-jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0).sum())


_spectrum = spectrum


def alignment(gram: Any, targets: Any, *, centered: bool = True) -> Float[Array, ""]:
    """Kernel-target alignment ⟨K, yyᵀ⟩/(‖K‖ ‖yyᵀ‖) in the Frobenius inner product, between 0 and 1.

    1 for K ∝ yyᵀ. With `centered`, K and y are those of centred features: HKH and Hy with H = I − 11ᵀ/n.

    Args:
        gram: K, symmetric [n, n].
        targets: y [n] or [n, o]; yyᵀ sums over outputs.
        centered: whether the means over the n points are taken out.

    Raises:
        ValueError: wrong shapes.

    Cost: n² (o + 2).

    References:
        Cristianini et al. (2002), On kernel-target alignment; Cortes, Mohri, Rostamizadeh (2012), Algorithms for
        learning kernels based on centered alignment, JMLR 13, definition 4.

    >>> y = jnp.array([1.0, -1.0, 2.0])
    >>> print(alignment(jnp.outer(y, y), y).round(6))
    1.0
    """
    k = square("gram", gram)
    y = check.array("targets", targets, ndim=(1, 2))
    check.same_length("gram", k, "targets", y)
    y = jnp.asarray(y, k.dtype).reshape(len(k), -1)
    if centered:
        k, y = _centered(k), y - y.mean(0)
    along = jnp.einsum("io,ij,jo->", y, k, y, precision="highest")
    return _ratio(along, jnp.linalg.norm(k) * jnp.linalg.norm(jnp.matmul(y.T, y, precision="highest")))


def similarity(gram1: Any, gram2: Any, *, centered: bool = True) -> Float[Array, ""]:
    """Alignment ⟨K₁, K₂⟩/(‖K₁‖ ‖K₂‖) of two Gram matrices; centred, it is linear CKA of their features.

    Args:
        gram1: K₁, symmetric [n, n].
        gram2: K₂, likewise.
        centered: whether features are centred over the n points.

    Raises:
        ValueError: wrong shapes.

    >>> print(similarity(jnp.eye(3), 2 * jnp.eye(3)).round(6))
    1.0
    """
    one, two = square("gram1", gram1), square("gram2", gram2)
    check.same_length("gram1", one, "gram2", two)
    if centered:
        one, two = _centered(one), _centered(two)
    return _ratio((one * two).sum(), jnp.linalg.norm(one) * jnp.linalg.norm(two))


def square(argument: str, gram: Any) -> Any:
    """A Gram matrix as a floating array; ValueError unless it is square and symmetric to rounding."""
    k = check.array(argument, in_memory(gram), ndim=2)
    if k.shape[0] != k.shape[1]:
        raise ValueError(f"{argument} must be a square matrix [n, n], got shape {tuple(k.shape)}")
    floating = jnp.issubdtype(k.dtype, jnp.floating)
    if not check.is_traced(k):
        values = np.asarray(k, float)
        gap, size = np.abs(values - values.T).max(), np.abs(values).max()
        if gap > 1000 * float(jnp.finfo(k.dtype if floating else float).eps) * size:
            raise ValueError(f"{argument} must be symmetric, got entries that differ by {gap:.3g} from their mirror")
    k = jnp.asarray(k)
    return k if floating else k.astype(float)


def in_memory(gram: Any) -> Any:
    """A Gram matrix as it is, or read from its store, once."""
    return np.asarray(gram) if isinstance(gram, StoredGram) else gram


def check_definite(argument: str, eigenvalues: Any) -> None:
    """Raises ValueError for a negative eigenvalue that rounding does not explain; traced values pass."""
    if check.is_traced(eigenvalues):
        return
    smallest, largest = float(eigenvalues.min()), float(eigenvalues.max())
    if smallest < -10 * len(eigenvalues) * float(jnp.finfo(eigenvalues.dtype).eps) * abs(largest):
        raise ValueError(
            f"{argument} must be positive semi-definite, got smallest eigenvalue {smallest:.3g} (largest {largest:.3g}); "
            "compute the kernel in float64, or add a multiple of the identity"
        )


def _centered(k: Any) -> Any:
    rows = k.mean(0)
    return k - rows[None] - rows[:, None] + rows.mean()


def _ratio(value: Any, scale: Any) -> Any:
    return jnp.where(scale > 0, value / jnp.where(scale > 0, scale, 1), jnp.zeros_like(value))
