// CUDA C++ on the host, for tests: the threads of a block are fibers of one thread, which take turns at barriers.
//
// A block runs alone, or with the others of its cluster, its threads in ascending order or, with reversed turns, in
// descending order: a kernel that relies on an order between barriers gives another result. A barrier that not every
// thread of the block reaches ends the launch with an error, and so does a shuffle that not every lane of its mask takes
// part in, and what the stand-ins of instructions call a fault.
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __grid_constant__
#define __cluster_dims__(...)

struct Dim { unsigned x, y, z; };
static thread_local Dim gridDim, blockDim, blockIdx, threadIdx;

namespace host {

// POLLING: until something has happened; WAITING: until nothing else can go on, which is when what is under way ends.
enum State { READY, AT_BARRIER, AT_WARP, POLLING, WAITING, DONE };
constexpr int LANES = 32, MOST_THREADS = 1024, MOST_BLOCKS = 4;
constexpr size_t STACK = 64 << 10;

struct Fiber {
    ucontext_t context;
    State state;
    unsigned mask;
    Dim thread;
    char* stack;
    int block;
    unsigned long long seen;
};

// The blocks of a cluster, which run at once; mostly there is one.
struct Block {
    Fiber fibers[MOST_THREADS];
    unsigned long long exchange[MOST_THREADS];
    ucontext_t scheduler;
    int count, blocks, total, running;  // threads of a block, blocks, threads in all, and which one runs
    Dim indices[MOST_BLOCKS];
    unsigned long long events;
    bool reversed;
    void (*body)(void*);
    void* argument;
    char* dynamic;
    size_t dynamic_size, dynamic_each;
};

static thread_local Block* block = nullptr;
static thread_local const char* fault_found = nullptr;
// What stand-ins do when blocks begin, when no thread can go on (whether something was under way), and at the end.
static void (*at_begin)() = nullptr;
static bool (*at_rest)() = nullptr;
static void (*at_end)() = nullptr;

static void begin() {
    block->body(block->argument);
    block->fibers[block->running].state = DONE;
}

static void pause(State state, unsigned mask = 0) {
    Fiber& me = block->fibers[block->running];
    me.state = state;
    me.mask = mask;
    swapcontext(&me.context, &block->scheduler);
}

// Ends the launch: a thread that does this never goes on. Between the turns of threads it is noted only.
static void fault(const char* what) {
    if (!fault_found) fault_found = what;
    if (block->running >= 0) pause(DONE);
}

static void poll() {
    block->fibers[block->running].seen = block->events;
    pause(POLLING);
}

static bool resume(int i) {
    Fiber& fiber = block->fibers[i];
    if (fiber.state == POLLING && fiber.seen != block->events) fiber.state = READY;
    if (fiber.state != READY || fault_found) return false;
    block->running = i;
    threadIdx = fiber.thread;
    blockIdx = block->indices[fiber.block];
    swapcontext(&block->scheduler, &fiber.context);
    block->running = -1;
    return true;
}

// Whether every lane of a warp that a waiting lane named waits with the same mask; they go on then.
static bool release_warp(int first) {
    unsigned waiting = 0, mask = 0;
    for (int lane = 0; lane < LANES && first + lane < block->total; ++lane)
        if (block->fibers[first + lane].state == AT_WARP) {
            waiting |= 1u << lane;
            mask = block->fibers[first + lane].mask;
        }
    if (!waiting || (mask & waiting) != mask) return false;
    for (int lane = 0; lane < LANES && first + lane < block->total; ++lane)
        if (mask >> lane & 1) block->fibers[first + lane].state = READY;
    return true;
}

// Runs a warp as far as it gets without the others, which shows where they should have waited for each other.
static bool run_warp(int first, bool reversed) {
    int lanes = block->total - first < LANES ? block->total - first : LANES;
    bool moved = false;
    do {
        for (int i = 0; i < lanes; ++i) moved |= resume(first + (reversed ? lanes - 1 - i : i));
    } while (release_warp(first));
    return moved;
}

// Lets the threads of a block go on whose every thread waits at its barrier.
static bool release_block(int first) {
    for (int i = first; i < first + block->count; ++i)
        if (block->fibers[i].state != AT_BARRIER) return false;
    for (int i = first; i < first + block->count; ++i) block->fibers[i].state = READY;
    return true;
}

// Lets one warpgroup of those that wait go on, so that it comes as far as it can without the others.
static bool release_waiting() {
    constexpr int WARPGROUP = 4 * LANES;
    int groups = (block->total + WARPGROUP - 1) / WARPGROUP;
    for (int g = 0; g < groups; ++g) {
        int first = (block->reversed ? groups - 1 - g : g) * WARPGROUP;
        bool found = false;
        for (int i = first; i < first + WARPGROUP && i < block->total; ++i)
            if (block->fibers[i].state == WAITING) block->fibers[i].state = READY, found = true;
        if (found) return true;
    }
    return false;
}

static bool all_done() {
    for (int i = 0; i < block->total; ++i)
        if (block->fibers[i].state != DONE) return false;
    return true;
}

// Runs a block of a cluster as far as it gets without the others.
static bool run_alone(int first) {
    int warps = (block->count + LANES - 1) / LANES;
    bool moved = false, more;
    do {
        more = false;
        for (int w = 0; w < warps; ++w)
            more |= run_warp(first + (block->reversed ? warps - 1 - w : w) * LANES, block->reversed);
        more |= release_block(first);
        moved |= more;
    } while (more);
    return moved;
}

static int run_block() {
    for (int i = 0; i < block->total; ++i) {
        Fiber& fiber = block->fibers[i];
        unsigned thread = i % block->count;
        fiber.state = READY;
        fiber.block = i / block->count;
        fiber.thread = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &block->scheduler;
        makecontext(&fiber.context, begin, 0);
    }
    if (at_begin) at_begin();
    while (!all_done()) {
        bool moved = false;
        for (int b = 0; b < block->blocks; ++b)
            moved |= run_alone((block->reversed ? block->blocks - 1 - b : b) * block->count);
        if (!moved) moved = (at_rest && at_rest()) || release_waiting();
        if (fault_found) return 3;
        if (!moved) return 1;
    }
    if (at_end) at_end();
    return fault_found ? 3 : 0;
}

static int run_grid(
    Dim grid, Dim threads, unsigned shared, bool reversed, void (*body)(void*), void* argument, unsigned cluster
) {
    size_t count = (size_t)threads.x * threads.y * threads.z, total = count * cluster;
    if (count == 0 || total > MOST_THREADS || grid.x % cluster || (cluster > 1 && count % LANES)) return 2;
    if (!block) block = (Block*)calloc(1, sizeof(Block));
    for (size_t i = 0; i < total; ++i)
        if (!block->fibers[i].stack) block->fibers[i].stack = (char*)malloc(STACK);
    size_t each = ((size_t)shared + 1023) / 1024 * 1024;
    if (each * cluster > block->dynamic_size) {
        free(block->dynamic);
        block->dynamic = (char*)aligned_alloc(1024, each * cluster);
        block->dynamic_size = each * cluster;
    }
    block->count = (int)count, block->blocks = (int)cluster, block->total = (int)total, block->dynamic_each = each;
    block->reversed = reversed, block->body = body, block->argument = argument;
    gridDim = grid, blockDim = threads, fault_found = nullptr;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; x += cluster) {
                for (unsigned b = 0; b < cluster; ++b) block->indices[b] = {x + b, y, z};
                memset(block->dynamic, 0xA5, each * cluster);  // what nobody wrote is not zero
                if (int error = run_block()) return error;
            }
    return 0;
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void** arguments;
};
template <int... I> struct Indices {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> { typedef Indices<I...> type; };

template <class... A, int... I> static void call(const Call<A...>& c, Indices<I...>) {
    c.kernel(*(A*)c.arguments[I]...);
}
template <class... A> static void body(void* argument) {
    call(*(Call<A...>*)argument, typename Count<sizeof...(A)>::type());
}
template <class... A>
static int launch(
    void (*kernel)(A...), Dim grid, Dim threads, unsigned shared, bool reversed, void** arguments, unsigned cluster
) {
    Call<A...> made{kernel, arguments};
    return run_grid(grid, threads, shared, reversed, body<A...>, &made, cluster);
}

template <class T> static T exchanged(unsigned mask, T mine, int from) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    int me = block->running, first = me / LANES * LANES;
    memcpy(&block->exchange[me], &mine, sizeof(T));
    pause(AT_WARP, mask);
    T found;
    memcpy(&found, &block->exchange[first + from], sizeof(T));
    pause(AT_WARP, mask);
    return found;
}
static int lane() { return block->running % LANES; }
static char* dynamic_memory() { return block->dynamic + block->fibers[block->running].block * block->dynamic_each; }

}  // namespace host

#define OPMUX_CLUSTER_ENTRY(name, blocks) \
    extern "C" __attribute__((visibility("default"))) int name##_on_host( \
        const unsigned* grid, const unsigned* threads, unsigned shared, int reversed, void** a, const char** fault \
    ) { \
        Dim g{grid[0], grid[1], grid[2]}, t{threads[0], threads[1], threads[2]}; \
        int code = host::launch(name, g, t, shared, reversed, a, blocks); \
        *fault = host::fault_found; \
        return code; \
    }
#define OPMUX_ENTRY(name) OPMUX_CLUSTER_ENTRY(name, 1)
#define OPMUX_DYNAMIC_SHARED(name) u8* const name = (u8*)host::dynamic_memory()

static inline void __syncthreads() { host::pause(host::AT_BARRIER); }
static inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) { host::pause(host::AT_WARP, mask); }
template <class T> static T __shfl_sync(unsigned mask, T x, int from, int width = 32) {
    return host::exchanged(mask, x, host::lane() / width * width + from % width);
}
template <class T> static T __shfl_xor_sync(unsigned mask, T x, int bits, int = 32) {
    return host::exchanged(mask, x, host::lane() ^ bits);
}
template <class T> static T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32) {
    int lane = host::lane(), from = lane + (int)by;
    return host::exchanged(mask, x, from / width == lane / width ? from : lane);
}
template <class T> static T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = 32) {
    int lane = host::lane(), from = lane - (int)by;
    return host::exchanged(mask, x, from >= lane / width * width ? from : lane);
}
static inline unsigned __ballot_sync(unsigned mask, int x) {
    unsigned found = 0, mine = x ? 1u << host::lane() : 0u;
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) found |= host::exchanged(mask, mine, lane);
    return found;
}

static inline int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline void __threadfence() {}
static inline unsigned atomicMax(unsigned* at, unsigned with) {
    unsigned old = *at;  // one thread of the host carries out a launch
    if (with > old) *at = with;
    return old;
}
static inline unsigned atomicAdd(unsigned* at, unsigned by) { return __atomic_fetch_add(at, by, __ATOMIC_SEQ_CST); }
template <class T> static T __ldg(const T* at) { return *at; }
