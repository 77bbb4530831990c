// What backends/cuda/source/intrinsics.cuh does with instructions of the GPU, in C++.

static inline f32 f16_to_f32(u16 h) {
    u32 sign = (u32)(h & 0x8000) << 16, size = h & 0x7FFF, bits;
    if (size >= 0x7C00)
        bits = size << 13 | 0xFFu << 23;
    else if (size >= 0x400)
        bits = (size << 13) + ((127 - 15) << 23);
    else {
        f32 scaled = (f32)size * 0x1p-24f;  // a subnormal is its fraction times 2^-24
        memcpy(&bits, &scaled, 4);
    }
    bits |= sign;
    f32 x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline u16 f32_to_f16(f32 x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    u32 sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    if (size > 0x7F800000) return (u16)(sign | 0x7E00);
    if (size >= 143u << 23) return (u16)(sign | 0x7C00);
    if (size >= 113u << 23) return (u16)(sign | (size + 0xFFF + (size >> 13 & 1) - ((127 - 15) << 23)) >> 13);
    f32 magnitude, lifted;  // beside 0.5 the last bit is worth 2^-24: the sum rounds
    memcpy(&magnitude, &size, 4);
    lifted = magnitude + 0.5f;
    memcpy(&bits, &lifted, 4);
    return (u16)(sign | (bits - (126u << 23)));
}
