// Matrix products on tensor cores by `mma.sync`: float16 and bfloat16 summed in float32, int8 and uint8 in int32.
//
// Terms are counted in bytes: a step of a warp takes 32 of them, a stage of the pipeline 64. Every element of the
// result is summed in ascending steps of 32 bytes, whatever the tile and however operands are read.

constexpr int STEP_BYTES = 32, STAGE_BYTES = 64, PIECE = 16;

#define OPMUX_WARP_PRODUCT(Name, M, S, run_it)                                                                        \
    struct Name {                                                                                                     \
        typedef M Memory;                                                                                             \
        typedef S Sum;                                                                                                \
        static __device__ __forceinline__ void run(S (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {                    \
            run_it(c, a, b0, b1);                                                                                     \
        }                                                                                                             \
    };
OPMUX_WARP_PRODUCT(MmaFloat16, u16, f32, mma_f16)
OPMUX_WARP_PRODUCT(MmaBFloat16, u16, f32, mma_bf16)
OPMUX_WARP_PRODUCT(MmaInt8, u8, i32, mma_i8)
OPMUX_WARP_PRODUCT(MmaUInt8, u8, i32, mma_u8)
#undef OPMUX_WARP_PRODUCT

// A stage in shared memory with the terms of a row or column side by side. Pieces of 16 bytes are exchanged such that
// the 8 rows of a matrix lie in different banks.
template <int EXTENT> struct DepthMajor {
    static __device__ __forceinline__ int place(int e, int piece) {
        return e * STAGE_BYTES + (piece ^ (e >> 1 & 3)) * PIECE;
    }
    // 16 rows, 32 bytes of terms: the first 8, the others, then both for the later 16 bytes.
    static __device__ __forceinline__ void read_rows(u32 (&to)[4], const u8* stage, int first, int step, int lane) {
        load_matrices(to, stage + first * STAGE_BYTES + place(lane % 16, step * 2 + lane / 16));
    }
    // 16 columns, 32 bytes of terms: the first 8 and their later 16 bytes, then the others. What an instruction takes of
    // the second operand is a pair of registers, which it would else be moved to.
    static __device__ __forceinline__ void read_columns(u32 (&to)[4], const u8* stage, int first, int step, int lane) {
        load_matrices(to, stage + first * STAGE_BYTES + place(lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
    }
};

// A stage with neighbouring rows or columns side by side, term by term; for elements of 2 bytes.
template <int EXTENT> struct ExtentMajor {
    static __device__ __forceinline__ int place(int d, int piece) {
        return d * (EXTENT * 2) + (piece ^ (d & 7)) * PIECE;
    }
    static __device__ __forceinline__ void read_rows(u32 (&to)[4], const u8* stage, int first, int step, int lane) {
        load_matrices_transposed(to, stage + place(step * 16 + lane % 8 + lane / 16 * 8, first / 8 + lane / 8 % 2));
    }
    static __device__ __forceinline__ void read_columns(u32 (&to)[4], const u8* stage, int first, int step, int lane) {
        load_matrices_transposed(to, stage + place(step * 16 + lane % 16, first / 8 + lane / 16));
    }
};

// Brings stages of an operand whose terms lie side by side, 16 bytes at a time, past registers.
template <class T, int EXTENT, int THREADS> struct AlongDepth : DepthMajor<EXTENT> {
    static constexpr int ACROSS = STAGE_BYTES / PIECE, LINES = THREADS / ACROSS, PIECES = EXTENT / LINES;
    static constexpr int TERMS = PIECE / sizeof(T);
    static_assert(LINES % 8 == 0, "pieces of all lines of a thread are exchanged alike");
    const T* from;
    i64 next_line;
    int line, piece, to;
    __device__ __forceinline__ AlongDepth(const T* data, i64 extent_stride, i64) {
        line = (int)threadIdx.x / ACROSS, piece = (int)threadIdx.x % ACROSS, to = this->place(line, piece);
        from = data + line * extent_stride + piece * TERMS, next_line = LINES * extent_stride;
    }
    __device__ __forceinline__ void fetch(u8* stage, int extent, int depth) {
#pragma unroll
        for (int i = 0; i < PIECES; ++i) {
            int e = line + i * LINES;
            bool inside = e < extent && piece * TERMS < depth;
            copy_async(stage + to + i * LINES * STAGE_BYTES, from + i * next_line, inside);
        }
        from += STAGE_BYTES / sizeof(T);
    }
};

// The same where rows or columns lie side by side.
template <class T, int EXTENT, int THREADS> struct AlongExtent : ExtentMajor<EXTENT> {
    static constexpr int TERMS = PIECE / sizeof(T), ACROSS = EXTENT / TERMS, LINES = THREADS / ACROSS;
    static constexpr int DEPTH = STAGE_BYTES / sizeof(T), PIECES = DEPTH / LINES;
    static_assert(LINES % 8 == 0, "pieces of all lines of a thread are exchanged alike");
    const T* from;
    i64 next_line, next_depth;
    int line, piece, to;
    __device__ __forceinline__ AlongExtent(const T* data, i64, i64 depth_stride) {
        line = (int)threadIdx.x / ACROSS, piece = (int)threadIdx.x % ACROSS, to = this->place(line, piece);
        from = data + line * depth_stride + piece * TERMS;
        next_line = LINES * depth_stride, next_depth = DEPTH * depth_stride;
    }
    __device__ __forceinline__ void fetch(u8* stage, int extent, int depth) {
#pragma unroll
        for (int i = 0; i < PIECES; ++i) {
            int d = line + i * LINES;
            bool inside = piece * TERMS < extent && d < depth;
            copy_async(stage + to + i * LINES * EXTENT * 2, from + i * next_line, inside);
        }
        from += next_depth;
    }
};

template <int BYTES> struct Word;
template <> struct Word<1> { typedef u8 Type; };
template <> struct Word<2> { typedef u16 Type; };
template <> struct Word<4> { typedef u32 Type; };

// Any strides: elements one by one, or VECTOR rows or columns that lie side by side; threads go along the terms, or
// across them.
template <class T, int EXTENT, int THREADS, int VECTOR, bool ALONG_DEPTH> struct Gathered : DepthMajor<EXTENT> {
    static constexpr int ACROSS = STAGE_BYTES / PIECE, TERMS = PIECE / sizeof(T), GROUPS = EXTENT / VECTOR;
    static constexpr int PIECES = (GROUPS * ACROSS + THREADS - 1) / THREADS, BITS = 8 * sizeof(T);
    typedef typename Word<VECTOR * sizeof(T)>::Type Loaded;
    const T* from;
    i64 extent_stride, depth_stride;
    __device__ __forceinline__ Gathered(const T* data, i64 over_extent, i64 over_depth)
        : from(data), extent_stride(over_extent), depth_stride(over_depth) {}
    __device__ __forceinline__ void fetch(u8* stage, int extent, int depth) {
#pragma unroll 1
        for (int i = 0; i < PIECES; ++i) {
            int q = (int)threadIdx.x + i * THREADS;
            int e = (ALONG_DEPTH ? q / ACROSS : q % GROUPS) * VECTOR, piece = ALONG_DEPTH ? q % ACROSS : q / GROUPS;
            if (piece >= ACROSS || e >= EXTENT) continue;
            const T* at = from + e * extent_stride + piece * TERMS * depth_stride;
            Loaded loaded[TERMS];
#pragma unroll
            for (int t = 0; t < TERMS; ++t) {
                bool inside = e < extent && piece * TERMS + t < depth;
                loaded[t] = inside ? *reinterpret_cast<const Loaded*>(at + t * depth_stride) : (Loaded)0;
            }
#pragma unroll
            for (int v = 0; v < VECTOR; ++v) {
                Vector<u32, 4> words;
#pragma unroll
                for (int w = 0; w < 4; ++w) {
                    u32 word = 0;
#pragma unroll
                    for (int t = 0; t < 32 / BITS; ++t)
                        word |= ((u32)loaded[w * (32 / BITS) + t] >> v * BITS & ((1u << BITS) - 1)) << t * BITS;
                    words.elements[w] = word;
                }
                *reinterpret_cast<Vector<u32, 4>*>(stage + this->place(e + v, piece)) = words;
            }
        }
        from += STAGE_BYTES / sizeof(T) * depth_stride;
    }
};

// A tile of the result: warps in rows of WARP_COLUMNS, each with TM by TN blocks of 16 by 16 elements.
template <class Mma, class A, class B, int WARP_ROWS, int WARP_COLUMNS, int TM, int TN, int STAGES, bool VECTORS,
          class Out, class Sink>
__device__ __forceinline__ void multiply_on_tensor_cores(const Product& p, const Place& place,
                                                         const typename Mma::Memory* a, const typename Mma::Memory* b,
                                                         const Sink& sink, u8* memory) {
    typedef typename Mma::Sum Sum;
    constexpr int M = WARP_ROWS * TM * 16, N = WARP_COLUMNS * TN * 16, DEPTH = STAGE_BYTES / sizeof(*a);
    constexpr int STAGE = (M + N) * STAGE_BYTES;
    i64 row = (i64)place.row_tile * M, column = (i64)place.column_tile * N, first = place.share * p.share;
    i64 terms = p.depth - first < p.share ? p.depth - first : p.share;
    int rows = (int)(p.rows - row < M ? p.rows - row : M), columns = (int)(p.columns - column < N ? p.columns - column : N);
    u32 steps = (u32)((terms + DEPTH - 1) / DEPTH);
    int last = (int)(terms - ((i64)steps - 1) * DEPTH);  // terms of the last stage

    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int warp_row = warp / WARP_COLUMNS * (TM * 16), warp_column = warp % WARP_COLUMNS * (TN * 16);

    A from_a(a + row * p.a_row + first * p.a_depth, p.a_row, p.a_depth);
    B from_b(b + column * p.b_column + first * p.b_depth, p.b_column, p.b_depth);
    auto fetch = [&](u32 step) {
        if (step < steps) {
            u8* stage = memory + step % STAGES * STAGE;
            int depth = step + 1 < steps ? DEPTH : last;
            from_a.fetch(stage, rows, depth);
            from_b.fetch(stage + M * STAGE_BYTES, columns, depth);
        }
        copy_commit();  // an empty group too, so that the number of groups under way tells which stage is there
    };

    Sum sums[TM][TN * 2][4];
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN * 2; ++j)
#pragma unroll
            for (int k = 0; k < 4; ++k) sums[i][j][k] = 0;

    for (int s = 0; s < STAGES - 1; ++s) fetch(s);
    for (u32 step = 0; step < steps; ++step) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        fetch(step + STAGES - 1);  // to the stage that all warps have left behind at the barrier
        const u8* stage = memory + step % STAGES * STAGE;
#pragma unroll
        for (int s = 0; s < STAGE_BYTES / STEP_BYTES; ++s) {
            u32 x[TM][4], y[TN][4];
#pragma unroll
            for (int i = 0; i < TM; ++i) A::read_rows(x[i], stage, warp_row + i * 16, s, lane);
#pragma unroll
            for (int j = 0; j < TN; ++j) B::read_columns(y[j], stage + M * STAGE_BYTES, warp_column + j * 16, s, lane);
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) {
                    Mma::run(sums[i][2 * j], x[i], y[j][0], y[j][1]);
                    Mma::run(sums[i][2 * j + 1], x[i], y[j][2], y[j][3]);
                }
        }
    }
    copy_wait<0>();

    i64 origin = place.share * p.part + (place.batch * p.rows + row) * p.columns + column;
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int at_row = warp_row + i * 16 + half * 8 + lane / 4;
            if (at_row >= rows) continue;
#pragma unroll
            for (int j = 0; j < TN * 2; ++j) {
                int at_column = warp_column + j * 8 + lane % 4 * 2;
                typename Out::Memory made[2];
#pragma unroll
                for (int w = 0; w < 2; ++w)
                    made[w] = Out::narrowed((typename Out::Value)sums[i][j][half * 2 + w]);
                i64 at = origin + at_row * p.columns + at_column;
                sink.template put<VECTORS>(at, row + at_row, column + at_column, columns - at_column, made);
            }
        }
}
