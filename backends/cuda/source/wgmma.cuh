// Matrix products of a warpgroup, 128 threads from a multiple of 128 on (PTX ISA, "wgmma"): a matrix of 64 rows from
// shared memory by one from there, 32 bytes of terms at a time, summed in registers. What needs an instruction of its
// own: the tests bring these functions in C++ instead.
//
// Lane l of warp w of the warpgroup has, of rows 16 w + l / 4 and 8 further, columns 8 j + l % 4 * 2 and the next: c[4 j],
// c[4 j + 1], then c[4 j + 2] and c[4 j + 3] of the second row.

// Where a matrix lies in lines of 128 bytes, groups of 8 lines being swizzled: a line has the terms of one row, or, where
// it lies ACROSS, 64 rows of one term. `next` is the distance in bytes of groups of 8 lines, `panel` that of panels of 64
// rows, which only the latter have.
__device__ __forceinline__ u64 matrix_descriptor(u32 at, u32 panel, u32 next) {
    constexpr u64 SWIZZLE_128 = 1;
    return (u64)((at & 0x3FFFF) >> 4) | (u64)(panel >> 4) << 16 | (u64)(next >> 4) << 32 | SWIZZLE_128 << 62;
}

// Orders the products that follow after accesses of this thread to their registers.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits for all products but those of the last N groups; until then nobody may touch their registers and operands.
template <int N> __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Gives registers of this warpgroup's threads back, or takes them; N are left of what the launch gave to each.
template <int N> __device__ __forceinline__ void registers_down() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> __device__ __forceinline__ void registers_up() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// Two sums as float16 or bfloat16, the first in the low half.
__device__ __forceinline__ u32 pair_of_f16(f32 low, f32 high) {
    u32 pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
__device__ __forceinline__ u32 pair_of_bf16(f32 low, f32 high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

#define OPMUX_REGISTERS_32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define OPMUX_REGISTERS_64 OPMUX_REGISTERS_32 ", " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define OPMUX_REGISTERS_128 OPMUX_REGISTERS_64 ", " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define OPMUX_SUMS_8(letter, i)                                                                                       \
    "+" letter(c[i]), "+" letter(c[i + 1]), "+" letter(c[i + 2]), "+" letter(c[i + 3]), "+" letter(c[i + 4]),         \
        "+" letter(c[i + 5]), "+" letter(c[i + 6]), "+" letter(c[i + 7])
#define OPMUX_SUMS_32(letter, i)                                                                                      \
    OPMUX_SUMS_8(letter, i), OPMUX_SUMS_8(letter, i + 8), OPMUX_SUMS_8(letter, i + 16), OPMUX_SUMS_8(letter, i + 24)
#define OPMUX_SUMS_64(letter, i) OPMUX_SUMS_32(letter, i), OPMUX_SUMS_32(letter, i + 32)
#define OPMUX_SUMS_128(letter, i) OPMUX_SUMS_64(letter, i), OPMUX_SUMS_64(letter, i + 64)

// c = a b, plus c where `accumulate` says so; columns are 2 COUNT. The first operand after the sums has number COUNT.
#define OPMUX_WGMMA_FLOATS(name, count, columns, kind, a_at, b_at, scale_at, a_across_at, b_across_at)                \
    template <bool A_ACROSS, bool B_ACROSS>                                                                           \
    __device__ __forceinline__ void name(f32 (&c)[count], u64 a, u64 b, bool accumulate) {                            \
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " scale_at ", 0;\n"                                        \
                     "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." kind "." kind                             \
                     " {" OPMUX_REGISTERS_##count "}, " a_at ", " b_at ", add, 1, 1, " a_across_at ", " b_across_at   \
                     ";\n}"                                                                                           \
                     : OPMUX_SUMS_##count("f", 0)                                                                     \
                     : "l"(a), "l"(b), "r"((u32)accumulate), "n"((int)A_ACROSS), "n"((int)B_ACROSS));                 \
    }
#define OPMUX_WGMMA_INTEGERS(name, count, columns, kind, a_at, b_at, scale_at)                                        \
    template <bool A_ACROSS, bool B_ACROSS>                                                                           \
    __device__ __forceinline__ void name(i32 (&c)[count], u64 a, u64 b, bool accumulate) {                            \
        static_assert(!A_ACROSS && !B_ACROSS, "bytes are multiplied along their lines only");                         \
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " scale_at ", 0;\n"                                        \
                     "wgmma.mma_async.sync.aligned.m64n" columns "k32.s32." kind "." kind                             \
                     " {" OPMUX_REGISTERS_##count "}, " a_at ", " b_at ", add;\n}"                                    \
                     : OPMUX_SUMS_##count("r", 0)                                                                     \
                     : "l"(a), "l"(b), "r"((u32)accumulate));                                                         \
    }
OPMUX_WGMMA_FLOATS(wgmma_f16, 32, "64", "f16", "%32", "%33", "%34", "%35", "%36")
OPMUX_WGMMA_FLOATS(wgmma_f16, 64, "128", "f16", "%64", "%65", "%66", "%67", "%68")
OPMUX_WGMMA_FLOATS(wgmma_f16, 128, "256", "f16", "%128", "%129", "%130", "%131", "%132")
OPMUX_WGMMA_FLOATS(wgmma_bf16, 32, "64", "bf16", "%32", "%33", "%34", "%35", "%36")
OPMUX_WGMMA_FLOATS(wgmma_bf16, 64, "128", "bf16", "%64", "%65", "%66", "%67", "%68")
OPMUX_WGMMA_FLOATS(wgmma_bf16, 128, "256", "bf16", "%128", "%129", "%130", "%131", "%132")
OPMUX_WGMMA_INTEGERS(wgmma_i8, 32, "64", "s8", "%32", "%33", "%34")
OPMUX_WGMMA_INTEGERS(wgmma_i8, 64, "128", "s8", "%64", "%65", "%66")
OPMUX_WGMMA_INTEGERS(wgmma_i8, 128, "256", "s8", "%128", "%129", "%130")
OPMUX_WGMMA_INTEGERS(wgmma_u8, 32, "64", "u8", "%32", "%33", "%34")
OPMUX_WGMMA_INTEGERS(wgmma_u8, 64, "128", "u8", "%64", "%65", "%66")
OPMUX_WGMMA_INTEGERS(wgmma_u8, 128, "256", "u8", "%128", "%129", "%130")
#undef OPMUX_REGISTERS_32
#undef OPMUX_REGISTERS_64
#undef OPMUX_REGISTERS_128
#undef OPMUX_SUMS_8
#undef OPMUX_SUMS_32
#undef OPMUX_SUMS_64
#undef OPMUX_SUMS_128
#undef OPMUX_WGMMA_FLOATS
#undef OPMUX_WGMMA_INTEGERS
