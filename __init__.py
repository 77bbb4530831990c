"""opmux: one small opset, many backends. The top-level namespace follows the Array API standard.

>>> import opmux as ox
>>> x = ox.asarray([[1.0, 2.0], [3.0, 4.0]])
>>> (x @ x).tolist()
[[7.0, 10.0], [15.0, 22.0]]
"""

from __future__ import annotations

from math import e, inf, nan, pi

from .core.arrays.array import Array
from .core.arrays.creation import asarray, from_dlpack
from .core.arrays.defaults import set_device as set_default_device
from .core.arrays.defaults import set_float_dtype as set_default_float_dtype
from .core.arrays.dlpack import ExportError
from .core.arrays.metadata import (
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
from .core.collectives.handle import Handle
from .core.collectives.mesh import Mesh
from .core.devices.device import Device
from .core.devices.device import find_device as device
from .core.devices.queues import Queue, use_queue
from .core.dispatch.explain import explain
from .core.dispatch.fallback import fallback_counts, reset_fallback_counts
from .core.dispatch.observe import count_calls, record_calls
from .core.dispatch.observe import on as _switched_on
from .core.dispatch.policy import policy
from .core.dtypes import (
    DType,
    bfloat16,
    complex64,
    complex128,
    dtype,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .core.dtypes import bool_ as bool
from .core.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    CollectiveError,
    ConformanceError,
    ConsumedError,
    DeviceError,
    DeviceLostError,
    DTypeError,
    FallbackError,
    FallbackWarning,
    KernelError,
    OpmuxError,
    OutOfMemoryError,
    PluginError,
    PluginWarning,
    ShapeError,
    UnsupportedError,
)
from .core.graphs.compile import compile
from .opset.collectives.messages import barrier, recv, send
from .opset.collectives.ops import all_gather, all_reduce, all_to_all, broadcast, permute, reduce_scatter
from .opset.declare import VERSION as OPSET_VERSION
from .opset.dtype_functions import astype, can_cast, finfo, iinfo, isdtype, result_type
from .opset.inspection import API_VERSION as __array_api_version__
from .opset.inspection import __array_namespace_info__, devices
from .opset.namespace import (
    Generator,
    abs,
    acos,
    acosh,
    add,
    all,
    any,
    arange,
    argmax,
    argmin,
    argsort,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    attention,
    avg_pool,
    bitcast,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    cast,
    cbrt,
    ceil,
    clip,
    complex,
    concat,
    conj,
    conv,
    copy,
    copysign,
    cos,
    cosh,
    cumulative_prod,
    cumulative_sum,
    divide,
    empty,
    empty_like,
    equal,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    eye,
    floor,
    floor_divide,
    fma,
    full,
    full_like,
    gather,
    gelu,
    greater,
    greater_equal,
    hypot,
    imag,
    iota,
    isfinite,
    isinf,
    isnan,
    layer_norm,
    less,
    less_equal,
    linear,
    linspace,
    log,
    log1p,
    log2,
    log10,
    log_softmax,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    logsumexp,
    matmul,
    max,
    max_pool,
    maximum,
    mean,
    meshgrid,
    min,
    minimum,
    multiply,
    negative,
    nextafter,
    nonzero,
    not_equal,
    one_hot,
    ones,
    ones_like,
    pack_int4,
    pad,
    positive,
    pow,
    prod,
    random_bits,
    real,
    reciprocal,
    relu,
    remainder,
    repeat,
    rms_norm,
    roll,
    round,
    rsqrt,
    scatter,
    searchsorted,
    sigmoid,
    sign,
    signbit,
    silu,
    sin,
    sinh,
    softmax,
    sort,
    sqrt,
    square,
    stack,
    std,
    subtract,
    sum,
    take,
    take_along_axis,
    tan,
    tanh,
    tile,
    tril,
    triu,
    trunc,
    unique_values,
    unpack_int4,
    var,
    where,
    zeros,
    zeros_like,
)

newaxis = None

if _switched_on("OPMUX_CHECK"):
    from .conformance.check import install as _install_check

    _install_check()

if _switched_on("OPMUX_RECORD"):
    from .core.dispatch.record import record_from_environment as _record

    _record()
