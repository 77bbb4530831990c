// Slices of an axis chosen by indices: read from a table (gather), or combined into it (scatter).

enum class Outside { CLIP, WRAP, NOWHERE };

// The place that an index means in an axis, or -1. Negative indices count from the end.
template <Outside OUTSIDE, class Index> __device__ __forceinline__ i64 place_of(Index given, i64 length) {
    i64 index = given < 0 ? (i64)given + length : (i64)given;
    if ((u64)index < (u64)length) return index;
    if (OUTSIDE == Outside::NOWHERE) return -1;
    if (OUTSIDE == Outside::CLIP) return index < 0 ? 0 : length - 1;
    i64 rest = index % length;
    return rest < 0 ? rest + length : rest;
}

// Operands of the nest: the table, the indices. The result lies dense; where there is nothing, it is zero.
template <Outside OUTSIDE, int THREADS, int TURNS, class W, class Index, int RANK>
__device__ __forceinline__ void gather_block(
    u32 n, const Nest<RANK, 2>& nest, i64 length, i64 stride, const W* table, const Index* indices, W* out
) {
    u32 begin = blockIdx.x * (THREADS * TURNS) + threadIdx.x;
    i64 from[TURNS];
    Index given[TURNS];
    W x[TURNS];
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
        u32 i = begin + turn * THREADS;
        if (i >= n) break;
        i64 at[2];
        offsets(nest, i, at);
        from[turn] = at[0];
        given[turn] = indices[at[1]];
    }
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
        if (begin + turn * THREADS >= n) break;
        i64 place = place_of<OUTSIDE>(given[turn], length);
        x[turn] = W{};
        if (place >= 0) x[turn] = table[from[turn] + place * stride];
    }
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
        u32 i = begin + turn * THREADS;
        if (i < n) out[i] = x[turn];
    }
}

enum : u32 { NONE = 0xFFFFFFFFu };  // no place, or no update

template <int THREADS> __device__ __forceinline__ void fill(u32 n, u32 word, u32* table) {
    u32 i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n) table[i] = word;
}

// Which update stays at each place, plus one: the last, whatever the order in which threads come. 0 where none does.
template <Outside OUTSIDE, int THREADS, class Index, int RANK>
__device__ __forceinline__ void claim(u32 n, const Nest<RANK, 1>& nest, i64 length, const Index* indices, u32* last) {
    u32 i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    i64 at[1];
    offsets(nest, i, at);
    i64 place = place_of<OUTSIDE>(indices[at[0]], length);
    if (place >= 0) atomicMax(&last[place], i + 1);
}

// Operands of the nest: the array, the updates, the place in the axis. `steps` walks the updates from index to index.
template <int THREADS, int TURNS, class W, int RANK, int STEPS>
__device__ __forceinline__ void replace_block(
    u32 n, const Nest<RANK, 3>& nest, const Nest<STEPS, 1>& steps, const W* array, const W* updates, const u32* last, W* out
) {
    u32 begin = blockIdx.x * (THREADS * TURNS) + threadIdx.x;
    const W* from[TURNS];
    W x[TURNS];
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
        u32 i = begin + turn * THREADS;
        if (i >= n) break;
        i64 at[3], step[1];
        offsets(nest, i, at);
        u32 stays = last[at[2]];
        offsets(steps, stays - 1, step);
        from[turn] = stays ? updates + at[1] + step[0] : array + at[0];
    }
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
        if (begin + turn * THREADS < n) x[turn] = *from[turn];
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
        if (begin + turn * THREADS < n) out[begin + turn * THREADS] = x[turn];
}

// Where the updates of each place begin among those sorted by place.
template <int THREADS> __device__ __forceinline__ void find_firsts(u32 n, const u64* sorted, u32* first) {
    u32 i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    u32 place = (u32)(sorted[i] >> 32);
    if (place != NONE && (i == 0 || (u32)(sorted[i - 1] >> 32) != place)) first[place] = i;
}

// Updates of one element meet it one after the other, in the order of their indices; nobody else writes it. Several of
// them are loaded at once, so that a place that many updates meet does not wait for each.
template <int THREADS, class Combine, int RANK, int STEPS>
__device__ __forceinline__ void combine_block(
    u32 n, u32 count, const Nest<RANK, 3>& nest, const Nest<STEPS, 1>& steps, const typename Combine::T* array,
    const typename Combine::T* updates, const u64* sorted, const u32* first, typename Combine::T* out
) {
    u32 i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    constexpr int AHEAD = 4;
    i64 at[3], step[1];
    offsets(nest, i, at);
    typename Combine::T x = array[at[0]], update[AHEAD];
    u32 place = (u32)at[2], next = first[place];
    if (next != NONE) {
        auto sum = Combine::widened(x);
        bool mine[AHEAD];
        do {
#pragma unroll
            for (int k = 0; k < AHEAD; ++k) {
                u64 entry = next + k < count ? sorted[next + k] : ~0ull;
                mine[k] = (u32)(entry >> 32) == place;
                offsets(steps, (u32)entry, step);
                if (mine[k]) update[k] = updates[at[1] + step[0]];
            }
#pragma unroll
            for (int k = 0; k < AHEAD; ++k)
                if (mine[k]) sum = Combine::combined(sum, Combine::widened(update[k]));
            next += AHEAD;
        } while (mine[AHEAD - 1]);
        x = Combine::narrowed(sum);
    }
    out[i] = x;
}
