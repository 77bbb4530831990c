/* What the board can do: one function per step. A step is words:
 *
 *   length of the step, its code, number of views, the views, parameters
 *   a view: operand, offset in elements, type, rank, shape, strides in elements
 *
 * The first view is written, the others are read.
 */
#include "abacus.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_VIEWS = 8, MOST_AXES = 64 };
/* Numbered as kernels.py numbers them. */
enum code { ELEMENTWISE, SUM, MAX, MATMUL, GATHER, SCATTER, ARGSORT, IOTA, RANDOM_BITS };
enum mode { CLIP, WRAP, FILL, DROP };
enum reduction { REPLACE, COMBINE_ADD, COMBINE_MULTIPLY, COMBINE_MIN, COMBINE_MAX };

typedef struct {
    ab_view views[MOST_VIEWS];
    const int64_t *params;
} step;

static const int64_t WIDTH[] = {[AB_BOOL] = 1, [AB_INT32] = 4, [AB_UINT32] = 4, [AB_INT64] = 8, [AB_FLOAT32] = 4};

static int64_t count(const ab_view *v) {
    int64_t n = 1;
    for (int a = 0; a < v->rank; a++) n *= v->shape[a];
    return n;
}

/* A walk through a view in row-major order. */
typedef struct {
    const ab_view *view;
    int64_t offset, index[MOST_AXES];
} cursor;

static cursor start_of(const ab_view *v) { return (cursor){.view = v}; }

static void advance(cursor *c) {
    for (int a = c->view->rank - 1; a >= 0; a--) {
        c->offset += c->view->strides[a];
        if (++c->index[a] < c->view->shape[a]) return;
        c->offset -= c->view->strides[a] * c->view->shape[a];
        c->index[a] = 0;
    }
}

/* Copy the next n elements between a view and dense memory. */
static void transfer(cursor *c, void *dense, int64_t n, int store) {
    int64_t width = WIDTH[c->view->type];
    for (int64_t i = 0; i < n; i++, advance(c)) {
        uint8_t *there = c->view->data + c->offset * width, *here = (uint8_t *)dense + i * width;
        uint8_t *to = store ? there : here, *from = store ? here : there;
        if (width == 4) memcpy(to, from, 4);
        else if (width == 8) memcpy(to, from, 8);
        else *to = *from;
    }
}

/* Parameters: number of slots, slot of the result, number of instructions, the instructions. Input i is in slot i. */
static int elementwise(const step *s, int views) {
    uint64_t(*slots)[AB_BLOCK] = malloc((uint64_t)s->params[0] * sizeof *slots);
    if (!slots) return AB_HOST_MEMORY;
    cursor at[MOST_VIEWS];
    for (int v = 0; v < views; v++) at[v] = start_of(&s->views[v]);
    for (int64_t left = count(&s->views[0]), n; left > 0; left -= n) {
        n = left < AB_BLOCK ? left : AB_BLOCK;
        for (int v = 1; v < views; v++) transfer(&at[v], slots[v - 1], n, 0);
        ab_run_program(s->params + 3, s->params[2], slots, n);
        transfer(&at[0], slots[s->params[1]], n, 1);
    }
    free(slots);
    return AB_OK;
}

/* The larger or smaller of two numbers; NaN wins, and -0 is below +0. */
#define EXTREME(T, a, b, before) \
    ((a) != (a) ? (a) : (b) != (b) ? (b) : (a) before (b) ? (a) : (b) before (a) ? (b) : 1 / (double)(a) before 1 / (double)(b) ? (a) : (b))

/* The canonical order of sums: blocks of 1024 terms, in each 64 lanes that are folded in halves, and a binary tree over
 * the blocks. Parameters: number of terms per sum. The reduced axes of the operand come last. */
enum { TERMS = 1024, LANES = 64 };
#define SUM_OF(name, T, U, W)                                                                             \
    static int sum_##name(const step *s) {                                                                \
        cursor c = start_of(&s->views[1]);                                                                \
        U terms[TERMS], lanes[LANES], tree[64];                                                           \
        T *out = (T *)s->views[0].data;                                                                   \
        for (int64_t k = count(&s->views[0]); k > 0; k--) {                                               \
            int64_t blocks = 0;                                                                           \
            int depth = 0;                                                                                \
            for (int64_t left = s->params[0], n; left > 0; left -= n, blocks++) {                         \
                n = left < TERMS ? left : TERMS;                                                          \
                transfer(&c, terms, n, 0);                                                                \
                memset(lanes, 0, sizeof lanes);                                                           \
                for (int64_t i = 0; i < n; i++) lanes[i % LANES] += terms[i];                             \
                for (int width = LANES / 2; width; width /= 2)                                            \
                    for (int l = 0; l < width; l++) lanes[l] += lanes[l + width];                         \
                tree[depth++] = lanes[0];                                                                 \
                for (int64_t pairs = blocks + 1; pairs % 2 == 0; pairs /= 2, depth--)                     \
                    tree[depth - 2] += tree[depth - 1];                                                   \
            }                                                                                             \
            for (; depth > 1; depth--) tree[depth - 2] += tree[depth - 1];                                \
            *out++ = depth ? (T)tree[0] : 0;                                                              \
        }                                                                                                 \
        return AB_OK;                                                                                     \
    }
AB_NUMBERS(SUM_OF)

#define MAX_OF(name, T, U, W)                                                                             \
    static int max_##name(const step *s) {                                                                \
        cursor c = start_of(&s->views[1]);                                                                \
        T *out = (T *)s->views[0].data;                                                                   \
        for (int64_t k = count(&s->views[0]); k > 0; k--) {                                               \
            T best = 0, x;                                                                                \
            for (int64_t i = 0; i < s->params[0]; i++) {                                                  \
                transfer(&c, &x, 1, 0);                                                                   \
                best = i ? EXTREME(T, best, x, >) : x;                                                    \
            }                                                                                             \
            *out++ = best;                                                                                \
        }                                                                                                 \
        return AB_OK;                                                                                     \
    }
AB_NUMBERS(MAX_OF)

/* The canonical order of products: chains of fused multiply-adds over blocks of 512, blocks added in order. */
enum { CHAIN = 512 };
#define FUSED_FLOAT(a, b, c) __builtin_fmaf(a, b, c)
#define FUSED_INTEGER(a, b, c) ((a) * (b) + (c))
#define MATMUL_OF(name, T, U, FUSED)                                                                      \
    static int matmul_##name(const step *s) {                                                             \
        const ab_view *x = &s->views[1], *y = &s->views[2];                                               \
        int r = x->rank;                                                                                  \
        int64_t rows = x->shape[r - 2], inner = x->shape[r - 1], columns = y->shape[r - 1];               \
        ab_view x_batch = *x, y_batch = *y;                                                               \
        x_batch.rank = y_batch.rank = r - 2;                                                              \
        cursor at_x = start_of(&x_batch), at_y = start_of(&y_batch);                                      \
        U *out = (U *)s->views[0].data;                                                                   \
        for (int64_t batch = count(&x_batch); batch > 0; batch--, advance(&at_x), advance(&at_y))         \
            for (int64_t i = 0; i < rows; i++)                                                            \
                for (int64_t j = 0; j < columns; j++) {                                                   \
                    const U *a = (const U *)x->data + at_x.offset + i * x->strides[r - 2];                \
                    const U *b = (const U *)y->data + at_y.offset + j * y->strides[r - 1];                \
                    U total = 0;                                                                          \
                    for (int64_t k = 0; k < inner;) {                                                     \
                        U chain = 0;                                                                      \
                        for (int64_t end = k + CHAIN; k < inner && k < end; k++)                          \
                            chain = FUSED(a[k * x->strides[r - 1]], b[k * y->strides[r - 2]], chain);     \
                        total = k <= CHAIN ? chain : total + chain;                                       \
                    }                                                                                     \
                    *out++ = total;                                                                       \
                }                                                                                         \
        return AB_OK;                                                                                     \
    }
#define MATMUL_OF_INTEGERS(name, T, U, W) MATMUL_OF(name, T, U, FUSED_INTEGER)
#define MATMUL_OF_FLOATS(name, T, U, W) MATMUL_OF(name, T, U, FUSED_FLOAT)
AB_INTEGERS(MATMUL_OF_INTEGERS)
AB_FLOATS(MATMUL_OF_FLOATS)

/* Where index i points in an axis, by the mode; -1 where nowhere. */
static int64_t place(const ab_view *indices, int64_t i, int64_t length, enum mode mode) {
    int64_t at = indices->type == AB_INT64 ? ((int64_t *)indices->data)[i] : ((int32_t *)indices->data)[i];
    if (at < 0) at += length;
    if (at >= 0 && at < length) return at;
    if (!length || mode == FILL || mode == DROP) return -1;
    if (mode == WRAP) return (at % length + length) % length;
    return at < 0 ? 0 : length - 1;
}

/* Parameters of gather and scatter: axes before, length of the axis, axes after, mode, and the reduction of scatter. */
static int gather(const step *s) {
    const ab_view *out = &s->views[0], *x = &s->views[1], *indices = &s->views[2];
    int64_t outer = s->params[0], length = s->params[1], row = s->params[2] * WIDTH[x->type], n = count(indices);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            int64_t at = place(indices, i, length, s->params[3]);
            uint8_t *to = out->data + (o * n + i) * row;
            if (at < 0) memset(to, 0, row);
            else memcpy(to, x->data + (o * length + at) * row, row);
        }
    return AB_OK;
}

#define SCATTER_OF(name, T, U, W)                                                                         \
    static void combine_##name(uint8_t *to, const uint8_t *from, int64_t n, enum reduction how) {         \
        T *old = (T *)to;                                                                                 \
        const T *new = (const T *)from;                                                                   \
        for (int64_t i = 0; i < n; i++) switch (how) {                                                    \
            case REPLACE: old[i] = new[i]; break;                                                         \
            case COMBINE_ADD: old[i] = (T)((U)old[i] + (U)new[i]); break;                                 \
            case COMBINE_MULTIPLY: old[i] = (T)((U)old[i] * (U)new[i]); break;                            \
            case COMBINE_MIN: old[i] = EXTREME(T, old[i], new[i], <); break;                              \
            case COMBINE_MAX: old[i] = EXTREME(T, old[i], new[i], >); break;                              \
        }                                                                                                 \
    }
AB_TYPES(SCATTER_OF)
#define COMBINE_ENTRY(name, T, U, W) [AB_##name] = combine_##name,
static void (*const COMBINE[])(uint8_t *, const uint8_t *, int64_t, enum reduction) = {AB_TYPES(COMBINE_ENTRY)};

static int scatter(const step *s) {
    const ab_view *out = &s->views[0], *indices = &s->views[1], *updates = &s->views[2];
    int64_t outer = s->params[0], length = s->params[1], inner = s->params[2], n = count(indices);
    int64_t row = inner * WIDTH[out->type];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            int64_t at = place(indices, i, length, s->params[3]);
            if (at >= 0)
                COMBINE[out->type](out->data + (o * length + at) * row, updates->data + (o * n + i) * row, inner,
                                   s->params[4]);
        }
    return AB_OK;
}

/* Parameters of argsort: axes before, length of the axis, axes after, descending. A stable merge sort; NaN is last. */
#define ARGSORT_OF(name, T, U, W)                                                                         \
    static int argsort_##name(const step *s) {                                                            \
        int64_t outer = s->params[0], n = s->params[1], inner = s->params[2], down = s->params[3];        \
        const T *x = (const T *)s->views[1].data;                                                         \
        int64_t *out = (int64_t *)s->views[0].data, *order = malloc((uint64_t)(2 * n + 1) * 8);           \
        if (!order) return AB_HOST_MEMORY;                                                                \
        for (int64_t line = 0; line < outer * inner; line++) {                                            \
            const T *key = x + line / inner * n * inner + line % inner;                                   \
            int64_t *from = order, *to = order + n;                                                       \
            for (int64_t i = 0; i < n; i++) from[i] = i;                                                  \
            for (int64_t width = 1; width < n; width *= 2) {                                              \
                for (int64_t low = 0; low < n; low += 2 * width) {                                        \
                    int64_t middle = low + width < n ? low + width : n;                                   \
                    int64_t high = low + 2 * width < n ? low + 2 * width : n, a = low, b = middle;        \
                    for (int64_t k = low; k < high; k++) {                                                \
                        int right = a == middle;                                                          \
                        if (!right && b < high) {                                                         \
                            T p = key[from[b] * inner], q = key[from[a] * inner];                         \
                            right = (down ? p > q : p < q) || (q != q && p == p);                         \
                        }                                                                                 \
                        to[k] = from[right ? b++ : a++];                                                  \
                    }                                                                                     \
                }                                                                                         \
                int64_t *swap = from;                                                                     \
                from = to, to = swap;                                                                     \
            }                                                                                             \
            int64_t *result = out + line / inner * n * inner + line % inner;                              \
            for (int64_t i = 0; i < n; i++) result[i * inner] = from[i];                                  \
        }                                                                                                 \
        free(order);                                                                                      \
        return AB_OK;                                                                                     \
    }
AB_NUMBERS(ARGSORT_OF)

/* Parameters: length of the axis, axes after. */
#define IOTA_OF(name, T, U, W)                                                                            \
    static int iota_##name(const step *s) {                                                               \
        T *out = (T *)s->views[0].data;                                                                   \
        for (int64_t i = 0, n = count(&s->views[0]); i < n; i++)                                          \
            out[i] = (T)(i / s->params[1] % s->params[0]);                                                \
        return AB_OK;                                                                                     \
    }
AB_NUMBERS(IOTA_OF)

/* Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11; constants of Philox4x32-10. */
static int random_bits(const step *s) {
    uint32_t *out = (uint32_t *)s->views[0].data;
    const uint32_t *key = (uint32_t *)s->views[1].data, *counter = (uint32_t *)s->views[2].data;
    uint64_t start = counter[0] | (uint64_t)counter[1] << 32;
    for (int64_t i = 0, n = count(&s->views[0]); i < n; i += 4) {
        uint64_t low = start + (uint64_t)i / 4;
        uint32_t c[4] = {(uint32_t)low, (uint32_t)(low >> 32), counter[2], counter[3]}, k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
            uint64_t p0 = (uint64_t)c[0] * 0xD2511F53, p1 = (uint64_t)c[2] * 0xCD9E8D57;
            uint32_t c1 = c[1], c3 = c[3];
            c[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k0, c[1] = (uint32_t)p1;
            c[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k1, c[3] = (uint32_t)p0;
        }
        memcpy(out + i, c, 4 * (uint64_t)(n - i < 4 ? n - i : 4));
    }
    return AB_OK;
}

/* The steps that have one function per type. */
#define ENTRY(name, function) [AB_##name] = function##_##name,
#define SUM_ENTRY(name, T, U, W) ENTRY(name, sum)
#define MAX_ENTRY(name, T, U, W) ENTRY(name, max)
#define MATMUL_ENTRY(name, T, U, W) ENTRY(name, matmul)
#define ARGSORT_ENTRY(name, T, U, W) ENTRY(name, argsort)
#define IOTA_ENTRY(name, T, U, W) ENTRY(name, iota)
static int (*const TYPED[][AB_TYPE_COUNT])(const step *) = {
    [SUM] = {AB_NUMBERS(SUM_ENTRY)},         [MAX] = {AB_NUMBERS(MAX_ENTRY)},   [MATMUL] = {AB_NUMBERS(MATMUL_ENTRY)},
    [ARGSORT] = {AB_NUMBERS(ARGSORT_ENTRY)}, [IOTA] = {AB_NUMBERS(IOTA_ENTRY)},
};

/* Find a view in memory; false where a part of it would lie outside. */
static int resolve(const ab_context *context, const int64_t *words, ab_view *v) {
    *v = (ab_view){NULL, (int)words[2], (int)words[3], words + 4, words + 4 + words[3]};
    int64_t low = words[1], high = words[1], width = WIDTH[v->type];
    for (int a = 0; a < v->rank; a++)
        *(v->strides[a] < 0 ? &low : &high) += v->strides[a] * (v->shape[a] - 1);
    uint64_t address = context->operands[words[0]];
    v->data = context->memory + address + words[1] * width;
    return count(v) == 0 || ((int64_t)address + low * width >= 64 && address + (high + 1) * width <= context->limit);
}

static int run_step(const ab_context *context, const int64_t *words) {
    step s;
    const int64_t *at = words + 3;
    for (int v = 0; v < words[2]; v++, at += 4 + 2 * at[3])
        if (!resolve(context, at, &s.views[v])) return AB_FAULT;
    s.params = at;
    switch (words[1]) {
    case ELEMENTWISE: return elementwise(&s, (int)words[2]);
    case GATHER: return gather(&s);
    case SCATTER: return scatter(&s);
    case RANDOM_BITS: return random_bits(&s);
    }
    /* The operand's type says which; what only writes has none. */
    return TYPED[words[1]][s.views[words[2] > 1].type](&s);
}

int ab_run_steps(const ab_context *context, const int64_t *words, int64_t length) {
    int status = AB_OK;
    for (const int64_t *end = words + length; words < end && !status; words += words[0]) status = run_step(context, words);
    return status;
}
