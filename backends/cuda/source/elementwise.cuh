// Elementwise kernels: a function of one element per operand, over streams of elements or over a nest of strides.

// Elements side by side, in one load, from a place that a multiple of as many bytes divides.
template <int V, class T> __device__ __forceinline__ void load_vector(T (&to)[V], const T* from) {
    struct alignas(sizeof(T) * V) Pack { T elements[V]; };
    Pack pack = *reinterpret_cast<const Pack*>(from);
#pragma unroll
    for (int k = 0; k < V; ++k) to[k] = pack.elements[k];
}

// Operands of a kernel whose elements all lie side by side, or of which there is only one.
template <class T> struct Stream {
    const T* data;
    __device__ __forceinline__ T at(u64 i) const { return data[i]; }
    template <int V> __device__ __forceinline__ void load(T (&to)[V], u64 i) const {
        load_vector(to, data + i);
    }
};

template <class T> struct Single {
    const T* data;
    __device__ __forceinline__ T at(u64) const { return *data; }
    template <int V> __device__ __forceinline__ void load(T (&to)[V], u64) const {
        T one = *data;
        for (int k = 0; k < V; ++k) to[k] = one;
    }
};

// Narrow elements are put together to words here: left to the compiler, they kept so many registers that some spilled.
template <int V, class T> __device__ __forceinline__ void store(T* data, u64 i, const T (&from)[V]) {
    if constexpr (sizeof(T) < 4 && sizeof(T) * V >= 4) {
        constexpr int EACH = 4 / sizeof(T), BITS = 8 * sizeof(T);
        struct alignas(sizeof(T) * V) Pack { u32 words[V / EACH]; };
        Pack pack;
#pragma unroll
        for (int w = 0; w < V / EACH; ++w) {
            pack.words[w] = 0;
#pragma unroll
            for (int e = 0; e < EACH; ++e) pack.words[w] |= ((u32)from[w * EACH + e] & (1u << BITS) - 1) << e * BITS;
        }
        *reinterpret_cast<Pack*>(data + i) = pack;
    } else {
        struct alignas(sizeof(T) * V) Pack { T elements[V]; };
        Pack pack;
        for (int k = 0; k < V; ++k) pack.elements[k] = from[k];
        *reinterpret_cast<Pack*>(data + i) = pack;
    }
}

// A nest of at most RANK dimensions, the innermost first. A quotient by a size below 2^31 is one multiplication and a
// shift: Granlund and Montgomery, "Division by Invariant Integers using Multiplication", PLDI 1994.
template <int RANK, int OPERANDS> struct Nest {
    u32 size[RANK];
    u32 multiplier[RANK];
    u32 shift[RANK];
    i64 stride[OPERANDS][RANK];
};

__device__ __forceinline__ u32 quotient(u32 i, u32 multiplier, u32 shift) {
    u32 high = __umulhi(i, multiplier);
    return (high + i) >> shift;
}

template <int RANK, int OPERANDS>
__device__ __forceinline__ void offsets(const Nest<RANK, OPERANDS>& nest, u32 i, i64 (&at)[OPERANDS]) {
    for (int o = 0; o < OPERANDS; ++o) at[o] = 0;
#pragma unroll
    for (int d = 0; d < RANK; ++d) {
        u32 rest = d + 1 < RANK ? quotient(i, nest.multiplier[d], nest.shift[d]) : 0;
        u32 index = i - rest * nest.size[d];
        for (int o = 0; o < OPERANDS; ++o) at[o] += (i64)index * nest.stride[o][d];
        i = rest;
    }
}
