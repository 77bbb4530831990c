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

// Whatever carries kernels out may want to know their entries; a GPU finds them by name.
#define OPMUX_ENTRY(name)
#define OPMUX_DYNAMIC_SHARED(name) extern __shared__ __align__(1024) u8 name[]
