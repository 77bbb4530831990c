// Floats of 8 bits, which are only stored: conversions to and from float32, rounded once, to nearest even, without
// saturation (OCP 8-bit floating point specification, revision 1.0, section 5.2).

__device__ __forceinline__ f32 e5m2_to_f32(u8 h) { return f16_to_f32((u16)h << 8); }

// As the high bits of a float32 the value is too small by 2^120; subnormal ones are those of float32 then.
__device__ __forceinline__ f32 e4m3_to_f32(u8 h) {
    u32 size = h & 0x7F, nan = 0x7FC00000;
    u32 bits = size == 0x7F ? nan : bits_as<u32>(bits_as<f32>(size << 20) * bits_as<f32>(247u << 23));
    return bits_as<f32>(bits | (u32)(h & 0x80) << 24);
}

// MANTISSA bits and a BIAS; what rounds to MOST or beyond becomes MOST, and NaN becomes `nan`.
template <int MANTISSA, int BIAS, u32 MOST> __device__ __forceinline__ u8 f32_to_f8(f32 x, u32 nan) {
    constexpr u32 SHIFT = 23 - MANTISSA, REBIAS = 127 - BIAS;
    u32 bits = bits_as<u32>(x), size = bits & 0x7FFFFFFF;
    u32 normal = (size + (1u << (SHIFT - 1)) - 1 + (size >> SHIFT & 1) - (REBIAS << 23)) >> SHIFT;
    // Beside this power of two the last bit of float32 is worth the smallest subnormal: the sum rounds.
    f32 magic = bits_as<f32>((REBIAS + 1 + SHIFT) << 23);
    u32 small = bits_as<u32>(bits_as<f32>(size) + magic) - bits_as<u32>(magic);
    u32 found = size < ((REBIAS + 1) << 23) ? small : normal;
    found = size > 0x7F800000 ? nan : found < MOST ? found : MOST;
    return (u8)(found | (bits >> 24 & 0x80));
}
__device__ __forceinline__ u8 f32_to_e5m2(f32 x) { return f32_to_f8<2, 15, 0x7C>(x, 0x7E); }
__device__ __forceinline__ u8 f32_to_e4m3(f32 x) { return f32_to_f8<3, 7, 0x7F>(x, 0x7F); }
