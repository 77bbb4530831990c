"""Philox4x32-10 as LLVM IR (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11, table 2).

The entry is `int f(void **buffers, const void *params, void *queue)`: `buffers` are the key (2 words), the counter
(4 words) and the output, all uint32. `params` is one int64: the number of words of the output.
"""

from __future__ import annotations

from typing import Final

from .ir import Function, module_text
from .jit import CompileOptions

ENTRY: Final = "f"
#: The blocks are independent; LLVM puts several into a vector.
OPTIONS: Final = CompileOptions(speed_level=2, vectorize=True, unroll=False)

_ROUNDS: Final = 10
_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)


def generate() -> str:
    """The IR module; its entry is `f`."""
    f = Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")
    words = f.load("i64", "%params", 8)
    key, counter, out = (f.load("ptr", f.address("%buffers", i, "ptr"), 8) for i in range(3))
    keys = [f.load("i32", f.address(key, i, "i32"), 4) for i in range(2)]
    counters = [f.load("i32", f.address(counter, i, "i32"), 4) for i in range(4)]
    whole = f.value(f"lshr i64 {words}, 2")
    with f.loop(0, whole) as loop:
        first = f.mul(loop.index, 4)
        for i, word in enumerate(_block(f, loop.index, keys, counters)):
            f.store("i32", word, f.address(out, f.add(first, i), "i32"), 4)
    done = f.mul(whole, 4)
    for i, word in enumerate(_block(f, whole, keys, counters)):
        with f.when(f.compare(f.add(done, i), "<", words)):
            f.store("i32", word, f.address(out, f.add(done, i), "i32"), 4)
    f.emit("ret i32 0")
    return module_text([f])


def _block(f: Function, number: str, keys: list[str], counters: list[str]) -> list[str]:
    """The words of a block, counted from the first; the lowest two words of the counter are one number that wraps."""

    def wide(word: str) -> str:
        return f.value(f"zext i32 {word} to i64")

    def high(value: str) -> str:
        return f.value(f"trunc i64 {f.value(f'lshr i64 {value}, 32')} to i32")

    start = f.value(f"or i64 {f.value(f'shl i64 {wide(counters[1])}, 32')}, {wide(counters[0])}")
    low = f.value(f"add i64 {start}, {number}")
    c = [f.value(f"trunc i64 {low} to i32"), high(low), *counters[2:]]
    for turn in range(_ROUNDS):
        k = [f.value(f"add i32 {key}, {weyl * turn & 0xFFFFFFFF}") for key, weyl in zip(keys, _WEYL, strict=True)]
        p0, p1 = (f.value(f"mul i64 {wide(c[2 * i])}, {_MULTIPLIERS[i]}") for i in range(2))
        mixed = [
            f.value(f"xor i32 {f.value(f'xor i32 {high(p)}, {w}')}, {key}")
            for p, w, key in zip((p1, p0), c[1::2], k, strict=True)
        ]
        c = [mixed[0], f.value(f"trunc i64 {p1} to i32"), mixed[1], f.value(f"trunc i64 {p0} to i32")]
    return c
