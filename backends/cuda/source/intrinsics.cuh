// What needs an instruction of its own: everything else in these files is plain C++.
// The tests carry out the same kernels on the host, and bring these functions in C++ instead.

__device__ __forceinline__ f32 f16_to_f32(u16 h) {
    f32 x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}

__device__ __forceinline__ u16 f32_to_f16(f32 x) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return x == x ? h : (u16)(0x7E00 | (__float_as_uint(x) >> 16 & 0x8000));
}

// Words that lie side by side in global memory, in one access.
__device__ __forceinline__ void store_words(void* to, const u32 (&x)[1]) { *(u32*)to = x[0]; }
__device__ __forceinline__ void store_words(void* to, const u32 (&x)[2]) {
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(to), "r"(x[0]), "r"(x[1]) : "memory");
}
__device__ __forceinline__ void store_words(void* to, const u32 (&x)[4]) {
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
                 ::"l"(to), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]) : "memory");
}

// 16 bytes from global to shared memory, or zeros where `inside` is false, on their way until a wait: the copies of a
// thread between two commits are a group, and a wait leaves at most N groups under way.
__device__ __forceinline__ void copy_async(void* to, const void* from, bool inside) {
    u32 at = (u32)__cvta_generic_to_shared(to), bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four matrices of 8 rows of 16 bytes in shared memory: lane l has the address of row l % 8 of matrix l / 8, and gets
// bytes 4 (l % 4) to 4 (l % 4) + 3 of row l / 4 of each; transposed as matrices of words of 2 bytes, if asked for.
__device__ __forceinline__ void load_matrices(u32 (&to)[4], const void* row) {
    u32 at = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(u32 (&to)[4], const void* row) {
    u32 at = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}

// c += a b over 16 rows, 8 columns and 32 bytes of terms, on tensor cores; the fragments of a warp's lanes are those of
// `mma` in the PTX ISA, "Matrix Fragments for mma.m16n8k16" and "for mma.m16n8k32".
#define OPMUX_MMA(name, shape, value, c_kind, c_letter)                                                               \
    __device__ __forceinline__ void name(value (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {                          \
        asm volatile("mma.sync.aligned." shape ".row.col." c_kind " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "   \
                     "{%0, %1, %2, %3};"                                                                              \
                     : "+" c_letter(c[0]), "+" c_letter(c[1]), "+" c_letter(c[2]), "+" c_letter(c[3])                 \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                                 \
    }
OPMUX_MMA(mma_f16, "m16n8k16", f32, "f32.f16.f16.f32", "f")
OPMUX_MMA(mma_bf16, "m16n8k16", f32, "f32.bf16.bf16.f32", "f")
OPMUX_MMA(mma_i8, "m16n8k32", i32, "s32.s8.s8.s32", "r")
OPMUX_MMA(mma_u8, "m16n8k32", i32, "s32.u8.u8.s32", "r")
#undef OPMUX_MMA

// Whatever carries kernels out may want to know their entries; a GPU finds them by name.
#define OPMUX_ENTRY(name)
#define OPMUX_CLUSTER_ENTRY(name, blocks)
#define OPMUX_DYNAMIC_SHARED(name) extern __shared__ __align__(1024) u8 name[]
