"""The service provider interface: all that a backend may import from opmux.

A backend is a module named by an entry point in the group ``opmux.backends``. It implements, with
:data:`hookimpl`, whichever of the hooks of :class:`Hooks` it needs, and ships a static manifest
``opmux-backend.toml`` beside the module, which opmux reads without importing anything.

>>> from opmux.plugin import Kernel, Prepared, hookimpl
>>> def prepare(spec):
...     return Prepared(lambda outs, ins, workspace, queue: None)
>>> @hookimpl
... def opmux_kernels():
...     return [Kernel("exp", "exp", "acme", prepare)]
"""

from __future__ import annotations

from .core import dtypes
from .core.arrays.array import Array
from .core.collectives.communicator import Communicator, Endpoint, Link, NativeStart, Ticket
from .core.collectives.layout import Layout as ChunkLayout
from .core.collectives.links import Links as LinkModel
from .core.collectives.links import Message, Ring, Switch, TwoLevel
from .core.collectives.meeting import launched
from .core.collectives.price import Rates as RankRates
from .core.collectives.schedule import INPUT, OUTPUT, Schedule, Step, Transfer
from .core.devices.device import Device
from .core.devices.driver import DeviceDriver, DeviceInfo, HostBytes, PeerDriver, Rates, Replay, ReplayingDriver
from .core.devices.host import usable_cpus
from .core.devices.status import Completion
from .core.devices.threads import run_all, thread_count
from .core.dispatch.calllog import CallLog, LoggedArray, LoggedBuffer, LoggedCall, read_call_log
from .core.errors import ArgumentError, CollectiveError, DeviceError, DeviceLostError, KernelError, OutOfMemoryError
from .core.filecache import FileCache, cache_key, cache_root
from .core.graphs.graph import Graph, Metadata, Node, Refusal, RegionCompiler
from .core.graphs.steps import CallStep, Steps, decomposed, with_casts
from .core.hooks import SPI_VERSION, Hooks, hookimpl
from .core.kernel import (
    Accepts,
    ArraySpec,
    CallSpec,
    Contract,
    CostTerms,
    Determinism,
    Kernel,
    Launch,
    Layout,
    NativeEntry,
    Prepare,
    Prepared,
    Promises,
    Reason,
    Rejection,
)
from .core.nests import Nest, Walk, collapse, merge
from .core.op import Op
from .core.rounding import rounded
from .core.signature import Signature, signature
from .opset import on_host, orders
from .opset.collectives.combine import Combine, combine_of
from .opset.collectives.scale import LayerWork
from .opset.lowered import ARITHMETIC, CANONICAL, WORDS, copy_program, word
from .opset.recipes import program as programs
from .opset.recipes.evaluate import evaluate
from .opset.recipes.fuse import Fused, View, fuse, relabelled, whole
from .opset.recipes.program import Code, Instruction, Program
from .opset.recipes.registry import ops_with_recipes, recipe_of
from .opset.recipes.registry import program as recipe
from .opset.recipes.writing import build as build_program

__all__ = [
    "ARITHMETIC",
    "CANONICAL",
    "INPUT",
    "OUTPUT",
    "SPI_VERSION",
    "Accepts",
    "ArgumentError",
    "Array",
    "ArraySpec",
    "CallLog",
    "CallSpec",
    "CallStep",
    "ChunkLayout",
    "Code",
    "Combine",
    "CollectiveError",
    "Communicator",
    "Completion",
    "Contract",
    "CostTerms",
    "Device",
    "Determinism",
    "DeviceDriver",
    "DeviceError",
    "DeviceInfo",
    "DeviceLostError",
    "Endpoint",
    "FileCache",
    "Fused",
    "Graph",
    "Hooks",
    "HostBytes",
    "Instruction",
    "Kernel",
    "KernelError",
    "Launch",
    "LayerWork",
    "Layout",
    "Link",
    "LinkModel",
    "LoggedArray",
    "LoggedBuffer",
    "LoggedCall",
    "Message",
    "Metadata",
    "NativeEntry",
    "NativeStart",
    "Nest",
    "Node",
    "Op",
    "OutOfMemoryError",
    "PeerDriver",
    "Prepare",
    "Prepared",
    "Program",
    "Promises",
    "RankRates",
    "Rates",
    "Reason",
    "Refusal",
    "RegionCompiler",
    "Rejection",
    "Replay",
    "ReplayingDriver",
    "Ring",
    "Schedule",
    "Signature",
    "Step",
    "Steps",
    "Switch",
    "Ticket",
    "Transfer",
    "TwoLevel",
    "View",
    "WORDS",
    "Walk",
    "build_program",
    "combine_of",
    "cache_key",
    "cache_root",
    "collapse",
    "copy_program",
    "decomposed",
    "dtypes",
    "evaluate",
    "fuse",
    "hookimpl",
    "merge",
    "launched",
    "on_host",
    "ops_with_recipes",
    "orders",
    "programs",
    "read_call_log",
    "recipe",
    "recipe_of",
    "relabelled",
    "rounded",
    "run_all",
    "signature",
    "thread_count",
    "usable_cpus",
    "whole",
    "with_casts",
    "word",
]
