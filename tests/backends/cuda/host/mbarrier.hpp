// What backends/cuda/source/mbarrier.cuh does with instructions of the GPU, in C++. Shared memory begins at address 1024
// of every block, as on a GPU, which keeps the first KiB for itself.

namespace host {
constexpr u32 SHARED_BASE = 1024;

static int my_block() { return block->fibers[block->running].block; }

// Shared memory of a block at an address, of which so many bytes will be used.
static u8* shared_at(int of, u32 address, u32 bytes) {
    static thread_local u8 nowhere[1024];
    if (address >= SHARED_BASE && address - SHARED_BASE + bytes <= block->dynamic_each)
        return (u8*)block->dynamic + of * block->dynamic_each + (address - SHARED_BASE);
    fault("shared memory out of bounds");
    return nowhere;
}

// Arrivals and bytes still to come in the phase that is under way; `phase` counts those that are over.
struct Barrier {
    u32 at;
    int block, maker;
    bool made;
    u32 count, pending, phase;
    i64 bytes;
};
struct Meeting { u32 arrived, generation; };
struct Barriers {
    Barrier made[256];
    int count;
    Meeting of_warps[MOST_BLOCKS][16], of_cluster;
};
static thread_local Barriers barriers;

static Barrier& barrier_at(int of, u32 at) {
    for (int i = 0; i < barriers.count; ++i) {
        Barrier& found = barriers.made[i];
        if (found.block != of || found.at != at) continue;
        if (!found.made && found.maker != block->running) fault("a barrier is used before its fence");
        return found;
    }
    fault("there is no barrier here");
    return barriers.made[0];
}

// A block whose threads are all done has no shared memory any more.
static void reach(int of) {
    for (int i = of * block->count; i < (of + 1) * block->count; ++i)
        if (block->fibers[i].state != DONE) return;
    fault("a block that has left the cluster is reached");
}

static void settle(Barrier& b) {
    if (b.pending == 0 && b.bytes < 0) fault("more bytes came than a barrier expects");
    if (b.pending || b.bytes) return;
    b.pending = b.count, ++b.phase, ++block->events;
}

static void arrive(Barrier& b) {
    if (b.pending == 0) fault("more threads arrive than a barrier counts");
    --b.pending;
    settle(b);
}

static void bytes_came(int of, u32 at, u32 bytes) {
    Barrier& b = barrier_at(of, at);
    b.bytes -= bytes;
    settle(b);
}

static void meet(Meeting& meeting, u32 count) {
    u32 mine = meeting.generation;
    if (++meeting.arrived == count) meeting.arrived = 0, ++meeting.generation, ++block->events;
    while (meeting.generation == mine) poll();
}
}  // namespace host

static inline u32 shared_address(const void* at) {
    return (u32)((const char*)at - host::dynamic_memory()) + host::SHARED_BASE;
}
static inline void barrier_init(u32 barrier, u32 arrivals) {
    host::shared_at(host::my_block(), barrier, 8);
    if (barrier % 8 || arrivals == 0 || host::barriers.count == 256) host::fault("a barrier that cannot be");
    host::barriers.made[host::barriers.count++] = {barrier, host::my_block(), host::block->running, false, arrivals, arrivals};
}
static inline void barriers_made() {
    for (int i = 0; i < host::barriers.count; ++i)
        if (host::barriers.made[i].maker == host::block->running) host::barriers.made[i].made = true;
}
static inline void barrier_arrive_in(u32 barrier, u32 block) {
    if (block >= (u32)host::block->blocks) host::fault("there is no such block in the cluster");
    host::reach((int)block);
    host::arrive(host::barrier_at((int)block, barrier));
}
static inline void barrier_arrive(u32 barrier) { barrier_arrive_in(barrier, host::my_block()); }
static inline void barrier_expect(u32 barrier, u32 bytes) {
    host::Barrier& b = host::barrier_at(host::my_block(), barrier);
    b.bytes += bytes;
    host::arrive(b);
}
static inline bool barrier_passed(u32 barrier, u32 parity) {
    host::Barrier& b = host::barrier_at(host::my_block(), barrier);
    if ((b.phase & 1) == (parity & 1)) host::poll();
    return (b.phase & 1) != (parity & 1);
}
static inline void sync_threads(u32 barrier, u32 threads) {
    if (barrier >= 16 || threads % 32) host::fault("a barrier of warps that cannot be");
    host::meet(host::barriers.of_warps[host::my_block()][barrier], threads);
}
static inline u32 block_in_cluster() { return host::my_block(); }
static inline void sync_cluster() { host::meet(host::barriers.of_cluster, host::block->total); }
