// Copies of boxes between an array in global memory and shared memory, by the copy engine (PTX ISA,
// "cp.async.bulk.tensor"). What needs an instruction of its own: the tests bring these functions in C++ instead.

// What the driver encodes of an array (CUDA driver API, "CUtensorMap").
struct alignas(64) TensorMap {
    u64 opaque[16];
};

__device__ __forceinline__ void tensor_map_prefetch(const TensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Begins to bring the box at some indices, the innermost first, to this block. What lies outside of the array comes as
// zeros, and its bytes are counted at the barrier like the others.
__device__ __forceinline__ void tensor_load(u32 to, const TensorMap& map, u32 barrier, const i32 (&at)[3]) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(to), "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]) : "memory");
}
__device__ __forceinline__ void tensor_load(u32 to, const TensorMap& map, u32 barrier, const i32 (&at)[5]) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];"
                 ::"r"(to), "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
                 : "memory");
}

// The same to every block of the cluster whose bit is set: to the same place there, counted at the same barrier there.
__device__ __forceinline__ void tensor_load_in(u32 to, const TensorMap& map, u32 barrier, const i32 (&at)[3], u16 blocks) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%3, %4, %5}], [%2], %6;"
                 ::"r"(to), "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "h"(blocks) : "memory");
}
__device__ __forceinline__ void tensor_load_in(u32 to, const TensorMap& map, u32 barrier, const i32 (&at)[5], u16 blocks) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%3, %4, %5, %6, %7}], [%2], %8;"
                 ::"r"(to), "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]),
                 "h"(blocks) : "memory");
}

// Puts a word where a copy from shared memory will read it, after a fence of this thread.
__device__ __forceinline__ void store_for_copy(u32 to, u32 word) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(word) : "memory");
}

// Lets copies that begin after a barrier see what this thread has stored.
__device__ __forceinline__ void fence_before_copy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Begins to copy a box to the array; what lies outside of it is left out. The copies of a thread between two commits are
// a group.
__device__ __forceinline__ void tensor_store(const TensorMap& map, const i32 (&at)[3], u32 from) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];"
                 ::"l"(&map), "r"(from), "r"(at[0]), "r"(at[1]), "r"(at[2]) : "memory");
}
__device__ __forceinline__ void tensor_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits until shared memory is no longer read but by this thread's last N groups.
template <int N> __device__ __forceinline__ void tensor_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
