// What backends/cuda/source/wgmma.cuh does with instructions of the GPU, in C++. Descriptors are decoded, and matrices
// found, as the PTX ISA says under "Asynchronous Warpgroup Level Matrix Shared Memory Layout". A product is carried out
// when a thread waits for it and nothing else can go on; what changed an operand by then is a fault.

static inline u64 matrix_descriptor(u32 at, u32 panel, u32 next) {
    return (u64)((at & 0x3FFFF) >> 4) | (u64)(panel >> 4) << 16 | (u64)(next >> 4) << 32 | (u64)1 << 62;
}

namespace host {
constexpr u32 OF_WARPGROUP = 128, STEP = 32, IN_FLIGHT = 32;

// The bytes of `size` at row `e` (or column) and term `k` of a matrix.
static const u8* operand(u64 descriptor, bool across, u32 size, u32 e, u32 k) {
    u32 start = (u32)(descriptor & 0x3FFF) << 4, panel = (u32)(descriptor >> 16 & 0x3FFF) << 4;
    u32 next = (u32)(descriptor >> 32 & 0x3FFF) << 4, base = descriptor >> 49 & 7, mode = descriptor >> 62;
    if (mode == 0 || base) fault("the stand-in knows swizzled matrices only, that begin at multiples of 1024");
    u32 width = 256 >> mode;  // bytes of a line: 1 is 128, 2 is 64, 3 is 32
    u32 at;
    if (across) at = start + e * size / width * panel + e * size % width + k / 8 * next + k % 8 * width;
    else at = start + e / 8 * next + e % 8 * width + k * size;
    u32 pieces = width / 16 - 1;
    at ^= (at >> 7 & pieces) << 4;
    return shared_at(my_block(), at, size);
}

template <class S> struct Product {
    u64 a, b;
    bool a_across, b_across, accumulate, made;
    u32 size, kind, columns, taken;
    u8 before_a[64][STEP], before_b[256][STEP];
    S values[64][256];
};
struct Under { u32 number, group; void* sums; bool accumulate; };
struct Thread { u32 issued, ended, groups, registers; bool fenced; Under under[IN_FLIGHT]; };
template <class S> struct Group { u32 begun; Product<S> log[IN_FLIGHT]; };
template <class S> static Group<S>& group_of(int i) {
    static thread_local Group<S>* groups = nullptr;
    if (!groups) groups = (Group<S>*)calloc(MOST_THREADS / OF_WARPGROUP, sizeof(Group<S>));
    return groups[i];
}
static thread_local Thread matrix_threads[MOST_THREADS];
static thread_local u32 spare_registers[MOST_BLOCKS];

template <class P> static void read_operands(const P& p, u8 (&a)[64][STEP], u8 (&b)[256][STEP]) {
    for (u32 k = 0; k < STEP / p.size; ++k) {
        for (u32 e = 0; e < 64; ++e) memcpy(&a[e][k * p.size], operand(p.a, p.a_across, p.size, e, k), p.size);
        for (u32 e = 0; e < p.columns; ++e) memcpy(&b[e][k * p.size], operand(p.b, p.b_across, p.size, e, k), p.size);
    }
}

static f32 value_of(u32 kind, const u8* at) {
    u16 h;
    if (kind == 2) return (f32)(i8)*at;
    if (kind == 3) return (f32)*at;
    memcpy(&h, at, 2);
    return kind ? bf16_bits_to_f32(h) : f16_to_f32(h);
}

template <class S> static void make(Product<S>& p) {
    static thread_local u8 a[64][STEP], b[256][STEP];
    read_operands(p, a, b);
    if (memcmp(a, p.before_a, sizeof(a)) || memcmp(b, p.before_b, p.columns * STEP))
        fault("an operand was overwritten while a product was under way");
    static thread_local f32 x[64][STEP], y[STEP][256];
    u32 terms = STEP / p.size;
    for (u32 k = 0; k < terms; ++k) {
        for (u32 e = 0; e < 64; ++e) x[e][k] = value_of(p.kind, &a[e][k * p.size]);
        for (u32 e = 0; e < p.columns; ++e) y[k][e] = value_of(p.kind, &b[e][k * p.size]);
    }
    for (u32 i = 0; i < 64; ++i) {
        f32 sums[256] = {};
        for (u32 k = 0; k < terms; ++k)
            for (u32 j = 0; j < p.columns; ++j) sums[j] += x[i][k] * y[k][j];
        for (u32 j = 0; j < p.columns; ++j) p.values[i][j] = (S)sums[j];
    }
    p.made = true;
}

template <class S> static void forget() {
    for (int i = 0; i < MOST_THREADS / (int)OF_WARPGROUP; ++i) group_of<S>(i).begun = 0;
}

template <class S, int COUNT>
static void issue(S (&c)[COUNT], u64 a, u64 b, bool a_across, bool b_across, bool accumulate, u32 size, u32 kind) {
    int me = block->running;
    Thread& mine = matrix_threads[me];
    Group<S>& group = group_of<S>(me / OF_WARPGROUP);
    if (!mine.fenced) fault("a product without a fence after registers were touched");
    if (mine.issued - mine.ended == IN_FLIGHT) fault("more products are under way than the stand-in knows");
    u32 number = mine.issued++;
    Product<S>& p = group.log[number % IN_FLIGHT];
    if (number == group.begun) {
        if (number >= IN_FLIGHT && p.taken != OF_WARPGROUP) fault("threads of a warpgroup are far apart");
        ++group.begun;
        p.a = a, p.b = b, p.a_across = a_across, p.b_across = b_across, p.accumulate = accumulate, p.made = false;
        p.size = size, p.kind = kind, p.columns = COUNT * 2, p.taken = 0;
        read_operands(p, p.before_a, p.before_b);
    } else if (p.a != a || p.b != b || p.accumulate != accumulate || p.columns != COUNT * 2) {
        fault("threads of a warpgroup ask for different products");
    }
    mine.under[number % IN_FLIGHT] = {number, mine.groups, c, accumulate};
}

template <class S> static void end_products(u32 most) {
    int me = block->running;
    Thread& mine = matrix_threads[me];
    Group<S>& group = group_of<S>(me / OF_WARPGROUP);
    int lane = me % 32, warp = me % (int)OF_WARPGROUP / 32;
    while (mine.ended != mine.issued) {
        Under& under = mine.under[mine.ended % IN_FLIGHT];
        if (under.group + most >= mine.groups) break;  // not committed, or one of the last groups
        Product<S>& p = group.log[under.number % IN_FLIGHT];
        if (!p.made) make(p);
        S* c = (S*)under.sums;
        for (u32 i = 0; i < p.columns / 2; ++i) {
            S value = p.values[warp * 16 + lane / 4 + i % 4 / 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2];
            c[i] = under.accumulate ? c[i] + value : value;
        }
        ++p.taken, ++mine.ended;
    }
}

static thread_local bool of_integers;

static void begin_products() {
    begin_copies();
    forget<f32>(), forget<i32>();
    u32 each = 65536 / (block->count / 128 * 128 + (block->count % 128 ? 128 : 0)) / 8 * 8;
    for (int i = 0; i < block->total; ++i) matrix_threads[i] = {0, 0, 0, each, false};
    for (u32& spare : spare_registers) spare = 0;
}
static bool at_products = (at_begin = begin_products, true);

static void set_registers(u32 n, bool up) {
    u32& mine = matrix_threads[block->running].registers;
    u32& spare = spare_registers[my_block()];
    if (n % 8 || n < 24 || n > 256 || (up ? n < mine : n > mine)) fault("a number of registers that cannot be");
    while (up && spare < n - mine) poll();
    spare += mine - n, mine = n, ++block->events;
}
}  // namespace host

static inline void wgmma_fence() { host::matrix_threads[host::block->running].fenced = true; }
static inline void wgmma_commit() { ++host::matrix_threads[host::block->running].groups; }
template <int N> static void wgmma_wait() {
    host::pause(host::WAITING);
    if (host::of_integers) host::end_products<i32>(N);
    else host::end_products<f32>(N);
    host::matrix_threads[host::block->running].fenced = false;
}
template <int N> static void registers_down() { host::set_registers(N, false); }
template <int N> static void registers_up() { host::set_registers(N, true); }

static inline u32 pair_of_f16(f32 low, f32 high) { return f32_to_f16(low) | (u32)f32_to_f16(high) << 16; }
static inline u32 pair_of_bf16(f32 low, f32 high) {
    u32 words[2] = {0, 0};
    const f32 both[2] = {low, high};
    for (int i = 0; i < 2; ++i) {
        u32 bits;
        memcpy(&bits, &both[i], 4);
        words[i] = both[i] != both[i] ? 0x7FFF : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    }
    return words[0] | words[1] << 16;
}

#define OPMUX_WGMMA(name, S, size, kind)                                                   \
    template <bool A_ACROSS, bool B_ACROSS, int COUNT>                                     \
    static void name(S (&c)[COUNT], u64 a, u64 b, bool accumulate) {                       \
        host::of_integers = size == 1;                                                     \
        host::issue(c, a, b, A_ACROSS, B_ACROSS, accumulate, size, kind);                  \
    }
OPMUX_WGMMA(wgmma_f16, f32, 2, 0)
OPMUX_WGMMA(wgmma_bf16, f32, 2, 1)
OPMUX_WGMMA(wgmma_i8, i32, 1, 2)
OPMUX_WGMMA(wgmma_u8, i32, 1, 3)
#undef OPMUX_WGMMA
