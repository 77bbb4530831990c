// Complex numbers as pairs. Each operation rounds as the opset's decomposition into real and imaginary parts does.

template <class T> struct Complex {
    T re, im;
};
typedef Complex<f32> c64;
typedef Complex<f64> c128;

#define OPMUX_COMPLEX(result) template <class T> __device__ __forceinline__ result
OPMUX_COMPLEX(Complex<T>) operator+(Complex<T> a, Complex<T> b) { return {a.re + b.re, a.im + b.im}; }
OPMUX_COMPLEX(Complex<T>) operator-(Complex<T> a, Complex<T> b) { return {a.re - b.re, a.im - b.im}; }
OPMUX_COMPLEX(Complex<T>) operator*(Complex<T> a, Complex<T> b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
OPMUX_COMPLEX(Complex<T>) operator-(Complex<T> x) { return {-x.re, -x.im}; }
OPMUX_COMPLEX(bool) operator==(Complex<T> a, Complex<T> b) { return a.re == b.re && a.im == b.im; }
OPMUX_COMPLEX(bool) operator!=(Complex<T> a, Complex<T> b) { return a.re != b.re || a.im != b.im; }

// Smith's method: Communications of the ACM 5, 1962, algorithm 116. 0 / 0 must not spoil a division by zero.
OPMUX_COMPLEX(Complex<T>) operator/(Complex<T> a, Complex<T> b) {
    bool swap = fabs(b.re) < fabs(b.im);
    T large = swap ? b.im : b.re, small = swap ? b.re : b.im;
    T first = swap ? a.im : a.re, second = swap ? a.re : a.im;
    T ratio = small == 0 ? small : small / large;
    T denominator = large + small * ratio;
    T re = (first + second * ratio) / denominator, im = (second - first * ratio) / denominator;
    return {re, swap ? -im : im};
}

OPMUX_COMPLEX(Complex<T>) conjugate(Complex<T> x) { return {x.re, -x.im}; }
OPMUX_COMPLEX(bool) is_nan(Complex<T> x) { return x.re != x.re || x.im != x.im; }
OPMUX_COMPLEX(bool) is_finite(Complex<T> x) { return x.re - x.re == 0 && x.im - x.im == 0; }
OPMUX_COMPLEX(bool) is_infinite(Complex<T> x) {
    return (x.re == x.re && !(x.re - x.re == 0)) || (x.im == x.im && !(x.im - x.im == 0));
}

OPMUX_COMPLEX(Complex<T>) neighbour(Complex<T> x, int bits) {
    return {__shfl_xor_sync(0xFFFFFFFFu, x.re, bits), __shfl_xor_sync(0xFFFFFFFFu, x.im, bits)};
}

__device__ __forceinline__ f32 fused(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
__device__ __forceinline__ f64 fused(f64 a, f64 b, f64 c) { return fma(a, b, c); }
OPMUX_COMPLEX(Complex<T>) multiply_add(Complex<T> a, Complex<T> b, Complex<T> c) {
    return {fused(-a.im, b.im, fused(a.re, b.re, c.re)), fused(a.im, b.re, fused(a.re, b.im, c.im))};
}
#undef OPMUX_COMPLEX

// An element of an operand or a result of matmul.cuh.
template <class T> struct ComplexElement {
    typedef Complex<T> Memory;
    typedef Complex<T> Value;
    static __device__ __forceinline__ Value widened(Memory x) { return x; }
    static __device__ __forceinline__ Memory narrowed(Value x) { return x; }
    static __device__ __forceinline__ Memory zero() { return {0, 0}; }
    static __device__ __forceinline__ Memory minus_zero() { return {-(T)0, -(T)0}; }
};
