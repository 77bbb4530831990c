// What backends/cuda/source/intrinsics.cuh does with instructions of the GPU, in C++.

static inline f32 f16_to_f32(u16 h) {
    u32 sign = (u32)(h & 0x8000) << 16, size = h & 0x7FFF, bits;
    if (size >= 0x7C00)
        bits = size << 13 | 0xFFu << 23;
    else if (size >= 0x400)
        bits = (size << 13) + ((127 - 15) << 23);
    else {
        f32 scaled = (f32)size * 0x1p-24f;  // a subnormal is its fraction times 2^-24
        memcpy(&bits, &scaled, 4);
    }
    bits |= sign;
    f32 x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline u16 f32_to_f16(f32 x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    u32 sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    if (size > 0x7F800000) return (u16)(sign | 0x7E00);
    if (size >= 143u << 23) return (u16)(sign | 0x7C00);
    if (size >= 113u << 23) return (u16)(sign | (size + 0xFFF + (size >> 13 & 1) - ((127 - 15) << 23)) >> 13);
    f32 magnitude, lifted;  // beside 0.5 the last bit is worth 2^-24: the sum rounds
    memcpy(&magnitude, &size, 4);
    lifted = magnitude + 0.5f;
    memcpy(&bits, &lifted, 4);
    return (u16)(sign | (bits - (126u << 23)));
}

template <int N> static void store_words(void* to, const u32 (&x)[N]) {
    if ((size_t)to % sizeof(x)) abort();
    memcpy(to, x, sizeof(x));
}

// Copies that are under way happen when a thread waits for them, and not before.
namespace host {
struct Copy { void* to; const void* from; bool inside; unsigned group; };
struct Copies { Copy under_way[128]; int count; unsigned group; };
static thread_local Copies copies[MOST_THREADS];
static thread_local u32 published[MOST_THREADS][6];
static thread_local const void* rows[MOST_THREADS];

static void wait_for_copies(unsigned most) {
    Copies& mine = copies[block->running];
    int kept = 0;
    for (int i = 0; i < mine.count; ++i) {
        Copy& copy = mine.under_way[i];
        if (mine.group - copy.group <= most) mine.under_way[kept++] = copy;
        else if (copy.inside) memcpy(copy.to, copy.from, 16);
        else memset(copy.to, 0, 16);
    }
    mine.count = kept;
}

static const u8* published_bytes(int lane, int word) {
    return (const u8*)&published[block->running / LANES * LANES + lane][word];
}

// A's and B's terms at (row, k) and (k, column), by the PTX ISA's fragment tables: `size` bytes each, 32 / size of them.
static const u8* term_a(int size, int row, int k) {
    int half = 16 / size, place = k % half * size;
    return published_bytes(row % 8 * 4 + place / 4, (row >= 8) + 2 * (k >= half)) + place % 4;
}
static const u8* term_b(int size, int k, int column) {
    int half = 16 / size, place = k % half * size;
    return published_bytes(column * 4 + place / 4, 4 + (k >= half)) + place % 4;
}

template <class T, class V, class Widen>
static void multiply_matrices(V (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, Widen widen) {
    u32* mine = published[block->running];
    memcpy(mine, a, 16), mine[4] = b0, mine[5] = b1;
    pause(AT_WARP, 0xFFFFFFFFu);
    for (int i = 0; i < 4; ++i) {
        int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
        V sum = c[i];
        for (int k = 0; k < 32 / (int)sizeof(T); ++k) {
            T x, y;
            memcpy(&x, term_a(sizeof(T), row, k), sizeof(T)), memcpy(&y, term_b(sizeof(T), k, column), sizeof(T));
            sum = sum + widen(x) * widen(y);
        }
        c[i] = sum;
    }
    pause(AT_WARP, 0xFFFFFFFFu);
}

template <bool TRANSPOSED> static void read_matrices(u32 (&to)[4], const void* row) {
    int first = block->running / LANES * LANES, high = lane() / 4, low = lane() % 4;
    rows[block->running] = row;
    if ((size_t)row % 16) abort();
    pause(AT_WARP, 0xFFFFFFFFu);
    for (int i = 0; i < 4; ++i) {
        const void* const* matrix = rows + first + 8 * i;
        if (!TRANSPOSED) memcpy(&to[i], (const u8*)matrix[high] + 4 * low, 4);
        else for (int w = 0; w < 2; ++w) memcpy((u8*)&to[i] + 2 * w, (const u8*)matrix[2 * low + w] + 2 * high, 2);
    }
    pause(AT_WARP, 0xFFFFFFFFu);
}
}  // namespace host

static inline void copy_async(void* to, const void* from, bool inside) {
    host::Copies& mine = host::copies[host::block->running];
    if ((size_t)to % 16 || (inside && (size_t)from % 16) || mine.count == 128) abort();
    mine.under_way[mine.count++] = {to, from, inside, mine.group};
}
static inline void copy_commit() { ++host::copies[host::block->running].group; }
template <int N> static void copy_wait() { host::wait_for_copies(N); }

static inline void load_matrices(u32 (&to)[4], const void* row) { host::read_matrices<false>(to, row); }
static inline void load_matrices_transposed(u32 (&to)[4], const void* row) { host::read_matrices<true>(to, row); }

static inline f32 bf16_bits_to_f32(u16 h) {
    u32 bits = (u32)h << 16;
    f32 x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline void mma_f16(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    host::multiply_matrices<u16>(c, a, b0, b1, f16_to_f32);
}
static inline void mma_bf16(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    host::multiply_matrices<u16>(c, a, b0, b1, bf16_bits_to_f32);
}
static inline void mma_i8(i32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    host::multiply_matrices<i8>((u32 (&)[4])c, a, b0, b1, [](i8 x) { return (u32)x; });
}
static inline void mma_u8(i32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    host::multiply_matrices<u8>((u32 (&)[4])c, a, b0, b1, [](u8 x) { return (u32)x; });
}
