// Reductions in the canonical order of opset/orders.py: blocks of 1024 terms, 64 lanes, halves, a tree of neighbours.
//
// A fold is a struct of what is done to terms: their type in memory (Memory), what finds them there (In, a pointer or
// what is used like one), the type that they are combined in (Value), the result's (Result), how many a thread takes side
// by side (WIDTH), and the functions identity, term, combine and finish. Combining is commutative, so where threads
// exchange values each may have its own first.

namespace reduction {

enum : int {
    WARP = 32,
    WARPS = 8,
    THREADS = WARPS * WARP,
    LANES = 64,
    BLOCK = 1024,
    STEPS = BLOCK / LANES,
    BATCH = 8,  // loads that a thread has in flight, where each is of one element
    BATCH_BYTES = 128,  // what it has in flight, where they lie side by side
};

// Terms side by side, in one load; and how far they begin after a place where that can be.
template <int N, class T> __device__ __forceinline__ void vector(T (&to)[N], const T* at) { load_vector(to, at); }
template <int N, class T, class In> __device__ __forceinline__ void vector(T (&to)[N], const In& at) { at.vector(to); }
template <int N, class T> __device__ __forceinline__ void repeated(T (&to)[N], const T* at) {
    T one = *at;
#pragma unroll
    for (int v = 0; v < N; ++v) to[v] = one;
}
template <int N, class T> __device__ __forceinline__ int skew(const T* at) { return (int)((u64)at / sizeof(T) % N); }
template <int N, class In> __device__ __forceinline__ int skew(const In& at) { return at.template skew<N>(); }

template <class T> __device__ __forceinline__ T neighbour(T x, int bits) {
    return __shfl_xor_sync(0xFFFFFFFFu, x, bits);
}

// The best term so far, as a key that orders as terms do, and where it stands.
template <class Key> struct Place {
    Key key;
    u64 index;
};
template <class Key> __device__ __forceinline__ Place<Key> neighbour(Place<Key> x, int bits) {
    Place<Key> other = {neighbour(x.key, bits), neighbour(x.index, bits)};
    return other;
}
template <class Key> __device__ __forceinline__ Place<Key> better(Place<Key> a, Place<Key> b) {
    bool later = b.key > a.key || (b.key == a.key && b.index < a.index);
    Place<Key> best = {later ? b.key : a.key, later ? b.index : a.index};
    return best;
}

// Two's complement of floats of BITS bits in sign and magnitude, and back: integers that order as the numbers do.
template <int BITS, class Int> __device__ __forceinline__ Int flipped(Int bits) {
    constexpr Int MOST = (Int)((1ull << (BITS - 1)) - 1);
    return bits ^ (bits >> (sizeof(Int) * 8 - 1) & MOST);
}

// NaN is beyond all numbers. Where zeros are equal, both have the key of +0; where the least wins, keys descend.
template <int BITS, bool LEAST, bool EQUAL_ZEROS, class Int> __device__ __forceinline__ Int key(Int bits, Int infinity) {
    constexpr Int MOST = (Int)((1ull << (BITS - 1)) - 1);
    Int size = bits & MOST;
    Int number = flipped<BITS>(EQUAL_ZEROS && size == 0 ? (Int)0 : bits);
    return size > infinity ? MOST : LEAST ? ~number : number;
}

// How far elements are, by their number.
struct Line {
    i64 stride;
    __device__ __forceinline__ i64 at(u64 i) const { return (i64)i * stride; }
};
template <int RANK> struct Near {  // fewer than 2^31 elements
    Nest<RANK, 1> nest;
    __device__ __forceinline__ i64 at(u64 i) const {
        i64 found[1];
        offsets(nest, (u32)i, found);
        return found[0];
    }
};

// How far several operands' elements are, where they do not lie alike.
template <int OPERANDS> struct Offsets { i64 by[OPERANDS]; };
template <int RANK, int OPERANDS> struct Nears {
    Nest<RANK, OPERANDS> nest;
    __device__ __forceinline__ Offsets<OPERANDS> at(u64 i) const {
        Offsets<OPERANDS> found;
        offsets(nest, (u32)i, found.by);
        return found;
    }
};
template <int RANK> struct Far {
    u64 size[RANK];
    i64 stride[RANK];
    __device__ __forceinline__ i64 at(u64 i) const {
        i64 found = 0;
#pragma unroll
        for (int d = 0; d < RANK; ++d) {
            u64 rest = d + 1 < RANK ? i / size[d] : 0;
            found += (i64)(i - rest * size[d]) * stride[d];
            i = rest;
        }
        return found;
    }
};

template <class F, int N> __device__ __forceinline__ void clear(typename F::Value (&values)[N]) {
#pragma unroll
    for (int v = 0; v < N; ++v) values[v] = F::identity();
}

// Recursion, not a loop over halves: what is not unrolled whole would keep its array in memory.
template <class F, int LEFT, int N> __device__ __forceinline__ typename F::Value halved(typename F::Value (&lanes)[N]) {
    if constexpr (LEFT > 1) {
#pragma unroll
        for (int v = 0; v < LEFT / 2; ++v) lanes[v] = F::combine(lanes[v], lanes[v + LEFT / 2]);
        return halved<F, LEFT / 2>(lanes);
    }
    return lanes[0];
}

// The halves of WIDTH * TEAM lanes, of which thread t of a team has those from t * WIDTH on. Every thread gets the value.
template <class F, int WIDTH, int TEAM> struct SideBySide {
    typedef typename F::Value Value;
    // While a thread has several lanes it hands half of them to its partner, instead of both doing all.
    template <int LEFT, int HALF> __device__ __forceinline__ static void share(Value (&lanes)[WIDTH], int t) {
        if constexpr (HALF > 0) {
            constexpr int KEPT = LEFT > 1 ? LEFT / 2 : 1;
            bool upper = t & HALF;
#pragma unroll
            for (int v = 0; v < KEPT; ++v) {
                Value kept = lanes[v], given = kept;
                if constexpr (LEFT > 1) {
                    kept = upper ? lanes[v + KEPT] : kept;
                    given = upper ? given : lanes[v + KEPT];
                }
                lanes[v] = F::combine(kept, neighbour(given, HALF));
            }
            share<KEPT, HALF / 2>(lanes, t);
        }
    }
    // Then the lanes that one thread had at first are with as many threads.
    template <int LEFT, int HALF> __device__ __forceinline__ static void join(Value (&lanes)[WIDTH]) {
        if constexpr (HALF > 0 && HALF * WIDTH >= TEAM) {
#pragma unroll
            for (int v = 0; v < LEFT; ++v) lanes[v] = F::combine(lanes[v], neighbour(lanes[v], HALF));
            join<LEFT, HALF / 2>(lanes);
        }
    }
    __device__ __forceinline__ static Value fold(Value (&lanes)[WIDTH], int t) {
        constexpr int LEFT = WIDTH > TEAM ? WIDTH / TEAM : 1;
        share<WIDTH, TEAM / 2>(lanes, t);
        join<LEFT, TEAM / 2>(lanes);
        return halved<F, LEFT>(lanes);
    }
};

// The halves of WIDTH * TEAM lanes, of which thread t of a team has t, t + TEAM, ...
template <class F, int WIDTH, int TEAM>
__device__ __forceinline__ typename F::Value apart(typename F::Value (&lanes)[WIDTH]) {
    typename F::Value value = halved<F, WIDTH>(lanes);
#pragma unroll
    for (int half = TEAM / 2; half; half /= 2) value = F::combine(value, neighbour(value, half));
    return value;
}

// Terms side by side. A team of threads takes a block: thread t the lanes from t * WIDTH on, in one load.
// Where a block begins between two multiples of what a load takes, lanes turn by its skew: the first thread's vectors
// then begin with the last lanes, one step late. Halves of a circle of lanes are the same wherever it begins.
template <class F> struct Dense {
    typedef typename F::Memory Memory;
    typedef typename F::In In;
    typedef typename F::Value Value;
    static constexpr int WIDTH = F::WIDTH, TEAM = LANES / WIDTH, SPAN = BLOCK;
    // Narrow terms take a register each once they are loaded.
    static constexpr int FITTING = BATCH_BYTES / (WIDTH * (sizeof(Memory) < 4 ? 2 : 1) * sizeof(Memory));
    // A power of two, so that batches end where the block does.
    static constexpr int BATCH = FITTING >= reduction::BATCH ? reduction::BATCH : FITTING >= 4 ? 4 : FITTING >= 2 ? 2 : 1;
    static_assert(STEPS % BATCH == 0, "");
    u64 n;

    __device__ __forceinline__ static void take(Value (&lanes)[WIDTH], const Memory (&terms)[WIDTH], u64 at) {
#pragma unroll
        for (int v = 0; v < WIDTH; ++v) lanes[v] = F::combine(lanes[v], F::term(terms[v], at + v));
    }
    // The vector from a number within the block on, as far as the block goes.
    __device__ __forceinline__ static void edge(Value (&lanes)[WIDTH], const In& row, u64 first, int at, int count) {
#pragma unroll
        for (int v = 0; v < WIDTH; ++v)
            if (at + v >= 0 && at + v < count)
                lanes[v] = F::combine(lanes[v], F::term(row[first + (i64)(at + v)], first + (i64)(at + v)));
    }
    template <bool WHOLE>
    __device__ __forceinline__ static void steps(Value (&lanes)[WIDTH], const In& row, u64 first, int start, int last) {
#pragma unroll 1
        for (int begin = 0; begin < STEPS; begin += BATCH) {
            Memory packs[BATCH][WIDTH];
#pragma unroll
            for (int s = 0; s < BATCH; ++s)
                if ((WHOLE || begin + s < last) && (s || begin || start >= 0))
                    vector(packs[s], row + (first + (i64)(start + (begin + s) * LANES)));
#pragma unroll
            for (int s = 0; s < BATCH; ++s)
                if ((WHOLE || begin + s < last) && (s || begin || start >= 0))
                    take(lanes, packs[s], first + (i64)(start + (begin + s) * LANES));
        }
    }
    __device__ __forceinline__ void gather(Value (&lanes)[WIDTH], const In& row, u64 first, int t) const {
        int count = n - first < BLOCK ? (int)(n - first) : BLOCK;
        int start = t * WIDTH - skew<WIDTH>(row + first);
        int last = count - WIDTH - start < 0 ? 0 : (count - WIDTH - start) / LANES + 1;
        if (start < 0) edge(lanes, row, first, start, count);
        if (count == BLOCK)
            steps<true>(lanes, row, first, start, last);
        else
            steps<false>(lanes, row, first, start, last);
        int end = start + last * LANES;
        if (end >= 0 && end < count) edge(lanes, row, first, end, count);
    }
    __device__ __forceinline__ static Value fold(Value (&lanes)[WIDTH], int t) {
        return SideBySide<F, WIDTH, TEAM>::fold(lanes, t);
    }
};

// Terms anywhere. A warp takes a block: thread t lanes t and t + 32.
template <class F, class Walk> struct Strided {
    typedef typename F::Memory Memory;
    typedef typename F::In In;
    typedef typename F::Value Value;
    static constexpr int WIDTH = LANES / WARP, TEAM = WARP, SPAN = BLOCK;
    u64 n;
    Walk walk;

    __device__ __forceinline__ void gather(Value (&lanes)[WIDTH], const In& row, u64 first, int t) const {
        u64 left = n - first;
#pragma unroll 1
        for (int begin = 0; begin < BLOCK; begin += BATCH * WARP) {
            Memory terms[BATCH];
#pragma unroll
            for (int s = 0; s < BATCH; ++s) {
                u32 i = begin + s * WARP + t;
                if (i < left) terms[s] = row[walk.at(first + i)];
            }
#pragma unroll
            for (int s = 0; s < BATCH; ++s) {
                u32 i = begin + s * WARP + t;
                if (i < left) lanes[s % WIDTH] = F::combine(lanes[s % WIDTH], F::term(terms[s], first + i));
            }
        }
    }
    __device__ __forceinline__ static Value fold(Value (&lanes)[WIDTH], int) { return apart<F, WIDTH, TEAM>(lanes); }
};

// Values of earlier launches, which stand for blocks or for whole branches of the tree.
template <class F> struct Partial {
    typedef const typename F::Value* In;
    typedef typename F::Value Value;
    static constexpr int WIDTH = 4, TEAM = WARP, SPAN = WIDTH * WARP;
    u64 n;

    __device__ __forceinline__ void gather(Value (&values)[WIDTH], const Value* row, u64 first, int t) const {
#pragma unroll
        for (int v = 0; v < WIDTH; ++v)
            if (first + t * WIDTH + v < n) values[v] = row[first + t * WIDTH + v];
    }
    __device__ __forceinline__ static Value fold(Value (&values)[WIDTH], int) {
        Value value = F::combine(F::combine(values[0], values[1]), F::combine(values[2], values[3]));
#pragma unroll
        for (int bits = 1; bits < WARP; bits *= 2) value = F::combine(value, neighbour(value, bits));
        return value;
    }
};

// Where results go: what is done to the value of each is the fold's, or that of another struct with these members.
template <class F> struct Results {
    void* to;
    __device__ __forceinline__ void put(u64 i, typename F::Value value) const {
        static_cast<typename F::Result*>(to)[i] = F::finish(value);
    }
};

template <class F, bool PARTIAL, class Out>
__device__ __forceinline__ void put(const Out& out, u64 i, typename F::Value value) {
    if constexpr (PARTIAL)
        static_cast<typename F::Value*>(out.to)[i] = value;
    else
        out.put(i, value);
}

// How the work on a row is spread: over so many teams of a warp and warps of a block, as shifts, which then go on
// `turns` times; and over so many blocks. Whatever is spread takes spans of the row in order, a power of two of them.
struct Spread {
    u32 teams, warps, turns, tiles;
};

// A result per row. Partial results of a row lie side by side.
template <class F, class Terms, bool PARTIAL, class Kept, class Out>
__device__ __forceinline__ void rows(
    u32 count, const Spread& spread, const Terms& terms, const Kept& kept, const typename Terms::In& in, const Out& out
) {
    typedef typename F::Value Value;
    constexpr u32 TEAMS = WARP / Terms::TEAM;
    __shared__ Value totals[WARP];
    u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, team = lane / Terms::TEAM;
    u32 group = blockIdx.x / spread.tiles, tile = blockIdx.x - group * spread.tiles;
    u32 first_row = group * ((WARPS >> spread.warps) * (TEAMS >> spread.teams));
    u32 row = first_row + (warp >> spread.warps) * (TEAMS >> spread.teams) + (team >> spread.teams);
    u32 warp_in_row = warp & ((1u << spread.warps) - 1), team_in_row = team & ((1u << spread.teams) - 1);
    const typename Terms::In at = in + kept.at(row < count ? row : 0);
    u32 values = spread.turns << spread.warps;
    for (u32 turn = 0; turn < spread.turns; ++turn) {
        u64 branch = (((u64)tile * spread.turns + turn) << spread.warps) + warp_in_row;
        u64 first = ((branch << spread.teams) + team_in_row) * Terms::SPAN;
        Value lanes[Terms::WIDTH];
        clear<F>(lanes);
        if (row < count && first < terms.n) terms.gather(lanes, at, first, lane % Terms::TEAM);
        Value value = Terms::fold(lanes, lane % Terms::TEAM);
        for (u32 bits = Terms::TEAM; bits < (u32)Terms::TEAM << spread.teams; bits *= 2)
            value = F::combine(value, neighbour(value, bits));
        if (values == 1) {
            if (lane % Terms::TEAM == 0 && team_in_row == 0 && row < count)
                put<F, PARTIAL>(out, (u64)row * spread.tiles + tile, value);
            return;
        }
        if (lane == 0) totals[(warp >> spread.warps) * values + (turn << spread.warps) + warp_in_row] = value;
    }
    __syncthreads();
    if (warp >= (WARPS >> spread.warps)) return;
    Value value = lane < values ? totals[warp * values + lane] : F::identity();
    for (u32 bits = 1; bits < values; bits *= 2) value = F::combine(value, neighbour(value, bits));
    row = first_row + warp;
    if (lane == 0 && row < count) put<F, PARTIAL>(out, (u64)row * spread.tiles + tile, value);
}

// Few terms, any strides: a thread per result.
template <class F, int MOST, class Kept, class Walk, class Out>
__device__ __forceinline__ void few(
    u32 count, u32 n, const Walk& walk, const Kept& kept, const typename F::In& in, const Out& out
) {
    u32 row = blockIdx.x * THREADS + threadIdx.x;
    if (row >= count) return;
    typename F::Value lanes[MOST];
    clear<F>(lanes);
    if (n) {
        const typename F::In at = in + kept.at(row);
        typename F::Memory terms[MOST];
#pragma unroll
        for (int i = 0; i < MOST; ++i) terms[i] = at[walk.at(i < n ? i : 0)];  // no branch: arrays stay in registers
#pragma unroll
        for (int i = 0; i < MOST; ++i) {
            typename F::Value lane = F::combine(lanes[i], F::term(terms[i], i));
            lanes[i] = i < n ? lane : lanes[i];
        }
    }
    put<F, false>(out, row, halved<F, MOST>(lanes));
}

// Results that lie side by side, ACROSS threads with WIDTH each in a row; the other threads share the lanes of a block:
// thread y has lanes y, y + DOWN, ..., so the first halves are its own, and the last ones go through shared memory.
template <class F, int ACROSS, int WIDTH, bool PARTIAL, class Kept, class Walk, class Out>
__device__ __forceinline__ void columns(
    u32 width, u64 n, u32 turns, u32 tiles, const Walk& walk, const Kept& kept, const typename F::In& in, const Out& out
) {
    typedef typename F::Value Value;
    typedef typename F::Memory Memory;
    constexpr int DOWN = THREADS / ACROSS, OWN = LANES / DOWN, AT_ONCE = BATCH > OWN ? BATCH / OWN : 1, MOST_TURNS = 8;
    __shared__ Value lanes_of[DOWN][ACROSS * WIDTH];
    __shared__ Value totals[MOST_TURNS][ACROSS * WIDTH];
    int x = threadIdx.x % ACROSS, y = threadIdx.x / ACROSS;
    u32 stripes = (width + ACROSS * WIDTH - 1) / (ACROSS * WIDTH);
    u32 rest = blockIdx.x / stripes, outer = rest / tiles, tile = rest - outer * tiles;
    u32 column = (blockIdx.x - rest * stripes) * (ACROSS * WIDTH) + x * WIDTH;
    bool inside = column < width;
    const typename F::In at = in + kept.at(outer) + (i64)(inside ? column : 0);
    for (u32 turn = 0; turn < turns; ++turn) {
        u64 first = ((u64)tile * turns + turn) * BLOCK;
        u32 block = !inside || first >= n ? 0 : n - first < BLOCK ? (u32)(n - first) : BLOCK;
        Value lanes[OWN][WIDTH];
#pragma unroll
        for (int k = 0; k < OWN; ++k) clear<F>(lanes[k]);
        for (u32 begin = y; begin < block; begin += AT_ONCE * LANES) {
            Memory packs[AT_ONCE][OWN][WIDTH];
#pragma unroll
            for (int s = 0; s < AT_ONCE * OWN; ++s) {
                u32 i = begin + s * DOWN;
                if (i < block) vector(packs[s / OWN][s % OWN], at + walk.at(first + i));
            }
#pragma unroll
            for (int s = 0; s < AT_ONCE * OWN; ++s) {
                u32 i = begin + s * DOWN;
                if (i < block)
#pragma unroll
                    for (int v = 0; v < WIDTH; ++v) {
                        Value term = F::term(packs[s / OWN][s % OWN][v], first + i);
                        lanes[s % OWN][v] = F::combine(lanes[s % OWN][v], term);
                    }
            }
        }
#pragma unroll
        for (int v = 0; v < WIDTH; ++v) {
            Value own[OWN];
#pragma unroll
            for (int k = 0; k < OWN; ++k) own[k] = lanes[k][v];
            lanes_of[y][x * WIDTH + v] = halved<F, OWN>(own);
        }
        for (int half = DOWN / 2; half; half /= 2) {
            __syncthreads();
            if (y < half)
#pragma unroll
                for (int v = 0; v < WIDTH; ++v) {
                    Value& lane = lanes_of[y][x * WIDTH + v];
                    lane = F::combine(lane, lanes_of[y + half][x * WIDTH + v]);
                }
        }
        if (y == 0)
#pragma unroll
            for (int v = 0; v < WIDTH; ++v) totals[turn][x * WIDTH + v] = lanes_of[0][x * WIDTH + v];
        __syncthreads();
    }
    if (y || !inside) return;
#pragma unroll
    for (int v = 0; v < WIDTH; ++v) {
        for (u32 left = turns / 2; left; left /= 2)
            for (u32 i = 0; i < left; ++i)
                totals[i][x * WIDTH + v] = F::combine(totals[2 * i][x * WIDTH + v], totals[2 * i + 1][x * WIDTH + v]);
        u64 row = (u64)outer * width + column + v;
        put<F, PARTIAL>(out, row * tiles + tile, totals[0][x * WIDTH + v]);
    }
}

}  // namespace reduction
