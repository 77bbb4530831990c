"""The opset as a namespace: every public function by its name. Decompositions are written over it."""

# ruff: noqa: F401 - names only

from __future__ import annotations

from ..core.arrays.creation import asarray, from_dlpack
from ..core.arrays.metadata import (
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    flip,
    matrix_transpose,
    moveaxis,
    permute_dims,
    reshape,
    squeeze,
)
from . import operators
from .activations import clip, gelu, layer_norm, log_softmax, relu, rms_norm, sigmoid, silu, softmax
from .arithmetic import (
    abs,
    add,
    copysign,
    divide,
    floor_divide,
    fma,
    maximum,
    minimum,
    multiply,
    negative,
    nextafter,
    positive,
    pow,
    reciprocal,
    remainder,
    sign,
    square,
    subtract,
)
from .attention import attention, linear, one_hot
from .bitwise import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
)
from .casting import bitcast, cast
from .comparison import (
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    not_equal,
    signbit,
    where,
)
from .complex import complex_ as complex
from .complex import conj, imag, real
from .contraction import matmul
from .convolution import conv
from .creation import full, iota, random_bits
from .creators import (
    arange,
    empty,
    empty_like,
    eye,
    full_like,
    linspace,
    meshgrid,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from .data_dependent import nonzero, unique_values
from .exponential import (
    cbrt,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    hypot,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    rsqrt,
    sqrt,
)
from .generator import Generator
from .indices import gather, scatter, take, take_along_axis
from .int4 import pack_int4, unpack_int4
from .movement import argsort, concat, copy, pad, searchsorted, sort
from .pooling import avg_pool, max_pool
from .reductions import all, any, argmax, argmin, max, min, prod, sum
from .rounding import ceil, floor, round, trunc
from .scans import cumulative_prod, cumulative_sum
from .selection import repeat, roll, stack, tile
from .statistics import logsumexp, mean, std, var
from .trigonometric import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    sin,
    sinh,
    tan,
    tanh,
)
