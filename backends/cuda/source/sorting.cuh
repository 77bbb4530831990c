// Sorting: entries of a key and a position are all different, so every sort of them is stable. Tiles are sorted in
// registers and shared memory, then merged two by two over global memory. Where a thread starts in two sorted runs is
// found by merge paths: Green, McColl and Bader, "GPU Merge Path", ICS 2012.

enum class Kind { UNSIGNED, SIGNED, FLOATING };

// Unsigned integers in the order of the values whose bits are given: NaN last both ways, zeros equal.
template <Kind KIND, bool DESCENDING, class U> __device__ __forceinline__ U ordered(U bits, U infinity) {
    constexpr U SIGN = (U)((U)1 << (sizeof(U) * 8 - 1));
    if (KIND == Kind::UNSIGNED) return DESCENDING ? (U)~bits : bits;
    if (KIND == Kind::SIGNED) return DESCENDING ? (U) ~(U)(bits ^ SIGN) : (U)(bits ^ SIGN);
    U size = (U)(bits & (U)~SIGN);
    if (size > infinity) return (U) ~(U)0;
    U key = size == 0 ? SIGN : bits & SIGN ? (U)~bits : (U)(bits | SIGN);
    return DESCENDING ? (U)~key : key;
}

// A 64-bit key with its position; narrower keys stand above the position in one u64.
struct alignas(16) Entry { u64 key, position; };

__device__ __forceinline__ bool less(u64 a, u64 b) { return a < b; }
__device__ __forceinline__ bool less(Entry a, Entry b) { return a.key < b.key || (a.key == b.key && a.position < b.position); }
__device__ __forceinline__ u32 position_of(u64 entry) { return (u32)entry; }
__device__ __forceinline__ u32 position_of(Entry entry) { return (u32)entry.position; }
__device__ __forceinline__ u64 entry_of(u8 key, u32 position) { return (u64)key << 32 | position; }
__device__ __forceinline__ u64 entry_of(u16 key, u32 position) { return (u64)key << 32 | position; }
__device__ __forceinline__ u64 entry_of(u32 key, u32 position) { return (u64)key << 32 | position; }
__device__ __forceinline__ Entry entry_of(u64 key, u32 position) { return {key, position}; }
__device__ __forceinline__ void set_last(u64& entry) { entry = ~0ull; }  // behind every entry that there is
__device__ __forceinline__ void set_last(Entry& entry) { entry = {~0ull, ~0ull}; }

// A tile in shared memory. One place in nine is empty, so that threads ITEMS apart meet different banks.
template <class E, int THREADS, int ITEMS> struct Tile {
    static constexpr int SIZE = THREADS * ITEMS;
    E places[SIZE + SIZE / ITEMS];
    __device__ __forceinline__ E& operator[](u32 i) { return places[i + i / ITEMS]; }
};

// How many of the first `diagonal` entries of two sorted runs come from the first one.
template <class Run> __device__ __forceinline__ u32 merge_path(Run&& of, u32 a, u32 na, u32 b, u32 nb, u32 diagonal) {
    u32 low = diagonal > nb ? diagonal - nb : 0, high = diagonal < na ? diagonal : na;
    while (low < high) {
        u32 middle = (low + high) / 2;
        if (less(of[b + diagonal - 1 - middle], of[a + middle]))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// The ITEMS entries from a diagonal on of two runs in a tile, which holds at least one of them.
template <class E, int THREADS, int ITEMS>
__device__ __forceinline__ void merge_items(
    Tile<E, THREADS, ITEMS>& tile, u32 a, u32 na, u32 b, u32 nb, u32 diagonal, E (&x)[ITEMS]
) {
    u32 i = merge_path(tile, a, na, b, nb, diagonal), j = diagonal - i;
    E first, second;
    set_last(first), set_last(second);
    if (i < na) first = tile[a + i];
    if (j < nb) second = tile[b + j];
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        bool take_second = less(second, first);
        x[k] = take_second ? second : first;
        if (take_second) {
            set_last(second);
            if (++j < nb) second = tile[b + j];
        } else {
            set_last(first);
            if (++i < na) first = tile[a + i];
        }
    }
}

// Sorts each `segment` entries of a tile, a power of two from ITEMS on. The tile is full before and after.
template <class E, int THREADS, int ITEMS>
__device__ __forceinline__ void sort_tile(Tile<E, THREADS, ITEMS>& tile, u32 segment) {
    u32 mine = threadIdx.x * ITEMS;
    E x[ITEMS];
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) x[k] = tile[mine + k];
#pragma unroll
    for (int round = 0; round < ITEMS; ++round)
#pragma unroll
        for (int k = round & 1; k + 1 < ITEMS; k += 2)
            if (less(x[k + 1], x[k])) {
                E swapped = x[k];
                x[k] = x[k + 1], x[k + 1] = swapped;
            }
    for (u32 run = ITEMS; run < segment; run *= 2) {
#pragma unroll
        for (int k = 0; k < ITEMS; ++k) tile[mine + k] = x[k];
        __syncthreads();
        u32 first = mine & ~(2 * run - 1);
        merge_items(tile, first, run, first + run, run, mine - first, x);
        __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) tile[mine + k] = x[k];
    __syncthreads();
}

// Sorts lines of up to a tile, 2^bits entries being kept for each, or the tiles of longer lines, one after the other.
// Where it is the lines that lie side by side in memory, neighbouring threads go `across` them.
template <class E, int THREADS, int ITEMS, class Load, class Store>
__device__ __forceinline__ void sort_block(
    u32 lines, u32 n, u32 bits, u32 tiles, u32 across, Load load, Store store
) {
    constexpr u32 SIZE = THREADS * ITEMS;
    __shared__ Tile<E, THREADS, ITEMS> tile;
    u32 block = blockIdx.x / tiles, begin = (blockIdx.x - block * tiles) * SIZE, many = SIZE >> bits, line = block * many;
    u32 segment = 1u << bits, turn = 31 - __clz((int)many);
    for (u32 p = threadIdx.x; p < SIZE; p += THREADS) {
        u32 own = across ? p & (many - 1) : p >> bits, i = across ? p >> turn : p & (segment - 1);
        E entry;
        set_last(entry);
        if (line + own < lines && begin + i < n) entry = load(line + own, begin + i);
        tile[(own << bits) + i] = entry;
    }
    __syncthreads();
    sort_tile(tile, segment);
    for (u32 p = threadIdx.x; p < SIZE; p += THREADS) {
        u32 own = across ? p & (many - 1) : p >> bits, i = across ? p >> turn : p & (segment - 1);
        if (line + own < lines && begin + i < n) store(line + own, begin + i, tile[(own << bits) + i]);
    }
}

// Merges runs of a length, a multiple of a tile, two by two; every block makes one tile of the result.
template <class E, int THREADS, int ITEMS, class Store>
__device__ __forceinline__ void merge_block(u32 n, u32 run, u32 tiles, const E* sorted, Store store) {
    constexpr u32 SIZE = THREADS * ITEMS;
    __shared__ Tile<E, THREADS, ITEMS> tile;
    __shared__ u32 cut[2];
    u32 line = blockIdx.x / tiles, begin = (blockIdx.x - line * tiles) * SIZE;
    const E* from = sorted + (u64)line * n;
    u32 pair = begin / run / 2 * 2 * run;
    u32 na = n - pair < run ? n - pair : run, rest = n - pair - na, nb = rest < run ? rest : run;
    u32 diagonal = begin - pair, end = diagonal + SIZE < na + nb ? diagonal + SIZE : na + nb;
    if (threadIdx.x % 32 == 0 && threadIdx.x < 64)
        cut[threadIdx.x / 32] = merge_path(from, pair, na, pair + na, nb, threadIdx.x ? end : diagonal);
    __syncthreads();
    u32 a = cut[0], b = diagonal - a, ca = cut[1] - a, count = end - diagonal;
    from += pair;
    for (u32 p = threadIdx.x; p < count; p += THREADS) tile[p] = from[p < ca ? a + p : na + b + (p - ca)];
    __syncthreads();
    E x[ITEMS];
    u32 mine = threadIdx.x * ITEMS;
    merge_items(tile, 0, ca, ca, count - ca, mine < count ? mine : count, x);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) tile[mine + k] = x[k];
    __syncthreads();
    for (u32 p = threadIdx.x; p < count; p += THREADS) store(line, begin + p, tile[p]);
}

// Where a key would go into a sorted line: before its equals, or after them.
template <bool AFTER, class Key, class U> __device__ __forceinline__ i64 place_among(i64 n, Key key, U wanted) {
    i64 low = 0, high = n;
    while (low < high) {
        i64 middle = low + (high - low) / 2;
        U found = key(middle);
        if (AFTER ? !(wanted < found) : found < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
