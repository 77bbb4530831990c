// Running sums and products in the canonical order: one chain along the axis, from the first term.
//
// A fold is the struct that reductions.cuh takes; a chain starts from what changes no term at all.

namespace scan {

enum : int {
    WARP = 32,
    BATCH = 8,  // loads that a thread has in flight
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

}  // namespace scan
