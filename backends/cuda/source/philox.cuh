// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC11, table 2.

struct alignas(16) Words { u32 of[4]; };

// The four words of a block, counted from the first one; the lowest two words of the counter are one number that wraps.
__device__ __forceinline__ Words philox(u64 number, const u32* key, const u32* counter) {
    u64 low = ((u64)counter[1] << 32 | counter[0]) + number;
    u32 c0 = (u32)low, c1 = (u32)(low >> 32), c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        u32 high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

template <int THREADS, int TURNS>
__device__ __forceinline__ void philox_block(u64 n, const u32* key, const u32* counter, u32* out) {
    u64 begin = (u64)blockIdx.x * (THREADS * TURNS) + threadIdx.x;
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
        u64 number = begin + turn * THREADS;
        if (number * 4 >= n) return;
        Words words = philox(number, key, counter);
        if (number * 4 + 4 <= n) {
            *reinterpret_cast<Words*>(out + number * 4) = words;
            continue;
        }
        for (int k = 0; k < 3; ++k)
            if (number * 4 + k < n) out[number * 4 + k] = words.of[k];
    }
}
