/* The interpreter of scalar programs: one instruction after the other over blocks of elements. Each instruction is exact
 * integer arithmetic or one correctly rounded operation, so results have the same bits as on any other device. The file
 * must be compiled without contraction of a * b + c.
 */
#include "abacus.h"

#include <math.h>
#include <string.h>

/* Numbered as kernels.py numbers them. */
enum code {
    CONST, ADD, SUB, MUL, FMA, DIV, SQRT, RINT, IADD, ISUB, IMUL, IMULHI, IDIV, IREM, SHL, SHR, AND, OR, XOR, EQ, LT, LE,
    SELECT, BITCAST, CONVERT, LOOKUP
};

/* An instruction is these words, then its immediates. */
struct instruction {
    int64_t length, code, type, source /* type of the last argument */, target /* slot */, args[3];
    int64_t immediates[];
};

#define KEY(code, type) ((code) * AB_TYPE_COUNT + (type))
#define EACH(expression)                                      \
    for (int64_t i = 0; i < n; i++) r[i] = (expression);      \
    break;
#define CASE(code, name, T, expression)                                       \
    case KEY(code, AB_##name): {                                              \
        T *r = target;                                                        \
        const T *a = args[0], *b = args[1], *c = args[2];                     \
        (void)a, (void)b, (void)c;                                            \
        EACH(expression)                                                      \
    }
#define COMPARE(code, name, T, expression)              \
    case KEY(code, AB_##name): {                        \
        uint8_t *r = target;                            \
        const T *a = args[0], *b = args[1];             \
        EACH(expression)                                \
    }

#define FLOAT_CASES(name, T, U, W)                                                                                \
    CASE(ADD, name, T, a[i] + b[i]) CASE(SUB, name, T, a[i] - b[i]) CASE(MUL, name, T, a[i] * b[i])               \
    CASE(FMA, name, T, __builtin_fmaf(a[i], b[i], c[i])) CASE(DIV, name, T, a[i] / b[i])                          \
    CASE(SQRT, name, T, __builtin_sqrtf(a[i])) CASE(RINT, name, T, __builtin_rintf(a[i]))
#define INTEGER_CASES(name, T, U, W)                                                                              \
    CASE(IADD, name, T, (T)((U)a[i] + (U)b[i])) CASE(ISUB, name, T, (T)((U)a[i] - (U)b[i]))                       \
    CASE(IMUL, name, T, (T)((U)a[i] * (U)b[i]))                                                                   \
    CASE(IMULHI, name, T, (T)((W)((W)a[i] * (W)b[i]) >> 8 * sizeof(T)))                                           \
    CASE(IDIV, name, T, a[i] / b[i]) CASE(IREM, name, T, a[i] % b[i])                                             \
    CASE(SHL, name, T, (T)((U)a[i] << b[i])) CASE(SHR, name, T, a[i] >> b[i])
#define BIT_CASES(name, T, U, W)                                                                                  \
    CASE(AND, name, T, a[i] & b[i]) CASE(OR, name, T, a[i] | b[i]) CASE(XOR, name, T, a[i] ^ b[i])
#define COMPARE_CASES(name, T, U, W)                                                                              \
    COMPARE(EQ, name, T, a[i] == b[i]) COMPARE(LT, name, T, a[i] < b[i]) COMPARE(LE, name, T, a[i] <= b[i])
#define SELECT_CASE(name, T, U, W)                                                                                \
    case KEY(SELECT, AB_##name): {                                                                                \
        T *r = target;                                                                                            \
        const uint8_t *a = args[0];                                                                               \
        const T *b = args[1], *c = args[2];                                                                       \
        EACH(a[i] ? b[i] : c[i])                                                                                  \
    }
#define CONST_CASE(name, T, U, W)                                                                                 \
    case KEY(CONST, AB_##name): {                                                                                 \
        T *r = target, value;                                                                                     \
        memcpy(&value, ins->immediates, sizeof value);                                                            \
        EACH(value)                                                                                               \
    }

static void convert(void *target, int to, const void *source, int from, int64_t n);
static void look_up(void *target, int type, const int64_t *table, const void *index, int from, int64_t n);

static void run_instruction(const struct instruction *ins, uint64_t (*slots)[AB_BLOCK], int64_t n) {
    void *target = slots[ins->target];
    const void *args[3] = {slots[ins->args[0]], slots[ins->args[1]], slots[ins->args[2]]};
    int by_source = ins->code == EQ || ins->code == LT || ins->code == LE;
    switch (ins->code) {
    case BITCAST: memcpy(target, args[0], (uint64_t)n * (ins->type == AB_INT64 ? 8 : 4)); return;
    case CONVERT: convert(target, (int)ins->type, args[0], (int)ins->source, n); return;
    case LOOKUP: look_up(target, (int)ins->type, ins->immediates, args[0], (int)ins->source, n); return;
    }
    switch (KEY(ins->code, by_source ? ins->source : ins->type)) {
        AB_FLOATS(FLOAT_CASES)
        AB_INTEGERS(INTEGER_CASES)
        AB_INTEGERS(BIT_CASES)
        BIT_CASES(BOOL, uint8_t, , )
        AB_TYPES(COMPARE_CASES)
        AB_TYPES(SELECT_CASE)
        AB_TYPES(CONST_CASE)
    }
}

#define FROM(name, T, expression)                                                       \
    case AB_##name: {                                                                   \
        const T *a = source;                                                            \
        for (int64_t i = 0; i < n; i++) r[i] = (expression);                            \
        break;                                                                          \
    }
#define FROM_EXACT(name, T, U, W) FROM(name, T, (R)a[i])

#define TO(name, T, from_float)                                                 \
    case AB_##name: {                                                                   \
        typedef T R;                                                                    \
        R *r = target;                                                                  \
        switch (from) {                                                                 \
            FROM_EXACT(BOOL, uint8_t, , )                                               \
            AB_INTEGERS(FROM_EXACT)                                                     \
            FROM(FLOAT32, float, from_float)                                            \
        }                                                                               \
        break;                                                                          \
    }

/* Floats become integers by truncation, what is out of range the nearest end, NaN 0. */
static int32_t int32_of(float x) {
    return x != x ? 0 : x >= 0x1p31f ? INT32_MAX : x <= -0x1p31f ? INT32_MIN : (int32_t)x;
}

static int64_t int64_of(float x) {
    return x != x ? 0 : x >= 0x1p63f ? INT64_MAX : x <= -0x1p63f ? INT64_MIN : (int64_t)x;
}

static uint32_t uint32_of(float x) { return !(x > 0) ? 0 : x >= 0x1p32f ? UINT32_MAX : (uint32_t)x; }

static void convert(void *target, int to, const void *source, int from, int64_t n) {
    switch (to) {
        TO(INT32, int32_t, int32_of(a[i]))
        TO(UINT32, uint32_t, uint32_of(a[i]))
        TO(INT64, int64_t, int64_of(a[i]))
        TO(FLOAT32, float, a[i]) /* from integers: rounded once, to nearest even */
    }
}

static void look_up(void *target, int type, const int64_t *table, const void *index, int from, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int64_t k = from == AB_INT64 ? ((const int64_t *)index)[i] : ((const int32_t *)index)[i];
        if (type == AB_INT64) ((int64_t *)target)[i] = table[k];
        else if (type == AB_BOOL) ((uint8_t *)target)[i] = (uint8_t)table[k];
        else ((uint32_t *)target)[i] = (uint32_t)table[k];
    }
}

void ab_run_program(const int64_t *program, int64_t instructions, uint64_t (*slots)[AB_BLOCK], int64_t n) {
    while (instructions--) {
        const struct instruction *ins = (const struct instruction *)program;
        run_instruction(ins, slots, n);
        program += ins->length;
    }
}
