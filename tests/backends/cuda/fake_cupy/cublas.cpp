// cuBLAS's functions with the prototypes of cublas_api.h; each hands its arguments to an observer, as 64-bit integers.
#include <stddef.h>
#include <stdint.h>

extern "C" {
using Handle = void*;
using Observer = int (*)(const char* name, int count, const int64_t* arguments);
static Observer observer = nullptr;

void observe(Observer chosen) { observer = chosen; }
}

template <class T>
static int64_t word(T value) { return static_cast<int64_t>(value); }
template <class T>
static int64_t word(T* value) { return reinterpret_cast<int64_t>(value); }

template <class... T>
static int told(const char* name, T... values) {
  const int64_t arguments[] = {word(values)...};
  return observer(name, sizeof...(T), arguments);
}

extern "C" {
int cublasCreate_v2(Handle* handle) { return told("cublasCreate_v2", handle); }
int cublasSetStream_v2(Handle handle, void* stream) { return told("cublasSetStream_v2", handle, stream); }
int cublasSetWorkspace_v2(Handle handle, void* workspace, size_t bytes) {
  return told("cublasSetWorkspace_v2", handle, workspace, bytes);
}
int cublasSetPointerMode_v2(Handle handle, int mode) { return told("cublasSetPointerMode_v2", handle, mode); }
int cublasSetMathMode(Handle handle, int mode) { return told("cublasSetMathMode", handle, mode); }
int cublasGemmEx_64(Handle handle, int transa, int transb, int64_t m, int64_t n, int64_t k, const void* alpha,
                    const void* a, int atype, int64_t lda, const void* b, int btype, int64_t ldb, const void* beta,
                    void* c, int ctype, int64_t ldc, int compute, int algorithm) {
  return told("cublasGemmEx_64", handle, transa, transb, m, n, k, alpha, a, atype, lda, 0, b, btype, ldb, 0, beta, c,
              ctype, ldc, 0, 1, compute, algorithm);
}
int cublasGemmStridedBatchedEx_64(Handle handle, int transa, int transb, int64_t m, int64_t n, int64_t k,
                                  const void* alpha, const void* a, int atype, int64_t lda, long long stridea,
                                  const void* b, int btype, int64_t ldb, long long strideb, const void* beta, void* c,
                                  int ctype, int64_t ldc, long long stridec, int64_t count, int compute,
                                  int algorithm) {
  return told("cublasGemmStridedBatchedEx_64", handle, transa, transb, m, n, k, alpha, a, atype, lda, stridea, b,
              btype, ldb, strideb, beta, c, ctype, ldc, stridec, count, compute, algorithm);
}
}
