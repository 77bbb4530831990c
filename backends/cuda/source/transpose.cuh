// A plane whose rows are the source's columns, in tiles through shared memory: both sides are walked along the words
// that lie side by side there.

// `across` counts along the target's neighbours, `down` along the source's; the planes of a batch are a nest of their own.
template <int RANK> struct Planes {
    Nest<RANK, 2> batch;
    u32 across, down;
    i64 from_across, to_down;
    u32 tiles_across, tiles_down, tiles;
};

template <int TILE, int ROWS, class W, int RANK>
__device__ __forceinline__ void transpose_tile(const Planes<RANK>& planes, const W* from, W* to, u32 number) {
    constexpr int LANES = 32, PAD = sizeof(W) < 4 ? 4 / sizeof(W) : 1;  // an odd number of banks from row to row
    __shared__ W tile[TILE][TILE + PAD];
    u32 plane = number / planes.tiles, place = number - plane * planes.tiles;
    u32 tile_down = place / planes.tiles_across, tile_across = place - tile_down * planes.tiles_across;
    i64 at[2];
    offsets(planes.batch, plane, at);
    from += at[0], to += at[1];
    u32 lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    u32 down = tile_down * TILE, across = tile_across * TILE;
    W x[TILE / ROWS][TILE / LANES];
#pragma unroll
    for (int r = 0; r < TILE / ROWS; ++r)
#pragma unroll
        for (int c = 0; c < TILE / LANES; ++c) {
            u32 a = across + row + r * ROWS, d = down + lane + c * LANES;
            if (a < planes.across && d < planes.down) x[r][c] = from[(i64)a * planes.from_across + d];
        }
#pragma unroll
    for (int r = 0; r < TILE / ROWS; ++r)
#pragma unroll
        for (int c = 0; c < TILE / LANES; ++c) tile[row + r * ROWS][lane + c * LANES] = x[r][c];
    __syncthreads();
#pragma unroll
    for (int r = 0; r < TILE / ROWS; ++r)
#pragma unroll
        for (int c = 0; c < TILE / LANES; ++c) {
            u32 a = across + lane + c * LANES, d = down + row + r * ROWS;
            if (a < planes.across && d < planes.down)
                to[(i64)d * planes.to_down + a] = tile[lane + c * LANES][row + r * ROWS];
        }
}
