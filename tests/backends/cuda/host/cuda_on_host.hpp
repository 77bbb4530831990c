// CUDA C++ on the host, for tests: the threads of a block are fibers of one thread, which take turns at barriers.
//
// A block runs alone, its threads in ascending order or, with reversed turns, in descending order: a kernel that relies on
// an order between barriers gives another result. A barrier that not every thread of the block reaches ends the
// launch with an error, and so does a shuffle that not every lane of its mask takes part in.
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

struct Dim { unsigned x, y, z; };
static thread_local Dim gridDim, blockDim, blockIdx, threadIdx;

namespace host {

enum State { READY, AT_BARRIER, AT_WARP, DONE };
constexpr int LANES = 32, MOST_THREADS = 1024;
constexpr size_t STACK = 64 << 10;

struct Fiber {
    ucontext_t context;
    State state;
    unsigned mask;
    Dim thread;
    char* stack;
};

struct Block {
    Fiber fibers[MOST_THREADS];
    unsigned long long exchange[MOST_THREADS];
    ucontext_t scheduler;
    int count, running;
    void (*body)(void*);
    void* argument;
    char* dynamic;
    size_t dynamic_size;
};

static thread_local Block* block = nullptr;

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

static bool resume(int i) {
    Fiber& fiber = block->fibers[i];
    if (fiber.state != READY) return false;
    block->running = i;
    threadIdx = fiber.thread;
    swapcontext(&block->scheduler, &fiber.context);
    return true;
}

// Whether every lane of a warp that a waiting lane named waits with the same mask; they go on then.
static bool release_warp(int first) {
    unsigned waiting = 0, mask = 0;
    for (int lane = 0; lane < LANES && first + lane < block->count; ++lane)
        if (block->fibers[first + lane].state == AT_WARP) {
            waiting |= 1u << lane;
            mask = block->fibers[first + lane].mask;
        }
    if (!waiting || (mask & waiting) != mask) return false;
    for (int lane = 0; lane < LANES && first + lane < block->count; ++lane)
        if (mask >> lane & 1) block->fibers[first + lane].state = READY;
    return true;
}

// Runs a warp as far as it gets without the others, which shows where they should have waited for each other.
static bool run_warp(int first, bool reversed) {
    int lanes = block->count - first < LANES ? block->count - first : LANES;
    bool moved = false;
    do {
        for (int i = 0; i < lanes; ++i) moved |= resume(first + (reversed ? lanes - 1 - i : i));
    } while (release_warp(first));
    return moved;
}

static bool release_block() {
    for (int i = 0; i < block->count; ++i)
        if (block->fibers[i].state != AT_BARRIER) return false;
    for (int i = 0; i < block->count; ++i) block->fibers[i].state = READY;
    return true;
}

static bool all_done() {
    for (int i = 0; i < block->count; ++i)
        if (block->fibers[i].state != DONE) return false;
    return true;
}

static int run_block(bool reversed) {
    for (int i = 0; i < block->count; ++i) {
        Fiber& fiber = block->fibers[i];
        fiber.state = READY;
        fiber.thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &block->scheduler;
        makecontext(&fiber.context, begin, 0);
    }
    while (!all_done()) {
        bool moved = false;
        int warps = (block->count + LANES - 1) / LANES;
        for (int w = 0; w < warps; ++w) moved |= run_warp((reversed ? warps - 1 - w : w) * LANES, reversed);
        moved |= release_block();
        if (!moved) return 1;
    }
    return 0;
}

static int run_grid(Dim grid, Dim threads, unsigned shared, bool reversed, void (*body)(void*), void* argument) {
    size_t count = (size_t)threads.x * threads.y * threads.z;
    if (count == 0 || count > MOST_THREADS) return 2;
    if (!block) block = (Block*)calloc(1, sizeof(Block));
    for (size_t i = 0; i < count; ++i)
        if (!block->fibers[i].stack) block->fibers[i].stack = (char*)malloc(STACK);
    if (shared > block->dynamic_size) {
        free(block->dynamic);
        block->dynamic = (char*)aligned_alloc(1024, (shared + 1023) / 1024 * 1024);
        block->dynamic_size = shared;
    }
    block->count = (int)count, block->body = body, block->argument = argument;
    gridDim = grid, blockDim = threads;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, z};
                memset(block->dynamic, 0xA5, shared);  // what nobody wrote is not zero
                if (int error = run_block(reversed)) return error;
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
static int launch(void (*kernel)(A...), Dim grid, Dim threads, unsigned shared, bool reversed, void** arguments) {
    Call<A...> made{kernel, arguments};
    return run_grid(grid, threads, shared, reversed, body<A...>, &made);
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

}  // namespace host

#define OPMUX_ENTRY(name) \
    extern "C" __attribute__((visibility("default"))) int name##_on_host( \
        const unsigned* grid, const unsigned* threads, unsigned shared, int reversed, void** a \
    ) { \
        return host::launch(name, {grid[0], grid[1], grid[2]}, {threads[0], threads[1], threads[2]}, shared, reversed, a); \
    }
#define OPMUX_DYNAMIC_SHARED(name) u8* const name = (u8*)host::block->dynamic

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
