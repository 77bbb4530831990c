// What backends/cuda/source/tma.cuh does with instructions of the GPU, in C++. With turns in ascending order a box comes at
// once, with reversed turns when no thread can go on: what does not wait for it, or brings it too early, goes wrong.
// A box is read from shared memory as late as it may be.

// What tests/backends/cuda/host/tensor_maps.py writes.
struct alignas(64) TensorMap {
    u64 address, shape[5], strides[4];
    u32 box[5], rank, itemsize, magic;
};

namespace host {
constexpr u32 MAP_MAGIC = 0x7E4502A9, BOX_LINE = 128;

struct Copied { const TensorMap* map; i32 at[5]; u32 shared, barrier; int block; u32 blocks; u32 group; };
struct Words { u32 count, to[512], word[512]; };
struct Copier {
    Copied loads[256];
    int loads_begun;
    Copied stores[16];
    int stores_begun;
    u32 groups[MOST_THREADS];
    Words stored[MOST_THREADS];
};
static thread_local Copier copier;

static const TensorMap& checked(const TensorMap& map, u32 rank, u32 shared) {
    if ((size_t)&map % 64 || map.magic != MAP_MAGIC) fault("this is no tensor map");
    if (map.rank != rank) fault("an array of another rank than the copy");
    if (shared % 1024) fault("a swizzled box that does not begin at a multiple of 1024");
    return map;
}

// Goes through a box, line by line: f(line in shared memory, its bytes inside, where they are in global memory, at).
static u32 swizzled(u32 address) { return address ^ (address >> 7 & 7) << 4; }

template <class F> static u32 each_line(const TensorMap& map, const i32 (&at)[5], u32 shared, F f) {
    u32 lines = 1, bytes = map.box[0] * map.itemsize;
    if (bytes != BOX_LINE) fault("the stand-in knows lines of 128 bytes only");
    for (u32 d = 1; d < map.rank; ++d) lines *= map.box[d];
    for (u32 line = 0; line < lines; ++line) {
        u64 offset = 0;
        bool inside = true;
        u32 rest = line;
        for (u32 d = 1; d < map.rank; ++d) {
            i64 index = (i64)at[d] + rest % map.box[d];
            rest /= map.box[d];
            inside &= index >= 0 && index < (i64)map.shape[d];
            offset += index * map.strides[d - 1];
        }
        i64 first = at[0] < 0 ? -(i64)at[0] : 0, end = (i64)map.shape[0] - at[0];
        if (end > map.box[0]) end = map.box[0];
        if (!inside || end < first) first = end = 0;
        u8* global = (u8*)map.address + offset + ((i64)at[0] + first) * map.itemsize;
        f(shared + line * bytes, (u32)first * map.itemsize, (u32)(end - first) * map.itemsize, global);
    }
    return lines * bytes;
}

static void land(const Copied& c) {
    for (int b = 0; b < block->blocks; ++b) {
        if (!(c.blocks >> b & 1)) continue;
        reach(b);
        u32 came = each_line(*c.map, c.at, c.shared, [&](u32 line, u32 first, u32 bytes, const u8* global) {
            u8 made[BOX_LINE] = {};
            memcpy(made + first, global, bytes);
            for (u32 p = 0; p < BOX_LINE; p += 16) memcpy(shared_at(b, swizzled(line + p), 16), made + p, 16);
        });
        bytes_came(b, c.barrier, came);
    }
}

static bool land_all() {
    bool any = copier.loads_begun > 0;
    for (int i = 0; i < copier.loads_begun; ++i) land(copier.loads[i]);
    copier.loads_begun = 0;
    return any;
}

static void carry_out(const Copied& c) {
    each_line(*c.map, c.at, c.shared, [&](u32 line, u32 first, u32 bytes, u8* global) {
        for (u32 i = 0; i < bytes; ++i) global[i] = *shared_at(c.block, swizzled(line + first + i), 1);
    });
}

template <int R> static void load(u32 to, const TensorMap& map, u32 barrier, const i32 (&at)[R], u32 blocks) {
    Copied c{&checked(map, R, to), {}, to, barrier, my_block(), blocks, 0};
    for (int i = 0; i < R; ++i) c.at[i] = at[i];
    if (blocks >> block->blocks) fault("a box for a block that is not in the cluster");
    if (!block->reversed) land(c);
    else if (copier.loads_begun == 256) fault("more copies are under way than the stand-in knows");
    else copier.loads[copier.loads_begun++] = c;
}

static void begin_copies() {
    memset(&barriers, 0, sizeof(barriers));
    copier.loads_begun = copier.stores_begun = 0;
    for (int i = 0; i < block->total; ++i) copier.groups[i] = copier.stored[i].count = 0;
}
static void end_copies() {
    for (int i = 0; i < block->total; ++i)
        if (copier.stored[i].count) fault("what was stored for a copy was not fenced");
    if (copier.stores_begun) fault("a block leaves while its shared memory is read");
    if (copier.loads_begun) fault("a block leaves while its shared memory is written");
}
static bool at_copies = (at_begin = begin_copies, at_rest = land_all, at_end = end_copies, true);
}  // namespace host

static inline void tensor_map_prefetch(const TensorMap& map) { host::checked(map, map.rank, 0); }
template <int R> static void tensor_load(u32 to, const TensorMap& map, u32 barrier, const i32 (&at)[R]) {
    host::load(to, map, barrier, at, 1u << host::my_block());
}
template <int R> static void tensor_load_in(u32 to, const TensorMap& map, u32 barrier, const i32 (&at)[R], u16 blocks) {
    host::load(to, map, barrier, at, blocks);
}
static inline void store_for_copy(u32 to, u32 word) {
    host::Words& mine = host::copier.stored[host::block->running];
    if (to % 4 || mine.count == 512) host::fault("words that are stored for a copy and not fenced");
    mine.to[mine.count] = to, mine.word[mine.count++] = word;
}
static inline void fence_before_copy() {
    host::Words& mine = host::copier.stored[host::block->running];
    for (u32 i = 0; i < mine.count; ++i) memcpy(host::shared_at(host::my_block(), mine.to[i], 4), &mine.word[i], 4);
    mine.count = 0;
}
static inline void tensor_store(const TensorMap& map, const i32 (&at)[3], u32 from) {
    using namespace host;
    if (copier.stores_begun == 16) fault("more copies are under way than the stand-in knows");
    copier.stores[copier.stores_begun++] = {
        &checked(map, 3, from), {at[0], at[1], at[2]}, from, (u32)block->running, my_block(), 0, copier.groups[block->running]
    };
}
static inline void tensor_commit() { ++host::copier.groups[host::block->running]; }
template <int N> static void tensor_wait_read() {
    using namespace host;
    int kept = 0;
    for (int i = 0; i < copier.stores_begun; ++i) {
        Copied c = copier.stores[i];
        if (c.barrier == (u32)block->running && c.group + N < copier.groups[block->running]) carry_out(c);
        else copier.stores[kept++] = c;
    }
    copier.stores_begun = kept;
}
