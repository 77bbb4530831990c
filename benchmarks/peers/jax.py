"""JAX on the CPU; each call waits for its result, as every other peer does."""

from __future__ import annotations

import functools
from typing import Any, Final

import jax
import jax.numpy as jnp
from numpy.typing import NDArray

from ..case import Case
from ..errors import UnsupportedCaseError
from ..kinds import CHAIN_PAIRS, result_dtype
from .base import AsGiven, Build, Calls, Function, Program, build, chain, same, versions_of


def _along_axis(function: Function) -> Build:
    return lambda case: functools.partial(function, axis=case.get("axis"))


def _argmax(case: Case) -> Function:
    axis = case.get("axis")
    return lambda x: jnp.argmax(x, axis=axis)


TABLE: Final[dict[str, Build]] = {
    "exp": same(jnp.exp),
    "tanh": same(jnp.tanh),
    "sin": same(jnp.sin),
    "log": same(jnp.log),
    "add": same(jnp.add),
    "multiply": same(jnp.multiply),
    "muladd": same(lambda a, b, c: a * b + c),
    "gelu": same(functools.partial(jax.nn.gelu, approximate=True)),
    "where": same(jnp.where),
    "cast": lambda case: lambda x: x.astype(result_dtype(case)),
    "sum": _along_axis(jnp.sum),
    "mean": _along_axis(jnp.mean),
    "max": _along_axis(jnp.max),
    "argmax": _argmax,
    "softmax": same(jax.nn.softmax),
    "matmul": same(jnp.matmul),
    "chain": same(chain(jnp.multiply, jnp.add, CHAIN_PAIRS)),
}


class JaxPeer:
    """JAX with 64-bit types on; a compiled case is one jitted function."""

    def __init__(self) -> None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)

    def versions(self) -> dict[str, str]:
        """Return the versions of JAX and its compiler."""
        return versions_of("jax", "jaxlib")

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return a case made ready."""
        if case.get("out"):
            raise UnsupportedCaseError("JAX has no out=")
        function = build(TABLE, case, "jax")
        if case.style == "compiled":
            function = jax.jit(function)
        operands = as_given(case, tuple(jnp.asarray(x) for x in stored))
        return Calls(_waited(function, len(operands)), operands)


def _waited(function: Function, count: int) -> Function:
    """Return the function with a wait after it: work queued by several calls would otherwise overlap."""
    waited: dict[int, Function] = {
        1: lambda a: function(a).block_until_ready(),
        2: lambda a, b: function(a, b).block_until_ready(),
        3: lambda a, b, c: function(a, b, c).block_until_ready(),
    }
    return waited[count]


def peer(backend: str | None) -> JaxPeer:
    """Return the peer."""
    return JaxPeer()
