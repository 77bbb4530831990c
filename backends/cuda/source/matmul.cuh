// Matrix products by multiply-adds: one chain per element of the result and per block of terms.
//
// A block of threads makes a tile of the result. Terms come through shared memory, DEPTH of them at a time and term by
// term, so that a thread reads its rows and its columns as vectors. While one buffer is read, the next terms are under
// way to registers; then they go to the other buffer.

// An element of an operand or a result: how it lies in memory, and the value that is computed with. Integers wrap, so
// their values are unsigned.
template <class M, class V> struct Element {
    typedef M Memory;
    typedef V Value;
    static __device__ __forceinline__ V widened(M x) { return (V)x; }
    static __device__ __forceinline__ M narrowed(V x) { return (M)x; }
    static __device__ __forceinline__ M zero() { return (M)0; }
    static __device__ __forceinline__ M minus_zero() { return (M) - (V)0; }
};

struct Float16 {
    typedef u16 Memory;
    typedef f32 Value;
    static __device__ __forceinline__ f32 widened(u16 x) { return f16_to_f32(x); }
    static __device__ __forceinline__ u16 narrowed(f32 x) { return f32_to_f16(x); }
    static __device__ __forceinline__ u16 zero() { return 0; }
    static __device__ __forceinline__ u16 minus_zero() { return 0x8000; }
};

struct BFloat16 {
    typedef u16 Memory;
    typedef f32 Value;
    static __device__ __forceinline__ f32 widened(u16 x) { return bf16_to_f32(x); }
    static __device__ __forceinline__ u16 narrowed(f32 x) { return f32_to_bf16(x); }
    static __device__ __forceinline__ u16 zero() { return 0; }
    static __device__ __forceinline__ u16 minus_zero() { return 0x8000; }
};

__device__ __forceinline__ f32 multiply_add(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
__device__ __forceinline__ f64 multiply_add(f64 a, f64 b, f64 c) { return fma(a, b, c); }
__device__ __forceinline__ u32 multiply_add(u32 a, u32 b, u32 c) { return a * b + c; }
__device__ __forceinline__ u64 multiply_add(u64 a, u64 b, u64 c) { return a * b + c; }

constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr int larger(int a, int b) { return a < b ? b : a; }

template <class T, int N> struct alignas(sizeof(T) * N) Vector {
    T elements[N];
};

// Elements of a result that lie side by side. The compiler makes single accesses of such a vector in unrolled loops, so it
// goes out as words.
template <class T, int N> __device__ __forceinline__ void store_vector(T* to, const T (&x)[N]) {
    if constexpr (sizeof(T) * N < 4 || sizeof(T) > 8) {
        for (int i = 0; i < N; ++i) to[i] = x[i];
    } else {
        u32 words[sizeof(T) * N / 4];
        if constexpr (sizeof(T) == 8) {
#pragma unroll
            for (int i = 0; i < N; ++i) words[2 * i] = (u32)bits_as<u64>(x[i]), words[2 * i + 1] = bits_as<u64>(x[i]) >> 32;
        } else if constexpr (sizeof(T) == 4) {
#pragma unroll
            for (int i = 0; i < N; ++i) words[i] = bits_as<u32>(x[i]);
        } else {
            constexpr int EACH = 4 / sizeof(T), BITS = 8 * sizeof(T);
#pragma unroll
            for (int i = 0; i < N; ++i)
                words[i / EACH] = (i % EACH ? words[i / EACH] : 0) | ((u32)x[i] & (1u << BITS) - 1) << i % EACH * BITS;
        }
        store_words(to, words);
    }
}

// Elements of a row of a result, of which `left` are within it: as vectors of up to 16 bytes, or one by one.
template <bool VECTORS, class T, int W> __device__ __forceinline__ void keep(T* to, int left, const T (&x)[W]) {
    if constexpr (VECTORS) {
        constexpr int PIECE = smaller(W, 16 / sizeof(T));
#pragma unroll
        for (int v = 0; v < W; v += PIECE) {
            T piece[PIECE];
#pragma unroll
            for (int w = 0; w < PIECE; ++w) piece[w] = x[v + w];
            store_vector(to + v, piece);
        }
    } else {
#pragma unroll
        for (int w = 0; w < W; ++w)
            if (w < left) to[w] = x[w];
    }
}

// Where results go, `at` elements into what is written: to one array, as they are. A kernel with an epilogue has a sink
// of its own.
template <class Out> struct Plain {
    typename Out::Memory* c;
    template <bool VECTORS, int W>
    __device__ __forceinline__ void put(i64 at, i64, i64, int left, const typename Out::Memory (&made)[W]) const {
        if (left > 0) keep<VECTORS>(c + at, left, made);
    }
};

// Operands of an epilogue, of which a thread takes W elements of a row at a time: anyhow, or where rows may be read as
// vectors.
template <int COUNT> struct Across {
    i64 row[COUNT], column[COUNT];
};
template <class T> struct AcrossRow {
    const T* data;
    i64 row_stride, column_stride;
    template <int W> __device__ __forceinline__ void load(T (&to)[W], i64 row, i64 column, int left) const {
        const T* from = data + row * row_stride + column * column_stride;
#pragma unroll
        for (int w = 0; w < W; ++w) to[w] = w < left ? from[w * column_stride] : (T)0;
    }
};
template <class T> struct AlongRow {
    const T* data;
    i64 row_stride, column_stride;
    template <int W> __device__ __forceinline__ void load(T (&to)[W], i64 row, i64 column, int) const {
        load_vector(to, data + row * row_stride + column);
    }
};

// What a launch computes: strides in elements, `shares` of at most `share` terms whose results lie `part` elements apart.
struct Product {
    i64 rows, columns, depth;
    i64 a_row, a_depth, b_depth, b_column;
    i64 share, part;
    u32 row_tiles, column_tiles, shares;
};

// Which tile a block makes. Neighbours in time share rows and columns, so that the second-level cache serves them.
struct Place {
    u32 row_tile, column_tile, share, batch;
    __device__ __forceinline__ explicit Place(const Product& p) {
        constexpr u32 GROUP = 8;
        u32 tiles = p.row_tiles * p.column_tiles, rest = blockIdx.x / tiles, tile = blockIdx.x - rest * tiles;
        batch = rest / p.shares, share = rest - batch * p.shares;
        u32 group = tile / (GROUP * p.column_tiles), first = group * GROUP;
        u32 height = p.row_tiles - first < GROUP ? p.row_tiles - first : GROUP;
        tile -= first * p.column_tiles;
        column_tile = tile / height, row_tile = first + tile - column_tile * height;
    }
};

// Brings EXTENT rows or columns of an operand, DEPTH terms of each, from memory to shared memory.
// What is beyond the operand becomes -0 on one side and +0 on the other: their product changes no sum, not even -0.
template <class E, int EXTENT, int DEPTH, int VECTOR, bool ALONG_DEPTH, int THREADS> struct Loader {
    typedef E Kind;
    typedef typename E::Memory Memory;
    typedef typename E::Value Value;
    static constexpr int ACROSS = (ALONG_DEPTH ? DEPTH : EXTENT) / VECTOR;
    static constexpr int LINES = ALONG_DEPTH ? EXTENT : DEPTH;
    static constexpr int STEP = THREADS / ACROSS;
    static constexpr int PIECES = (LINES + STEP - 1) / STEP;
    static constexpr int WIDTH = 16 / sizeof(Value);
    static constexpr int STORED = smaller(WIDTH, VECTOR);
    // A warp whose lanes go along the depth writes to several rows of shared memory at once: they are exchanged in units
    // such that the banks differ. A unit holds whole vectors, which readers then find unbroken.
    static constexpr int UNIT = larger(32 / smaller(ACROSS, 32), WIDTH);
    static constexpr int SPREAD = larger(smaller(ACROSS, smaller(EXTENT, 128 / (int)sizeof(Value)) / UNIT), 1);
    static_assert(THREADS % ACROSS == 0, "threads go across lines in whole rounds");

    // An address for each piece saves an addition of 64 bits at each step, as long as they are few.
    static constexpr int ADDRESSES = PIECES <= 4 ? PIECES : 1;

    const Memory* from[ADDRESSES];
    i64 next_line, next_depth;
    int line, across;
    Memory held[PIECES][VECTOR];

    __device__ __forceinline__ Loader(const Memory* data, i64 extent_stride, i64 depth_stride) {
        line = (int)threadIdx.x / ACROSS, across = (int)threadIdx.x % ACROSS * VECTOR;
        i64 line_stride = ALONG_DEPTH ? extent_stride : depth_stride;
        data += across * (ALONG_DEPTH ? depth_stride : extent_stride);
#pragma unroll
        for (int i = 0; i < ADDRESSES; ++i) from[i] = data + (line + i * STEP) * line_stride;
        next_line = STEP * line_stride, next_depth = DEPTH * depth_stride;
    }

    __device__ __forceinline__ Vector<Memory, VECTOR> piece(int i) const {
        const Memory* at = ADDRESSES == PIECES ? from[i % ADDRESSES] : from[0] + i * next_line;
        return *reinterpret_cast<const Vector<Memory, VECTOR>*>(at);
    }
    __device__ __forceinline__ void advance() {
#pragma unroll
        for (int i = 0; i < ADDRESSES; ++i) from[i] += next_depth;
    }

    static __device__ __forceinline__ int place(int e, int d) {
        return d * EXTENT + (ALONG_DEPTH ? e ^ d / VECTOR % SPREAD * UNIT : e);
    }

    // Where nothing is beyond the operand, no piece is tested.
    __device__ __forceinline__ void fetch() {
        if (PIECES * STEP > LINES) return fetch(EXTENT, DEPTH, E::zero());
#pragma unroll
        for (int i = 0; i < PIECES; ++i) {
            auto vector = piece(i);
#pragma unroll
            for (int v = 0; v < VECTOR; ++v) held[i][v] = vector.elements[v];
        }
        advance();
    }

    __device__ __forceinline__ void fetch(int extent, int depth, Memory beyond) {
#pragma unroll
        for (int i = 0; i < PIECES; ++i) {
            int at = line + i * STEP;
            bool inside = ALONG_DEPTH ? at < extent && across < depth : across < extent && at < depth;
            if (PIECES * STEP > LINES) inside = inside && at < LINES;
            Vector<Memory, VECTOR> vector;
            if (inside) vector = piece(i);
#pragma unroll
            for (int v = 0; v < VECTOR; ++v) held[i][v] = inside ? vector.elements[v] : beyond;
        }
        advance();
    }

    __device__ __forceinline__ void store(Value* shared) const {
#pragma unroll
        for (int i = 0; i < PIECES; ++i) {
            int at = line + i * STEP;
            if (PIECES * STEP > LINES && at >= LINES) continue;
            if (ALONG_DEPTH) {
                Value* to = shared + (STEP % (UNIT * SPREAD) ? place(at, across) : place(line, across) + i * STEP);
#pragma unroll
                for (int v = 0; v < VECTOR; ++v) to[v * EXTENT] = E::widened(held[i][v]);
            } else {
#pragma unroll
                for (int v = 0; v < VECTOR; v += STORED) {
                    Vector<Value, STORED> vector;
#pragma unroll
                    for (int w = 0; w < STORED; ++w) vector.elements[w] = E::widened(held[i][v + w]);
                    *reinterpret_cast<Vector<Value, STORED>*>(shared + place(across + v, at)) = vector;
                }
            }
        }
    }
};

// The rows, or the columns, of a tile that one thread has: COUNT of them in vectors, which lie evenly over the tile.
template <class Value, int WARPS, int LANES, int COUNT> struct Held {
    static constexpr int WIDTH = smaller(COUNT, 16 / sizeof(Value));
    static constexpr int EXTENT = WARPS * LANES * COUNT, APART = WARPS * LANES * WIDTH;
    static __device__ __forceinline__ int at(int warp, int lane, int i) {
        return (warp * LANES + lane) * WIDTH + i / WIDTH * APART + i % WIDTH;
    }
    template <class L>
    static __device__ __forceinline__ void read(Value (&to)[COUNT], const Value* shared, int warp, int lane, int d) {
        static_assert(COUNT == WIDTH || APART % (L::UNIT * L::SPREAD) == 0, "one exchange serves all of a thread's vectors");
        shared += L::place(at(warp, lane, 0), d);
#pragma unroll
        for (int i = 0; i < COUNT; i += WIDTH) {
            auto vector = *reinterpret_cast<const Vector<Value, WIDTH>*>(shared + i / WIDTH * APART);
#pragma unroll
            for (int w = 0; w < WIDTH; ++w) to[i + w] = vector.elements[w];
        }
    }
};

// A tile of the result. Chains of CHAIN terms (0: as long as there are terms) are added in ascending order; while a chain
// is at work, the sum of those before it waits in shared memory, where it costs no register. VECTORS says whether rows of
// the result may be written as vectors; were it not known to the compiler, it would merge both ways into the slow one.
template <class A, class B, class Rows, class Columns, int WARP_COLUMNS, int LANE_COLUMNS, int TM, int TN, int DEPTH,
          int CHAIN, int THREADS, bool VECTORS, class Out, class Sink>
__device__ __forceinline__ void multiply(const Product& p, const Place& place, const typename A::Memory* a,
                                         const typename B::Memory* b, const Sink& sink, u8* memory) {
    typedef typename A::Value Value;
    constexpr int M = Rows::EXTENT, N = Columns::EXTENT;
    constexpr int UNROLLED = 8;  // more of them take more registers than there are
    i64 row = (i64)place.row_tile * M, column = (i64)place.column_tile * N, first = place.share * p.share;
    i64 terms = p.depth - first < p.share ? p.depth - first : p.share;
    int rows = (int)(p.rows - row < M ? p.rows - row : M), columns = (int)(p.columns - column < N ? p.columns - column : N);
    u32 steps = (u32)((terms + DEPTH - 1) / DEPTH);
    int last = (int)(terms - ((i64)steps - 1) * DEPTH);  // terms of the last step
    bool inner = rows == M && columns == N;

    Value* shared_a = reinterpret_cast<Value*>(memory);
    Value* shared_b = shared_a + 2 * DEPTH * M;
    Value* sums = shared_b + 2 * DEPTH * N + threadIdx.x;

    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int warp_row = warp / WARP_COLUMNS, warp_column = warp % WARP_COLUMNS;
    // Of every four lanes, two neighbours share columns and two others rows: what a warp reads of shared memory with words
    // in common to all such pairs comes twice as fast (NVIDIA developer forum, "Unexpected shared memory bank conflict").
    int lane_row = lane / (2 * LANE_COLUMNS) * 2 + lane % 2, lane_column = lane / 2 % LANE_COLUMNS;

    A from_a(a + row * p.a_row + first * p.a_depth, p.a_row, p.a_depth);
    B from_b(b + column * p.b_column + first * p.b_depth, p.b_column, p.b_depth);
    auto fetch = [&](u32 step) {
        int depth = step + 1 < steps ? DEPTH : last;
        if (inner && depth == DEPTH) {
            from_a.fetch();
            from_b.fetch();
        } else {
            from_a.fetch(rows, depth, A::Kind::minus_zero());
            from_b.fetch(columns, depth, B::Kind::zero());
        }
    };
    auto store = [&](u32 step) {
        from_a.store(shared_a + step % 2 * (DEPTH * M));
        from_b.store(shared_b + step % 2 * (DEPTH * N));
        __syncthreads();
    };

    Value chain[TM][TN], none = A::Kind::widened(A::Kind::zero());
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) chain[i][j] = none;
    bool later = false;  // whether there is a sum of chains before this one

    auto compute = [&](u32 step) {
        const Value* now_a = shared_a + step % 2 * (DEPTH * M);
        const Value* now_b = shared_b + step % 2 * (DEPTH * N);
#pragma unroll UNROLLED
        for (int d = 0; d < DEPTH; ++d) {
            Value x[TM], y[TN];
            Rows::template read<A>(x, now_a, warp_row, lane_row, d);
            Columns::template read<B>(y, now_b, warp_column, lane_column, d);
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) chain[i][j] = multiply_add(x[i], y[j], chain[i][j]);
        }
    };
    if (steps) {
        fetch(0);
        store(0);
        for (u32 step = 0; step + 1 < steps; ++step) {
            fetch(step + 1);
            compute(step);
            if (CHAIN && (step + 1) % (CHAIN / DEPTH) == 0) {
#pragma unroll
                for (int i = 0; i < TM; ++i)
#pragma unroll
                    for (int j = 0; j < TN; ++j) {
                        Value& sum = sums[(i * TN + j) * THREADS];
                        sum = later ? sum + chain[i][j] : chain[i][j];
                        chain[i][j] = none;
                    }
                later = true;
            }
            store(step + 1);
        }
        compute(steps - 1);
    }

    i64 origin = place.share * p.part + (place.batch * p.rows + row) * p.columns + column;
#pragma unroll
    for (int i = 0; i < TM; ++i) {
        int at_row = Rows::at(warp_row, lane_row, i);
        if (at_row >= rows) continue;
#pragma unroll
        for (int j = 0; j < TN; j += Columns::WIDTH) {
            int at_column = Columns::at(warp_column, lane_column, j);
            typename Out::Memory made[Columns::WIDTH];
#pragma unroll
            for (int w = 0; w < Columns::WIDTH; ++w) {
                Value sum = chain[i][j + w];
                if (CHAIN && later) sum = sums[(i * TN + j + w) * THREADS] + sum;
                made[w] = Out::narrowed(sum);
            }
            i64 at = origin + at_row * p.columns + at_column;
            sink.template put<VECTORS>(at, row + at_row, column + at_column, columns - at_column, made);
        }
    }
}

// Adds the results of all shares in ascending order.
template <class Out, class Sink> __device__ __forceinline__ void add_shares(const typename Out::Value* parts, u64 n,
                                                                            u32 shares, const Sink& sink) {
    constexpr u32 FLIGHT = 8;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        typename Out::Value sum = parts[i];
        for (u32 s = 1; s < shares; s += FLIGHT) {
            typename Out::Value next[FLIGHT];
#pragma unroll
            for (u32 f = 0; f < FLIGHT; ++f)
                if (s + f < shares) next[f] = parts[(s + f) * n + i];
#pragma unroll
            for (u32 f = 0; f < FLIGHT; ++f)
                if (s + f < shares) sum = sum + next[f];
        }
        typename Out::Memory made[1] = {Out::narrowed(sum)};
        sink.template put<false>((i64)i, 0, 0, 1, made);
    }
}
