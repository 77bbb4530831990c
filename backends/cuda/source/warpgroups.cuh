// Matrix products by warpgroups: float16 and bfloat16 summed in float32, int8 and uint8 in int32.
//
// A block stays for the whole launch and makes one tile after another. One thread brings operands, a stage of 128 bytes
// of terms at a time, to a ring in shared memory; it also does while the others write results. CONSUMERS warpgroups
// multiply 64 rows each. Of each stage of the ring, one barrier says that all bytes have come, the other that all warps
// that read it are done. The blocks of a cluster make tiles one below the other: each brings its own rows and a part of
// the columns, which goes to all of them. Where warpgroups take TURNS, each makes every other tile of the block alone, so
// that tensor cores have one tile's products while the other one's results are written, however much is done with them.

constexpr u32 LINE = 128, PANEL = 64, LINES_OF_SWIZZLE = 8, WARPGROUP = 128, BARRIER_BYTES = 8;
constexpr u32 STEPS_OF_STAGE = 4, STEP_BYTES = LINE / STEPS_OF_STAGE;

// What a launch computes.
struct Warpgroups {
    i64 rows, columns;               // of a result
    u32 row_tiles, column_tiles;     // of clusters
    u32 tiles;                       // of all results
    u32 stages;                      // of terms
    u32 batch[3];                    // lengths of the batch's axes, the innermost first
    u32 a_axes, b_axes;              // bit i: whether the operand has another matrix for another index of axis i
};

#define OPMUX_WARPGROUP_PRODUCT(Name, M, S, run_it)                                                                   \
    struct Name {                                                                                                     \
        typedef M Memory;                                                                                             \
        typedef S Sum;                                                                                                \
        template <bool A_ACROSS, bool B_ACROSS, int COUNT>                                                            \
        static __device__ __forceinline__ void run(S (&c)[COUNT], u64 a, u64 b, bool accumulate) {                    \
            run_it<A_ACROSS, B_ACROSS>(c, a, b, accumulate);                                                          \
        }                                                                                                             \
    };
OPMUX_WARPGROUP_PRODUCT(WgmmaFloat16, u16, f32, wgmma_f16)
OPMUX_WARPGROUP_PRODUCT(WgmmaBFloat16, u16, f32, wgmma_bf16)
OPMUX_WARPGROUP_PRODUCT(WgmmaInt8, u8, i32, wgmma_i8)
OPMUX_WARPGROUP_PRODUCT(WgmmaUInt8, u8, i32, wgmma_u8)
#undef OPMUX_WARPGROUP_PRODUCT

__device__ __forceinline__ void barrier_wait(u32 barrier, u32 parity) {
    while (!barrier_passed(barrier, parity)) {}
}

// The stages of the ring in turn. A stage's barriers go on to the next phase each time that it is used.
template <u32 STAGES> struct Turn {
    u32 stage, parity;
    __device__ __forceinline__ explicit Turn(u32 first_parity) : stage(0), parity(first_parity) {}
    __device__ __forceinline__ void next() {
        if (++stage == STAGES) stage = 0, parity ^= 1;
    }
    __device__ __forceinline__ void pass(u32 stages) {
        stage += stages, parity ^= stage / STAGES & 1, stage %= STAGES;
    }
};

// An operand's part of a stage. With its terms side by side in memory a line has those of one row or column; else, lying
// ACROSS, a line has one term of 64 rows or columns, and panels of such lines follow each other. RANK is that of the
// array: terms, rows or columns, and axes of the batch.
template <bool ACROSS, u32 EXTENT, int RANK, class T> struct Staged {
    static constexpr u32 BYTES = EXTENT * LINE, TERMS = LINE / sizeof(T), PANEL_BYTES = TERMS * LINE;
    // How far the descriptor's address is from one step of a stage to the next.
    static constexpr u32 NEXT = (ACROSS ? STEP_BYTES / sizeof(T) * LINE : STEP_BYTES) >> 4;

    static __device__ __forceinline__ u64 descriptor(u32 at) {
        return matrix_descriptor(at, ACROSS ? PANEL_BYTES : 0, LINES_OF_SWIZZLE * LINE);
    }

    // Brings part PART of PARTS to all blocks of the cluster, or the whole to this one.
    template <u32 PARTS>
    static __device__ __forceinline__ void load(u32 to, const TensorMap& map, u32 barrier, i32 extent, i32 term,
                                                const i32 (&batch)[3], u32 part) {
        constexpr u32 MINE = EXTENT / PARTS, BOXES = ACROSS ? MINE / PANEL : 1;
        static_assert(!ACROSS || MINE % PANEL == 0, "parts are whole panels");
        i32 at[RANK];
        at[0] = ACROSS ? extent : term, at[1] = ACROSS ? term : extent;
#pragma unroll
        for (int i = 2; i < RANK; ++i) at[i] = batch[i - 2];
        at[!ACROSS] += (i32)(part * MINE);
        to += part * MINE * LINE;
#pragma unroll
        for (u32 i = 0; i < BOXES; ++i) {
            if constexpr (PARTS == 1) tensor_load(to, map, barrier, at);
            else tensor_load_in(to, map, barrier, at, (u16)((1u << PARTS) - 1));
            at[0] += PANEL, to += PANEL_BYTES;
        }
    }
};

// Where the n-th tile is, and the operands' indices along the axes of the batch. Clusters that are at work at the same
// time share rows and columns, so that the second-level cache serves them.
struct WarpgroupTile {
    u32 row_tile, column_tile, batch;
    __device__ __forceinline__ WarpgroupTile(const Warpgroups& work, u32 n) {
        constexpr u32 HEIGHT = 8;
        u32 each = work.row_tiles * work.column_tiles;
        batch = n / each, n -= batch * each;
        u32 first = n / (HEIGHT * work.column_tiles) * HEIGHT, rest = work.row_tiles - first;
        u32 height = rest < HEIGHT ? rest : HEIGHT;
        n -= first * work.column_tiles;
        column_tile = n / height, row_tile = first + n % height;
    }
    __device__ __forceinline__ void indices(const Warpgroups& work, i32 (&of_a)[3], i32 (&of_b)[3]) const {
        u32 rest = batch;
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            u32 index = rest % work.batch[i];
            rest /= work.batch[i];
            of_a[i] = work.a_axes >> i & 1 ? (i32)index : 0, of_b[i] = work.b_axes >> i & 1 ? (i32)index : 0;
        }
    }
};

// Two neighbouring results as they lie in memory, in words.
template <class Out, class Sum> struct Pair {
    static constexpr int WORDS = 2 * sizeof(typename Out::Memory) / 4;
    u32 words[WORDS];
    __device__ __forceinline__ Pair(Sum low, Sum high) {
        typedef typename Out::Value Value;
        if constexpr (WORDS == 2)
            words[0] = bits_as<u32>(Out::narrowed((Value)low)), words[1] = bits_as<u32>(Out::narrowed((Value)high));
        else
            words[0] = (u32)(u16)Out::narrowed((Value)low) | (u32)(u16)Out::narrowed((Value)high) << 16;
    }
};
template <> struct Pair<Float16, f32> {
    u32 words[1];
    __device__ __forceinline__ Pair(f32 low, f32 high) { words[0] = pair_of_f16(low, high); }
};
template <> struct Pair<BFloat16, f32> {
    u32 words[1];
    __device__ __forceinline__ Pair(f32 low, f32 high) { words[0] = pair_of_bf16(low, high); }
};

// Writes results through shared memory, by the copy engine: lines of 128 bytes, 64 of them at a time, in two buffers.
template <class Out> struct ThroughShared {
    typedef typename Out::Memory Memory;
    static constexpr u32 BUFFERS = 2, BUFFER_BYTES = PANEL * LINE, COLUMNS = LINE / sizeof(Memory);
    const TensorMap& map;
    u32 staging, group, count;

    __device__ __forceinline__ ThroughShared(const TensorMap& to, u8* shared, u32 warpgroup)
        : map(to), staging(shared_address(shared) + warpgroup * BUFFERS * BUFFER_BYTES), group(warpgroup), count(0) {}

    template <int COUNT, class Sum>
    __device__ __forceinline__ void write(const Warpgroups& work, const Sum (&sums)[COUNT], i64 row, i64 column, u32 batch) {
        u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
        bool leads = threadIdx.x % WARPGROUP == 0;
#pragma unroll
        for (int first = 0; first < COUNT / 4; first += COLUMNS / 8) {
            u32 buffer = staging + count++ % BUFFERS * BUFFER_BYTES;
            if (leads) tensor_wait_read<BUFFERS - 1>();
            sync_threads(1 + group, WARPGROUP);
#pragma unroll
            for (int j = 0; j < (int)COLUMNS / 8; ++j)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    constexpr u32 SIZE = 2 * sizeof(Memory);
                    int at = (first + j) * 4 + half * 2;
                    Pair<Out, Sum> pair(sums[at], sums[at + 1]);
                    u32 line = warp * 16 + half * 8 + lane / 4, place = j * 4 * SIZE + lane % 4 * SIZE;
                    u32 to = buffer + line * LINE + (place ^ line % LINES_OF_SWIZZLE << 4);
#pragma unroll
                    for (u32 w = 0; w < SIZE / 4; ++w) store_for_copy(to + w * 4, pair.words[w]);
                }
            fence_before_copy();
            sync_threads(1 + group, WARPGROUP);
            if (leads) {
                i32 at[3] = {(i32)(column + first * 8), (i32)row, (i32)batch};
                if (at[0] < work.columns && at[1] < work.rows) tensor_store(map, at, buffer);
                tensor_commit();
            }
        }
    }
    __device__ __forceinline__ void finish() {
        if (threadIdx.x % WARPGROUP == 0) tensor_wait_read<0>();
    }
};

// Writes results from registers; VECTORS says whether two neighbours may be written at once.
template <class Out, bool VECTORS> struct FromRegisters {
    typedef typename Out::Memory Memory;
    static constexpr u32 BUFFERS = 0, BUFFER_BYTES = 0;
    Memory* c;

    __device__ __forceinline__ FromRegisters(Memory* to, u8*, u32) : c(to) {}

    template <int COUNT, class Sum>
    __device__ __forceinline__ void write(const Warpgroups& work, const Sum (&sums)[COUNT], i64 row, i64 column, u32 batch) {
        u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            i64 line = row + warp * 16 + half * 8 + lane / 4;
            if (line >= work.rows) continue;
            Memory* to = c + ((i64)batch * work.rows + line) * work.columns;
#pragma unroll
            for (int j = 0; j < COUNT / 4; ++j) {
                i64 at = column + j * 8 + lane % 4 * 2;
                Memory made[2];
#pragma unroll
                for (int w = 0; w < 2; ++w)
                    made[w] = Out::narrowed((typename Out::Value)sums[j * 4 + half * 2 + w]);
                if constexpr (VECTORS) {
                    if (at < work.columns) store_vector(to + at, made);
                } else {
                    for (int w = 0; w < 2; ++w)
                        if (at + w < work.columns) to[at + w] = made[w];
                }
            }
        }
    }
    __device__ __forceinline__ void finish() {}
};

// An operand of an epilogue each of whose rows is one element, again and again.
template <class T> struct OverRow {
    const T* data;
    i64 row_stride, column_stride;
    template <int W> __device__ __forceinline__ void load(T (&to)[W], i64 row, i64, int) const {
        T one = data[row * row_stride];
#pragma unroll
        for (int w = 0; w < W; ++w) to[w] = one;
    }
};

// Gives results to an epilogue. A warp puts COLUMNS of its 16 rows into shared memory at a time, then LANES lanes take W
// neighbours each of a row, so that operands and results go by whole sectors; FLIGHT rows' operands are under way at once.
// A result's columns are a multiple of W. The loops over columns and rows stay loops: an epilogue may be long, and is
// there FLIGHT times W times only.
template <class Out, int W, int LANES, int FLIGHT, class SinkOf> struct ToEpilogue {
    typedef typename Out::Memory Memory;
    static constexpr int COLUMNS = W * LANES, ROWS = PANEL / 4, AT_ONCE = 32 / LANES, TURNS = ROWS / AT_ONCE / FLIGHT;
    // An odd multiple of what four lanes write: eight rows of pairs lie in different banks.
    static constexpr int PITCH = COLUMNS + 8;
    static constexpr u32 BUFFERS = 1, BUFFER_BYTES = PANEL * PITCH * sizeof(Memory);
    static_assert(BUFFER_BYTES <= 2 * PANEL * LINE, "there is as much room as for the copy engine's lines");
    const SinkOf& sink_of;
    Memory* shared;

    __device__ __forceinline__ ToEpilogue(const SinkOf& of, u8* staging, u32 warpgroup)
        : sink_of(of), shared(reinterpret_cast<Memory*>(staging + warpgroup * BUFFER_BYTES)) {
        shared += threadIdx.x / 32 % 4 * (ROWS * PITCH);
    }

    template <int FIRST, int COUNT, class Sum> __device__ __forceinline__ void stage(const Sum (&sums)[COUNT]) const {
        u32 lane = threadIdx.x % 32;
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                int at = (FIRST / 8 + j) * 4 + half * 2;
                Sum low = sums[at], high = sums[at + 1];
                Memory* to = shared + (half * 8 + lane / 4) * PITCH + j * 8 + lane % 4 * 2;
                if constexpr (sizeof(Memory) == 2) {
                    *reinterpret_cast<u32*>(to) = Pair<Out, Sum>(low, high).words[0];
                } else {
                    typedef typename Out::Value Value;
                    *reinterpret_cast<Vector<Memory, 2>*>(to) = {Out::narrowed((Value)low), Out::narrowed((Value)high)};
                }
            }
    }
    // Which columns it is becomes known as the kernel runs, which registers they lie in does not.
    template <int FIRST, int COUNT, class Sum>
    __device__ __forceinline__ void stage_from(int first, const Sum (&sums)[COUNT]) const {
        if (first == FIRST) stage<FIRST>(sums);
        else if constexpr (FIRST + COLUMNS < COUNT * 2) stage_from<FIRST + COLUMNS>(first, sums);
    }

    template <int COUNT, class Sum>
    __device__ __forceinline__ void write(const Warpgroups& work, const Sum (&sums)[COUNT], i64 row, i64 column, u32 batch) {
        u32 lane = threadIdx.x % 32, place = lane % LANES * W;
        row += threadIdx.x / 32 % 4 * ROWS;
        if (row >= work.rows) return;
        const auto sink = sink_of(batch);
        const Memory* mine = shared + lane / LANES * PITCH + place;
        i64 first_line = row + lane / LANES;
#pragma unroll 1
        for (int turn = 0; turn < COUNT * 2 / COLUMNS * TURNS; ++turn) {
            int first = turn / TURNS * COLUMNS, step = turn % TURNS * FLIGHT;
            i64 at_column = column + first + place, line = first_line + step * AT_ONCE;
            if (column + first >= work.columns) break;
            bool inside = at_column < work.columns;
            typename decltype(sink)::template Operands<W> operands[FLIGHT];
            // What lies outside is read from the last row or column: branches would let one load wait for the other.
#pragma unroll
            for (int f = 0; f < FLIGHT; ++f) {
                i64 from = line + f * AT_ONCE < work.rows ? line + f * AT_ONCE : work.rows - 1;
                sink.load(operands[f], from, inside ? at_column : work.columns - W, W);
            }
            if (step == 0) {
                __syncwarp();  // what lay here is read
                stage_from<0>(first, sums);
                __syncwarp();
            }
            i64 at = ((i64)batch * work.rows + line) * work.columns + at_column;
#pragma unroll
            for (int f = 0; f < FLIGHT; ++f) {
                if (!inside || line + f * AT_ONCE >= work.rows) break;
                Memory made[W];
                load_vector(made, mine + (step + f) * AT_ONCE * PITCH);
                sink.template put<(W > 1)>(at + f * AT_ONCE * work.columns, W, operands[f], made);
            }
        }
    }
    __device__ __forceinline__ void finish() {}
};

// Registers of a thread that brings operands and of one that multiplies: what a launch gives to 384 threads is 168 each,
// a multiprocessor having 65536 (PTX ISA, "setmaxnreg": multiples of 8).
template <u32 CONSUMERS> struct Registers;
template <> struct Registers<2> {
    static constexpr int FETCHING = 40, MULTIPLYING = 232;
};

template <class Mma, bool A_ACROSS, bool B_ACROSS, u32 CONSUMERS, bool TURNS, u32 COLUMNS, u32 STAGES, u32 CLUSTER,
          int RANK, class Writer, class To>
__device__ __forceinline__ void multiply_by_warpgroups(const Warpgroups& work, const TensorMap& a, const TensorMap& b,
                                                       To&& c, u8* memory) {
    typedef typename Mma::Memory T;
    constexpr u32 ROWS = CONSUMERS * PANEL, PANELS = TURNS ? CONSUMERS : 1, WARPS = CONSUMERS / PANELS * 4;
    typedef Staged<A_ACROSS, ROWS, RANK, T> A;
    typedef Staged<B_ACROSS, COLUMNS, RANK, T> B;
    constexpr u32 STAGE_BYTES = A::BYTES + B::BYTES;

    u32 ring = shared_address(memory), staging = ring + STAGES * STAGE_BYTES;
    u32 came = staging + CONSUMERS * Writer::BUFFERS * Writer::BUFFER_BYTES, done = came + STAGES * BARRIER_BYTES;
    u32 free = done + STAGES * BARRIER_BYTES;  // where warpgroups take turns: tensor cores, for each
    u32 rank = CLUSTER > 1 ? block_in_cluster() : 0, step = gridDim.x / CLUSTER;

    if (threadIdx.x == 0) {
        tensor_map_prefetch(a), tensor_map_prefetch(b);
        for (u32 i = 0; i < STAGES; ++i) {
            barrier_init(came + i * BARRIER_BYTES, 1);
            barrier_init(done + i * BARRIER_BYTES, CLUSTER * WARPS);
        }
        if constexpr (TURNS)
            for (u32 i = 0; i < CONSUMERS; ++i) barrier_init(free + i * BARRIER_BYTES, WARPS);
        barriers_made();
    }
    if constexpr (CLUSTER > 1) sync_cluster();
    else __syncthreads();

    if (threadIdx.x < WARPGROUP) {
        registers_down<Registers<CONSUMERS>::FETCHING>();
        if (threadIdx.x == 0) {
            Turn<STAGES> turn(1);
            for (u32 n = blockIdx.x / CLUSTER; n < work.tiles; n += step) {
                WarpgroupTile tile(work, n);
                i32 of_a[3], of_b[3];
                tile.indices(work, of_a, of_b);
                i32 row = (i32)((tile.row_tile * CLUSTER + rank) * ROWS), column = (i32)(tile.column_tile * COLUMNS);
                for (u32 s = 0; s < work.stages; ++s, turn.next()) {
                    u32 barrier = came + turn.stage * BARRIER_BYTES, to = ring + turn.stage * STAGE_BYTES;
                    i32 term = (i32)(s * A::TERMS);
                    barrier_wait(done + turn.stage * BARRIER_BYTES, turn.parity);
                    barrier_expect(barrier, STAGE_BYTES);
                    A::template load<1>(to, a, barrier, row, term, of_a, 0);
                    B::template load<CLUSTER>(to + A::BYTES, b, barrier, column, term, of_b, rank);
                }
            }
        }
    } else {
        registers_up<Registers<CONSUMERS>::MULTIPLYING>();
        u32 group = threadIdx.x / WARPGROUP - 1, lane = threadIdx.x % 32;
        auto release = [&](u32 stage) {
            u32 barrier = done + stage * BARRIER_BYTES;
            if constexpr (CLUSTER > 1) {
                if (lane < CLUSTER) barrier_arrive_in(barrier, lane);
            } else {
                if (lane == 0) barrier_arrive(barrier);
            }
        };
        Writer writer(c, memory + STAGES * STAGE_BYTES, group);
        Turn<STAGES> turn(0);
        typename Mma::Sum sums[PANELS][COLUMNS / 2];
        u32 panel = TURNS ? 0 : group, others = TURNS ? group : 0, free_parity = group == 0;
        for (u32 n = blockIdx.x / CLUSTER; n < work.tiles; n += step) {
            if constexpr (TURNS) {
                if (others-- > 0) {
                    turn.pass(work.stages);
                    continue;
                }
                others = CONSUMERS - 1;
                // Not before the stages passed over have come: of a barrier two phases behind, the parity says nothing.
                barrier_wait(free + group * BARRIER_BYTES, free_parity);
                free_parity ^= 1;
            }
            u32 before = 0;
            for (u32 s = 0; s < work.stages; ++s, turn.next()) {
                u32 at = ring + turn.stage * STAGE_BYTES;
                u64 x = A::descriptor(at + panel * (PANEL * LINE)), y = B::descriptor(at + A::BYTES);
                barrier_wait(came + turn.stage * BARRIER_BYTES, turn.parity);
                wgmma_fence();
#pragma unroll
                for (u32 i = 0; i < STEPS_OF_STAGE; ++i)
#pragma unroll
                    for (u32 p = 0; p < PANELS; ++p)
                        Mma::template run<A_ACROSS, B_ACROSS>(sums[p], x + i * A::NEXT + p * (PANEL * LINE >> 4),
                                                              y + i * B::NEXT, (s | i) != 0);
                wgmma_commit();
                wgmma_wait<1>();  // the stage before is read, and this one keeps the tensor cores at work
                if (s > 0) release(before);
                before = turn.stage;
            }
            if (TURNS && lane == 0) barrier_arrive(free + (group + 1) % CONSUMERS * BARRIER_BYTES);
            wgmma_wait<0>();
            release(before);
            WarpgroupTile tile(work, n);
            i64 row = ((i64)tile.row_tile * CLUSTER + rank) * ROWS + panel * PANEL;
#pragma unroll
            for (u32 p = 0; p < PANELS; ++p)
                writer.write(work, sums[p], row + p * PANEL, (i64)tile.column_tile * COLUMNS, tile.batch);
        }
        writer.finish();
    }
    // No block leaves while another may still write to its shared memory or arrive at its barriers.
    if constexpr (CLUSTER > 1) sync_cluster();
}
