// Matrix products with few rows, or few columns, which are as fast as the other operand comes from memory: it is read
// once, 16 bytes at a time and past shared memory, and every element meets all of the few.
//
// A block has ALONG groups of warps that take terms by turns; what they summed is added in ascending order.

// The two operands, whichever is which: COUNT rows or columns of the few, LINES of the other in a block.
template <class E, int COUNT, bool ROWS> struct Skinny {
    typedef typename E::Memory Memory;
    typedef typename E::Value Value;
    static constexpr int VECTOR = 16 / sizeof(Memory);

    const Memory *few, *many;
    i64 few_line, few_depth, many_line, many_depth, lines, terms;
    int count;

    __device__ __forceinline__ Skinny(const Product& p, const Place& place, const Memory* a, const Memory* b) {
        i64 first = place.share * p.share;
        few = (ROWS ? a : b) + first * (ROWS ? p.a_depth : p.b_depth);
        many = (ROWS ? b : a) + first * (ROWS ? p.b_depth : p.a_depth);
        few_line = ROWS ? p.a_row : p.b_column, few_depth = ROWS ? p.a_depth : p.b_depth;
        many_line = ROWS ? p.b_column : p.a_row, many_depth = ROWS ? p.b_depth : p.a_depth;
        lines = ROWS ? p.columns : p.rows, count = (int)(ROWS ? p.rows : p.columns);
        terms = p.depth - first < p.share ? p.depth - first : p.share;
    }

    // Terms of one of the few, which are repeated up to COUNT: `left` of them, then zeros.
    template <bool DENSE, int N> __device__ __forceinline__ void load(Value (&to)[N], int f, i64 k, int left) const {
        const Memory* from = few + (f < count ? f : 0) * few_line + k * few_depth;
        Vector<Memory, N> vector;
        if constexpr (DENSE) {
            vector = *reinterpret_cast<const Vector<Memory, N>*>(from);
        } else {
#pragma unroll
            for (int n = 0; n < N; ++n) vector.elements[n] = n < left ? from[n * few_depth] : E::zero();
        }
#pragma unroll
        for (int n = 0; n < N; ++n) to[n] = E::widened(vector.elements[n]);
    }

    // Adds products of all of the few with N vectors of the other operand, from term k on. ALONG says whether a vector is
    // of one line, its elements being terms, or else of one term.
    template <bool DENSE, bool ALONG, int N, int EACH>
    __device__ __forceinline__ void add(Value (&sums)[EACH][COUNT], const Vector<Memory, VECTOR> (&vectors)[N], i64 k,
                                        int left) const {
#pragma unroll
        for (int f = 0; f < COUNT; ++f) {
            Value x[ALONG ? VECTOR : N];
            load<DENSE>(x, f, k, left);
#pragma unroll
            for (int n = 0; n < N; ++n)
#pragma unroll
                for (int v = 0; v < VECTOR; ++v) {
                    Value& sum = sums[ALONG ? n : v][f];
                    sum = multiply_add(E::widened(vectors[n].elements[v]), x[ALONG ? v : n], sum);
                }
        }
    }
};

// What the groups of a block summed, one after the other, to where results go. LINES by COUNT sums of a group lie line by
// line in shared memory.
template <int COUNT, bool ROWS, int LINES, int ALONG, int THREADS, class Out, class Sink>
__device__ __forceinline__ void add_groups(const Product& p, const Place& place, i64 line, int count, i64 lines,
                                           const typename Out::Value* sums, const Sink& sink) {
    __syncthreads();
    for (int i = (int)threadIdx.x; i < LINES * COUNT; i += THREADS) {
        int f = i / LINES;
        i64 at_line = line + i % LINES;
        if (f >= count || at_line >= lines) continue;
        typename Out::Value sum = sums[i];
#pragma unroll
        for (int g = 1; g < ALONG; ++g) sum = sum + sums[g * (LINES * COUNT) + i];
        typename Out::Memory made[1] = {Out::narrowed(sum)};
        i64 row = ROWS ? f : at_line, column = ROWS ? at_line : f;
        i64 at = place.share * p.part + (place.batch * p.rows + row) * p.columns + column;
        sink.template put<false>(at, row, column, 1, made);
    }
}

// Where the terms of a line lie side by side, a warp has EACH lines, and its lanes go along the terms.
template <class E, int COUNT, bool ROWS, bool DENSE, int EACH, int ACROSS, int ALONG, class Out, class Sink>
__device__ __forceinline__ void multiply_along_terms(const Product& p, const Place& place,
                                                     const typename E::Memory* a, const typename E::Memory* b,
                                                     const Sink& sink, u8* memory) {
    typedef typename E::Value Value;
    constexpr int LINES = ACROSS * EACH, THREADS = 32 * ACROSS * ALONG;
    Skinny<E, COUNT, ROWS> s(p, place, a, b);
    constexpr int VECTOR = s.VECTOR;
    int lane = (int)threadIdx.x % 32, group = (int)threadIdx.x / 32 % ALONG, across = (int)threadIdx.x / 32 / ALONG;
    i64 line = (i64)(ROWS ? place.column_tile : place.row_tile) * LINES;

    const typename E::Memory* from[EACH];
    Value sums[EACH][COUNT];
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        i64 mine = line + across * EACH + i;
        from[i] = s.many + (mine < s.lines ? mine : s.lines - 1) * s.many_line;
#pragma unroll
        for (int f = 0; f < COUNT; ++f) sums[i][f] = 0;
    }
    for (i64 k = (group * 32 + lane) * VECTOR; k < s.terms; k += ALONG * 32 * VECTOR) {
        Vector<typename E::Memory, VECTOR> terms[EACH];
#pragma unroll
        for (int i = 0; i < EACH; ++i) terms[i] = *reinterpret_cast<const Vector<typename E::Memory, VECTOR>*>(from[i] + k);
        s.template add<DENSE, true>(sums, terms, k, VECTOR);
    }

    Value* kept = reinterpret_cast<Value*>(memory) + group * (LINES * COUNT);
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int f = 0; f < COUNT; ++f) {
            Value sum = sums[i][f];
#pragma unroll
            for (int bit = 16; bit; bit /= 2) sum = sum + __shfl_xor_sync(0xFFFFFFFFu, sum, bit);
            if (lane == (i * COUNT + f) % 32) kept[f * LINES + across * EACH + i] = sum;
        }
    add_groups<COUNT, ROWS, LINES, ALONG, THREADS, Out>(p, place, line, s.count, s.lines,
                                                        reinterpret_cast<const Value*>(memory), sink);
}

// Where lines lie side by side, a lane has a vector of them, and a warp takes TERMS terms at a time.
template <class E, int COUNT, bool ROWS, bool DENSE, int TERMS, int ALONG, class Out, class Sink>
__device__ __forceinline__ void multiply_across_terms(const Product& p, const Place& place,
                                                      const typename E::Memory* a, const typename E::Memory* b,
                                                      const Sink& sink, u8* memory) {
    typedef typename E::Value Value;
    Skinny<E, COUNT, ROWS> s(p, place, a, b);
    constexpr int VECTOR = s.VECTOR, LINES = 32 * VECTOR, THREADS = 32 * ALONG;
    int lane = (int)threadIdx.x % 32, group = (int)threadIdx.x / 32;
    i64 line = (i64)(ROWS ? place.column_tile : place.row_tile) * LINES, mine = line + lane * VECTOR;
    const typename E::Memory* from = s.many + (mine < s.lines ? mine : s.lines - VECTOR);

    Value sums[VECTOR][COUNT];
#pragma unroll
    for (int v = 0; v < VECTOR; ++v)
#pragma unroll
        for (int f = 0; f < COUNT; ++f) sums[v][f] = 0;
    auto take = [&](const typename E::Memory* at, i64 k, int left) {
        Vector<typename E::Memory, VECTOR> terms[TERMS];
#pragma unroll
        for (int t = 0; t < TERMS; ++t) {
            // Beyond the terms are zeros: what lies there may be infinite, or not the operand's.
            if (t < left)
                terms[t] = *reinterpret_cast<const Vector<typename E::Memory, VECTOR>*>(at + t * s.many_depth);
            else
#pragma unroll
                for (int v = 0; v < VECTOR; ++v) terms[t].elements[v] = E::zero();
        }
        s.template add<DENSE, false>(sums, terms, k, left);
    };
    i64 k = group * TERMS;
    from += k * s.many_depth;
    for (; k + TERMS <= s.terms; k += ALONG * TERMS) {
        take(from, k, TERMS);
        from += ALONG * TERMS * s.many_depth;
    }
    if (!DENSE && k < s.terms) take(from, k, (int)(s.terms - k));

    Value* kept = reinterpret_cast<Value*>(memory) + group * (LINES * COUNT) + lane * VECTOR;
#pragma unroll
    for (int f = 0; f < COUNT; ++f)
#pragma unroll
        for (int v = 0; v < VECTOR; ++v) kept[f * LINES + v] = sums[v][f];
    add_groups<COUNT, ROWS, LINES, ALONG, THREADS, Out>(p, place, line, s.count, s.lines,
                                                        reinterpret_cast<const Value*>(memory), sink);
}
