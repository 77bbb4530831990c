// Movement: words of 1 to 16 bytes, which no kernel looks into.

struct alignas(16) u128 { u64 low, high; };

// One nest of words, from a source of its own into the place `to` of the only target. Blocks [first, the next one's
// first) of the grid carry it out.
template <int RANK> struct Move {
    Nest<RANK, 2> nest;
    i64 to;
    u32 words;
    u32 first;
};

template <int RANK, int COUNT> struct Moves { Move<RANK> of[COUNT]; };
template <class W, int COUNT> struct Sources { const W* of[COUNT]; };

// Carries out the part of a block. Each thread has TURNS loads in flight before it stores the first.
template <int THREADS, int TURNS, class W, int RANK, int COUNT>
__device__ __forceinline__ void move_block(const Moves<RANK, COUNT>& moves, const Sources<W, COUNT>& sources, W* out) {
    int found = 0;
#pragma unroll
    for (int step = COUNT / 2; step; step /= 2)
        if (moves.of[found + step].first <= blockIdx.x) found += step;
    const Move<RANK>& move = moves.of[found];
    const W* from = sources.of[found];
    W* to = out + move.to;
    u32 begin = (blockIdx.x - move.first) * (THREADS * TURNS) + threadIdx.x;
    W x[TURNS];
    i64 target[TURNS];
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
        u32 i = begin + turn * THREADS;
        if (i >= move.words) break;
        i64 at[2];
        offsets(move.nest, i, at);
        x[turn] = from[at[0]];
        target[turn] = at[1];
    }
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
        if (begin + turn * THREADS < move.words) to[target[turn]] = x[turn];
}
