// Running sums and products. The canonical order is one chain along the axis, from the first term; tiles of a chain by
// many threads are another order, and the same result where no sum is rounded.
//
// A fold is the struct that reductions.cuh takes; a chain starts from what changes no term at all.

namespace scan {

enum : int {
    WARP = 32,
    BATCH = 8,  // loads that a thread has in flight
    WARPS = 8,
    THREADS = WARPS * WARP,  // of a block that shares a tile
    TILE = THREADS * BATCH,
};

// A thread per chain, wherever its terms lie. Chains side by side make coalesced loads.
template <class F, class Others>
__device__ __forceinline__ void across(
    u32 count, u64 n, i64 in_step, i64 out_step, const Others& others, const typename F::Memory* in,
    typename F::Result* out
) {
    u32 chain = blockIdx.x * blockDim.x + threadIdx.x;
    if (chain >= count) return;
    i64 at[2];
    offsets(others, chain, at);
    in += at[0], out += at[1];
    typename F::Value sum = F::start();
    u64 i = 0;
    for (; i + BATCH <= n; i += BATCH) {
        typename F::Memory terms[BATCH];
#pragma unroll
        for (int s = 0; s < BATCH; ++s) terms[s] = in[(i64)(i + s) * in_step];
#pragma unroll
        for (int s = 0; s < BATCH; ++s) {
            sum = F::combine(sum, F::term(terms[s], i + s));
            out[(i64)(i + s) * out_step] = F::finish(sum);
        }
    }
    for (; i < n; ++i) {
        sum = F::combine(sum, F::term(in[(i64)i * in_step], i));
        out[(i64)i * out_step] = F::finish(sum);
    }
}

// Chains whose terms lie side by side. A warp takes 32 chains, a square of 32 x 32 terms at a time: read and written by
// rows, and carried out by columns, a chain per thread.
template <class F, class Others>
__device__ __forceinline__ void along(
    u32 count, u64 n, const Others& others, const typename F::Memory* in, typename F::Result* out
) {
    typedef typename F::Value Value;
    __shared__ Value square[WARP][WARP + 1];  // one more: a column's terms are in 32 different banks
    u32 lane = threadIdx.x, first = blockIdx.x * WARP;
    u32 chains = count - first < WARP ? count - first : WARP;
    i64 at[2] = {0, 0};
    if (lane < chains) offsets(others, first + lane, at);
    Value sum = F::start();
    for (u64 begin = 0; begin < n; begin += WARP) {
        bool inside = begin + lane < n;
        for (u32 row = 0; row < chains; row += BATCH) {
            typename F::Memory terms[BATCH];
#pragma unroll
            for (int s = 0; s < BATCH; ++s) {
                i64 from = __shfl_sync(0xFFFFFFFFu, at[0], (row + s) % WARP);
                terms[s] = in[inside && row + s < chains ? from + (i64)(begin + lane) : at[0]];
            }
#pragma unroll
            for (int s = 0; s < BATCH; ++s)
                if (row + s < chains) square[row + s][lane] = F::term(terms[s], begin + lane);
        }
        __syncwarp();
        if (lane < chains) {
#pragma unroll
            for (int i = 0; i < WARP; i += BATCH) {
                Value terms[BATCH];
#pragma unroll
                for (int s = 0; s < BATCH; ++s) terms[s] = square[lane][i + s];
#pragma unroll
                for (int s = 0; s < BATCH; ++s) square[lane][i + s] = sum = F::combine(sum, terms[s]);
            }
        }
        __syncwarp();
        for (u32 row = 0; row < chains; ++row) {
            i64 to = __shfl_sync(0xFFFFFFFFu, at[1], row);
            if (inside) out[to + (i64)(begin + lane)] = F::finish(square[row][lane]);
        }
        __syncwarp();
    }
}

// What comes before a thread's values, and after all of the block's: `carry` has what came before the block's.
template <class F>
__device__ __forceinline__ typename F::Value before(typename F::Value mine, typename F::Value& carry) {
    typedef typename F::Value Value;
    __shared__ Value totals[WARPS];
    u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    Value sum = mine;
#pragma unroll
    for (u32 by = 1; by < WARP; by *= 2) {
        Value other = __shfl_up_sync(0xFFFFFFFFu, sum, by);
        sum = lane >= by ? F::combine(other, sum) : sum;
    }
    if (lane == WARP - 1) totals[warp] = sum;
    Value previous = __shfl_up_sync(0xFFFFFFFFu, sum, 1);
    __syncthreads();
    Value found = carry;
#pragma unroll
    for (u32 w = 0; w < WARPS; ++w) {
        carry = F::combine(carry, totals[w]);
        if (w + 1 == warp) found = carry;
    }
    __syncthreads();
    return lane ? F::combine(found, previous) : found;
}

// The total of every tile of every chain; tiles of a chain lie side by side.
template <class F, class Others>
__device__ __forceinline__ void totals(
    u64 n, u32 tiles, i64 in_step, const Others& others, const typename F::Memory* in, typename F::Value* sums
) {
    u32 chain = blockIdx.x / tiles;
    u64 first = (u64)(blockIdx.x - chain * tiles) * TILE + threadIdx.x;
    i64 at[2];
    offsets(others, chain, at);
    typename F::Memory terms[BATCH];
#pragma unroll
    for (u32 s = 0; s < BATCH; ++s) terms[s] = in[at[0] + (i64)(first + s * THREADS < n ? first + s * THREADS : 0) * in_step];
    typename F::Value sum = F::start(), total = F::start();
#pragma unroll
    for (u32 s = 0; s < BATCH; ++s)
        if (first + s * THREADS < n) sum = F::combine(sum, F::term(terms[s], first + s * THREADS));
    before<F>(sum, total);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// Totals become what comes before each tile: a block per chain.
template <class F> __device__ __forceinline__ void starts(u32 tiles, typename F::Value* sums) {
    typedef typename F::Value Value;
    sums += (u64)blockIdx.x * tiles;
    Value carry = F::start();
    for (u32 begin = 0; begin < tiles; begin += THREADS) {
        u32 i = begin + threadIdx.x;
        Value found = before<F>(i < tiles ? sums[i] : F::start(), carry);
        if (i < tiles) sums[i] = found;
    }
}

// Every tile, after what comes before it. Thread t carries out terms t * BATCH and after; memory sees all threads' at once.
template <class F, class Others>
__device__ __forceinline__ void tiles(
    u64 n, u32 count, i64 in_step, i64 out_step, const Others& others, const typename F::Memory* in,
    typename F::Result* out, const typename F::Value* sums
) {
    typedef typename F::Value Value;
    __shared__ Value tile[TILE + TILE / WARP];  // one place more after 32: a thread's values are in banks of their own
    u32 chain = blockIdx.x / count, t = threadIdx.x;
    u64 first = (u64)(blockIdx.x - chain * count) * TILE;
    i64 at[2];
    offsets(others, chain, at);
    typename F::Memory terms[BATCH];
#pragma unroll
    for (u32 s = 0; s < BATCH; ++s) {
        u64 i = first + s * THREADS + t;
        terms[s] = in[at[0] + (i64)(i < n ? i : 0) * in_step];
    }
#pragma unroll
    for (u32 s = 0; s < BATCH; ++s) {
        u32 i = s * THREADS + t;
        tile[i + i / WARP] = first + i < n ? F::term(terms[s], first + i) : F::start();
    }
    __syncthreads();
    Value own[BATCH];
#pragma unroll
    for (u32 s = 0; s < BATCH; ++s) {
        Value value = tile[t * BATCH + s + t * BATCH / WARP];
        own[s] = s ? F::combine(own[s ? s - 1 : 0], value) : value;
    }
    Value carry = count > 1 ? sums[blockIdx.x] : F::start();
    Value so_far = before<F>(own[BATCH - 1], carry);
#pragma unroll
    for (u32 s = 0; s < BATCH; ++s) tile[t * BATCH + s + t * BATCH / WARP] = F::combine(so_far, own[s]);
    __syncthreads();
#pragma unroll
    for (u32 s = 0; s < BATCH; ++s) {
        u32 i = s * THREADS + t;
        if (first + i < n) out[at[1] + (i64)(first + i) * out_step] = F::finish(tile[i + i / WARP]);
    }
}

}  // namespace scan
