// Kernels over columns: rows of rows.cuh whose neighbours, not whose elements, lie side by side. A thread has WIDTH columns
// and shares their lanes with the DOWN - 1 other threads that have the same columns, IN of a warp and of WARPS warps. Lanes,
// halves and tree are those of reductions.cuh, so a sum has its canonical bits.

namespace columns {

using reduction::WARP;
using reduction::neighbour;

// Thread y of a column has lanes y, y + DOWN, ... of a block's LANES. The high bits of y tell threads of a warp apart, so
// that the first halves are exchanged by shuffles, and the last ones through shared memory.
template <int WIDTH_, int ACROSS_, int WARPS_, int LANES_> struct Place {
    static constexpr int WIDTH = WIDTH_, ACROSS = ACROSS_, WARPS = WARPS_, LANES = LANES_;
    static constexpr int IN = WARP / ACROSS, DOWN = IN * WARPS, OWN = LANES / DOWN, COLUMNS = ACROSS * WIDTH;
    static_assert(OWN > 0, "");
};

// What the warps of a block leave for each other: the values of a turn, while those of the turn before may still be read,
// and then one per turn.
template <class Value, class Place, int THREADS, int TURNS> struct Shared {
    Value parts[2][THREADS / WARP][Place::COLUMNS];
    Value totals[TURNS][THREADS / WARP / Place::WARPS][Place::COLUMNS];
};

// The place of a thread. Columns beyond the last are the first one again, and are not stored.
template <class Place, int THREADS> struct Here {
    static constexpr int WIDTH = Place::WIDTH, ACROSS = Place::ACROSS, WARPS = Place::WARPS;
    static constexpr u32 GROUPS = THREADS / WARP / WARPS;
    u32 lane, warp, group, column;
    bool inside;

    __device__ __forceinline__ Here(u32 count) {
        lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = warp / WARPS;
        column = ((blockIdx.x * GROUPS + group) * ACROSS + lane % ACROSS) * WIDTH;
        inside = column < count;
        column = inside ? column : 0;
    }
    __device__ __forceinline__ u32 down() const { return lane / ACROSS * WARPS + warp % WARPS; }
    // The first of the elements that a thread takes in a turn; the next ones are DOWN apart.
    __device__ __forceinline__ u32 first(u32 turn) const { return turn * reduction::BLOCK + down(); }
    __device__ __forceinline__ bool leads() const { return inside && down() == 0; }
    // Fold the lanes of a turn; what several warps have of a column goes through shared memory.
    template <class F, class Shared>
    __device__ __forceinline__ void leave(
        typename F::Value (&lanes)[Place::OWN][WIDTH], typename F::Value (&values)[WIDTH], Shared* shared, u32 turn
    ) const {
#pragma unroll
        for (int v = 0; v < WIDTH; ++v) {
            typename F::Value own[Place::OWN];
#pragma unroll
            for (int k = 0; k < Place::OWN; ++k) own[k] = lanes[k][v];
            values[v] = reduction::halved<F, Place::OWN>(own);
#pragma unroll
            for (int bits = WARP / 2; bits >= ACROSS; bits /= 2)
                values[v] = F::combine(values[v], neighbour(values[v], bits));
        }
        if constexpr (WARPS > 1) {
            auto& parts = shared->parts[turn & 1];
            if (lane < ACROSS)
#pragma unroll
                for (int v = 0; v < WIDTH; ++v) parts[warp][lane * WIDTH + v] = values[v];
            __syncthreads();
            for (u32 c = threadIdx.x % (WARPS * WARP); c < Place::COLUMNS; c += WARPS * WARP) {
                typename F::Value own[WARPS];
#pragma unroll
                for (int w = 0; w < WARPS; ++w) own[w] = parts[group * WARPS + w][c];
                shared->totals[turn][group][c] = reduction::halved<F, WARPS>(own);
            }
        }
    }
    // Every thread gets the values of its columns.
    template <class F, class Shared>
    __device__ __forceinline__ void take(typename F::Value (&values)[WIDTH], Shared* shared, u32 turns) const {
        if constexpr (WARPS > 1) {
            for (u32 c = threadIdx.x % (WARPS * WARP); c < Place::COLUMNS; c += WARPS * WARP)
                for (u32 left = turns; left > 1; left = (left + 1) / 2)
                    for (u32 i = 0; 2 * i < left; ++i) {
                        typename F::Value value = shared->totals[2 * i][group][c];
                        if (2 * i + 1 < left) value = F::combine(value, shared->totals[2 * i + 1][group][c]);
                        shared->totals[i][group][c] = value;
                    }
            __syncthreads();
#pragma unroll
            for (int v = 0; v < WIDTH; ++v) values[v] = shared->totals[0][group][lane % ACROSS * WIDTH + v];
        }
    }
};

// What one operand has for a thread's columns: neighbours, or one element for all of them.
template <int V, class T> __device__ __forceinline__ void load(T (&to)[V], const T* from, bool inside) {
#pragma unroll
    for (int v = 0; v < V; ++v) to[v] = 0;
    if (inside) load_vector(to, from);
}
template <int V, class T> __device__ __forceinline__ void repeat(T (&to)[V], const T* from, bool inside) {
    T one = 0;
    if (inside) one = *from;
#pragma unroll
    for (int v = 0; v < V; ++v) to[v] = one;
}

}  // namespace columns
