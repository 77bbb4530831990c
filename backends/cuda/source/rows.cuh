// Kernels over rows: a thread keeps its share of a row in registers, and passes over it with a reduction of the whole row
// after each. Lanes, halves and tree are those of reductions.cuh, so a sum has its canonical bits.

namespace rows {

using reduction::WARP;
using reduction::neighbour;

// How the work on rows is spread: over so many teams of a warp and warps of a block, as shifts, which go on `turns`
// times; a power of two of all of them.
struct Spread {
    u32 teams, warps, turns;
};

// How a team of threads shares the lanes of a canonical block: WIDTH in a row for each, or WIDTH that lie TEAM apart.
template <int WIDTH_, int TEAM_> struct SideBySide {
    static constexpr int WIDTH = WIDTH_, TEAM = TEAM_, LANES = WIDTH * TEAM;
    __device__ __forceinline__ static u32 first(u32 t) { return t * WIDTH; }
    __device__ __forceinline__ static constexpr int lane(int v) { return v; }
    template <class F> __device__ __forceinline__ static typename F::Value fold(typename F::Value (&lanes)[WIDTH], int t) {
        return reduction::SideBySide<F, WIDTH, TEAM>::fold(lanes, t);
    }
};
template <int WIDTH_, int TEAM_> struct Apart {
    static constexpr int WIDTH = WIDTH_, TEAM = TEAM_, LANES = WIDTH * TEAM;
    __device__ __forceinline__ static u32 first(u32 t) { return t; }
    __device__ __forceinline__ static constexpr int lane(int v) { return v * TEAM; }
    template <class F> __device__ __forceinline__ static typename F::Value fold(typename F::Value (&lanes)[WIDTH], int) {
        return reduction::apart<F, WIDTH, TEAM>(lanes);
    }
};

template <int V, class T> __device__ __forceinline__ void load(T (&to)[V], const T* row, int i, bool inside) {
#pragma unroll
    for (int v = 0; v < V; ++v) to[v] = 0;
    if (inside) load_vector(to, row + i);
}

// The place of a thread. Every thread of a block takes part in the reductions, also where it has no row.
template <class Place, int THREADS> struct Here {
    static constexpr u32 WARPS = THREADS / WARP, TEAMS = WARP / Place::TEAM;
    Spread spread;
    u32 lane, warp, team_in_row, warp_in_row, values, row, n;
    bool inside;

    __device__ __forceinline__ Here(u32 count, u32 length, const Spread& shared) : spread(shared) {
        lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
        u32 team = lane / Place::TEAM;
        team_in_row = team & ((1u << spread.teams) - 1), warp_in_row = warp & ((1u << spread.warps) - 1);
        u32 teams = TEAMS >> spread.teams;
        row = (blockIdx.x * (WARPS >> spread.warps) + (warp >> spread.warps)) * teams + (team >> spread.teams);
        inside = row < count;
        n = inside ? length : 0;
        values = spread.turns << spread.warps;
    }
    // The first of the elements that a thread takes in a turn.
    __device__ __forceinline__ u32 first(u32 turn) const {
        u32 block = (((turn << spread.warps) + warp_in_row) << spread.teams) + team_in_row;
        return block * reduction::BLOCK + Place::first(lane % Place::TEAM);
    }
    __device__ __forceinline__ bool leads() const {
        return inside && warp_in_row == 0 && team_in_row == 0 && lane % Place::TEAM == 0;
    }
    // Fold what a warp has of a row in a turn, and leave it for the other warps.
    template <class F>
    __device__ __forceinline__ typename F::Value leave(
        typename F::Value (&lanes)[Place::WIDTH], typename F::Value* totals, u32 turn
    ) const {
        typename F::Value value = Place::template fold<F>(lanes, lane % Place::TEAM);
        for (u32 bits = Place::TEAM; bits < (u32)Place::TEAM << spread.teams; bits *= 2)
            value = F::combine(value, neighbour(value, bits));
        if (values > 1 && lane == 0)
            totals[(warp >> spread.warps) * values + (turn << spread.warps) + warp_in_row] = value;
        return value;
    }
    __device__ __forceinline__ void meet() const {
        if (values > 1) __syncthreads();
    }
    // Every thread gets the value of its row. More values than a warp has lanes are those of a block's only row.
    template <class F, int MOST>
    __device__ __forceinline__ typename F::Value take(typename F::Value value, typename F::Value* totals) const {
        if (values == 1) return value;
        const typename F::Value* own = totals + (warp >> spread.warps) * values;
        u32 left = values;
        if constexpr (MOST > WARP)
            if (left > WARP) {
                for (u32 piece = warp; piece * WARP < left; piece += WARPS) {
                    value = tree<F>(totals[piece * WARP + lane], WARP);
                    if (lane == 0) totals[MOST + piece] = value;
                }
                __syncthreads();
                own = totals + MOST, left /= WARP;
            }
        return tree<F>(own[lane & (left - 1)], left);
    }
    template <class F>
    __device__ __forceinline__ static typename F::Value tree(typename F::Value value, u32 values) {
        for (u32 bits = 1; bits < values; bits *= 2) value = F::combine(value, neighbour(value, bits));
        return value;
    }
};

}  // namespace rows
