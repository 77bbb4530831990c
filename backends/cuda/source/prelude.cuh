// Types, and conversions between them, each rounded once, by the rules of a recipe's `convert`.
// Registers hold float16 and bfloat16 as their bits, bool as bool; memory holds bool as a byte.

typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

// {intrinsics}

template <class To, class From> __device__ __forceinline__ To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "a bitcast keeps the width");
    union { From from; To to; } both;
    both.from = from;
    return both.to;
}

// Rounding to odd, as in Boldo and Melquiond, IEEE Transactions on Computers 57 (4), 2008: what rounds the result
// again to fewer bits rounds only once.
__device__ __forceinline__ f32 f64_to_odd_f32(f64 x) {
    f32 near = (f32)x;
    f64 back = (f64)near;
    u32 bits = bits_as<u32>(near);
    u64 size = bits_as<u64>(x) & 0x7FFFFFFFFFFFFFFFull, near_size = bits_as<u64>(back) & 0x7FFFFFFFFFFFFFFFull;
    bool inexact = x < back || x > back;
    u32 odd = size > near_size ? bits + 1 : bits - 1;
    return bits_as<f32>(inexact && !(bits & 1) ? odd : bits);
}

// A 64-bit integer as float64, its low bits jammed where float64 has no room for them.
__device__ __forceinline__ f64 i64_to_odd_f64(i64 x) {
    u64 size = x < 0 ? 0ull - (u64)x : (u64)x;
    i64 jammed = (i64)((u64)(x >> 16 | (i64)((x & 0xFFFF) != 0)) << 16);
    return (f64)(size < (1ull << 48) ? x : jammed);
}

__device__ __forceinline__ f64 u64_to_odd_f64(u64 x) {
    return (f64)(x < (1ull << 48) ? x : (x >> 16 | (u64)((x & 0xFFFF) != 0)) << 16);
}

__device__ __forceinline__ f32 bf16_to_f32(u16 h) { return bits_as<f32>((u32)h << 16); }

__device__ __forceinline__ u16 f32_to_bf16(f32 x) {
    u32 bits = bits_as<u32>(x);
    u32 rounded = bits + 0x7FFF + (bits >> 16 & 1);
    return (u16)((x == x ? rounded : bits | 1u << 22) >> 16);
}

// Truncates, saturates, and gives 0 for NaN. `Low` and `End` are exact in From: the least value, and one past the most.
template <class To, class Via, class From>
__device__ __forceinline__ To to_integer(From x, From low, From end, To least, To most) {
    if (!(x == x)) return 0;
    if (x >= end) return most;
    if (x <= low) return least;
    return (To)(Via)x;
}
