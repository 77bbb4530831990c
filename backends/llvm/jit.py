"""LLVM IR text to native code in this process, through the on-disk object cache.

Compiling is serial within a process: one lock guards LLVM, also across `fork`.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Literal, NoReturn, TypeVar

from ...plugin import FileCache, cache_key
from .cache import default_cache
from .target import Target, host_target, llvm

Result = TypeVar("Result")

# Re-entrant, because the hooks below take it around `fork`, which may run while this thread compiles.
_lock: Final = threading.RLock()
# A child of `fork` must not inherit the lock of a thread that it does not have.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class CompileError(RuntimeError):
    """LLVM refused the code: `stage` (parse, verify, emit, link) says where, `ir` is the whole text."""

    def __init__(self, stage: str, message: str, ir: str) -> None:
        super().__init__(f"LLVM {stage} failed: {message.strip()}")
        self.stage = stage
        self.message = message
        self.ir = ir


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile: `speed_level` 0 to 3 as in `-O`; `vectorize` allows LLVM's loop and SLP vectorisers, `unroll`
    its loop unrolling.

    Code that already names its vectors and unrolls itself compiles faster without them.
    """

    speed_level: int = 3
    vectorize: bool = True
    unroll: bool = True

    def key(self) -> str:
        """Everything in here that changes the object."""
        return f"O{self.speed_level} vectorize={self.vectorize} unroll={self.unroll}"


class Module:
    """Native code in memory; it stays there as long as this object lives, so keep it with every address."""

    __slots__ = ("__weakref__", "_addresses", "_session", "_tracker", "compile_seconds", "from_cache", "key")

    def __init__(
        self, key: str, addresses: dict[str, int], tracker: Any, session: _Session, *, from_cache: bool, seconds: float
    ) -> None:
        self.key = key
        self.from_cache = from_cache
        self.compile_seconds = seconds
        self._addresses = addresses
        self._tracker = tracker
        self._session = session

    def address(self, symbol: str) -> int:
        """Native address of `symbol`, which must be one of the symbols asked for; KeyError otherwise."""
        return self._addresses[symbol]


class _Session:
    """One linker for the process and the target machine that objects are made for."""

    def __init__(self, target: Target) -> None:
        binding = llvm()
        self.target = target
        machine_target = binding.Target.from_triple(target.triple)
        options = {"cpu": target.cpu, "features": target.features, "codemodel": "small", "reloc": "pic", "jit": True}
        self.machine: Any = machine_target.create_target_machine(opt=3, **options)
        # The linker takes its target machine over: it needs one of its own.
        # JITLink puts all sections of an object side by side, which the small code model needs.
        self.linker: Any = binding.create_lljit_compiler(
            machine_target.create_target_machine(opt=3, **options), use_jit_link=True, suppress_errors=True
        )
        self.data_layout = str(self.machine.target_data)
        self.names = itertools.count()


_modules: Final[weakref.WeakValueDictionary[str, Module]] = weakref.WeakValueDictionary()


def compile_ir(
    ir_text: str,
    symbols: Sequence[str],
    options: CompileOptions = CompileOptions(),
    *,
    cache: FileCache | Literal["default"] | None = "default",
) -> Module:
    """Compile `ir_text` for this machine and look `symbols` up in it.

    The same text and options give the same `Module` while somebody holds it. `cache=None` keeps the disk
    out of it. Raises `CompileError`, with the text, where LLVM refuses. Functions of the C library may be
    called by name.
    """
    return _uninterrupted(lambda: _compile(ir_text, symbols, options, cache))


def _compile(
    ir_text: str, symbols: Sequence[str], options: CompileOptions, cache: FileCache | Literal["default"] | None
) -> Module:
    target = host_target()
    key = object_key(ir_text, target, options)
    store = default_cache() if cache == "default" else cache
    with _lock:
        known = _modules.get(key)
        if known is not None and all(symbol in known._addresses for symbol in symbols):
            return known
        module = _load(key, ir_text, symbols, options, store)
        _modules[key] = module
        return module


def _uninterrupted(work: Callable[[], Result]) -> Result:
    """Do work with LLVM where no KeyboardInterrupt comes: not in the main thread.

    Between a native call that frees an object and the note that it is free, an interrupt makes llvmlite free it twice;
    later code crashed or ran for ever. Who is interrupted here leaves, and the work goes on to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    answer: SimpleQueue[Callable[[], Result]] = SimpleQueue()  # written in C: to interrupt its wait is safe

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            answer.put(functools.partial(_raise, error))
        else:
            answer.put(lambda: result)

    threading.Thread(target=run, name="opmux-llvm-compiler", daemon=True).start()
    return answer.get()()


def _raise(error: BaseException) -> NoReturn:
    raise error


def object_key(ir_text: str, target: Target, options: CompileOptions) -> str:
    """Digest of everything that the object depends on."""
    return cache_key(
        ir_text,
        target.llvm_version,
        target.llvmlite_version,
        target.triple,
        target.cpu,
        target.features,
        options.key(),
    )


def assembly(ir_text: str, options: CompileOptions = CompileOptions()) -> str:
    """The assembly that `compile_ir` would run, for reading and for tests that look for an instruction."""

    def emit() -> str:
        with _lock:
            session = _get_session()
            with _optimised(session, ir_text, options) as optimised:
                return str(session.machine.emit_assembly(optimised))

    return _uninterrupted(emit)


@functools.cache
def _get_session() -> _Session:
    return _Session(host_target())


def _load(key: str, ir_text: str, symbols: Sequence[str], options: CompileOptions, store: FileCache | None) -> Module:
    started = time.perf_counter()
    session = _get_session()
    stored = store.get(key) if store is not None else None
    linked = None
    if stored is not None:
        try:
            linked = _link(session, key, stored, symbols, ir_text)
        except CompileError:
            # The digest was right, so the writer was wrong: compile as if nothing had been stored.
            stored = None
    if linked is None:
        with _optimised(session, ir_text, options) as optimised:
            try:
                emitted: bytes = session.machine.emit_object(optimised)
            except RuntimeError as error:
                raise CompileError("emit", str(error), ir_text) from error
        linked = _link(session, key, emitted, symbols, ir_text)
        if store is not None:
            store.put(key, emitted)
    addresses = {symbol: int(linked[symbol]) for symbol in symbols}
    seconds = time.perf_counter() - started
    return Module(key, addresses, linked, session, from_cache=stored is not None, seconds=seconds)


@contextmanager
def _optimised(session: _Session, ir_text: str, options: CompileOptions) -> Iterator[Any]:
    """The optimised LLVM module, which is gone after the block.

    Closed here and in this order: the garbage collector may take a context before its module, and crash.
    """
    binding = llvm()
    with closing(binding.create_context()) as context:
        try:
            parsed = binding.parse_assembly(ir_text, context)
        except RuntimeError as error:
            raise CompileError("parse", str(error), ir_text) from error
        with closing(parsed) as module:
            module.triple = session.target.triple
            module.data_layout = session.data_layout
            try:
                module.verify()
            except RuntimeError as error:
                raise CompileError("verify", str(error), ir_text) from error
            tuning = binding.create_pipeline_tuning_options(options.speed_level)
            tuning.loop_vectorization = options.vectorize
            tuning.slp_vectorization = options.vectorize
            tuning.loop_unrolling = options.unroll
            with (
                closing(tuning),
                closing(binding.create_pass_builder(session.machine, tuning)) as builder,
                closing(builder.getModulePassManager()) as passes,
            ):
                passes.run(module, builder)
            yield module


def _link(session: _Session, key: str, image: bytes, symbols: Sequence[str], ir_text: str) -> Any:
    binding = llvm()
    library = binding.JITLibraryBuilder().add_object_img(image).add_current_process()
    for symbol in symbols:
        library.export_symbol(symbol)
    try:
        # A library name can never be used again, even after the library is gone.
        return library.link(session.linker, f"opmux-{next(session.names)}-{key[:16]}")
    except RuntimeError as error:
        raise CompileError("link", str(error), ir_text) from error
