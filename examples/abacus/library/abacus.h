/* The runtime of the abacus board, as a vendor's driver library would be: memory that the host cannot address, in-order
 * queues that work on their own, and statuses that are read later. Nothing in it knows opmux.
 *
 * The board is made of threads and one private mapping. A board address counts from the start of its memory; the host
 * never turns one into a pointer.
 */
#ifndef ABACUS_H
#define ABACUS_H

#include <stdint.h>

typedef struct ab_board ab_board;
typedef struct ab_queue ab_queue;

/* How a command ended. */
enum { AB_OK, AB_FAULT /* an address outside of the memory */, AB_PARITY, AB_LOST, AB_HOST_MEMORY };

ab_board *ab_open(uint64_t bytes); /* NULL where the host has no room for it */
ab_queue *ab_queue_open(ab_board *board);

uint64_t ab_alloc(ab_board *board, uint64_t bytes); /* a board address, aligned to 64 bytes; 0 where it does not fit */
int ab_lost(ab_board *board);
/* Let the n-th launch from now on end with this status, 1 being the next; AB_LOST takes the board with it. */
void ab_inject(ab_board *board, int status, int64_t n);

/* Each puts one command on a queue and returns its ticket; tickets of a queue count from 1. 0: the host is out of memory. */
uint64_t ab_free(ab_queue *queue, uint64_t address);
uint64_t ab_upload(ab_queue *queue, uint64_t address, const void *source, uint64_t bytes); /* source may go at once */
uint64_t ab_download(ab_queue *queue, void *target, uint64_t address, uint64_t bytes);     /* target must stay */
uint64_t ab_wait(ab_queue *queue, ab_queue *other, uint64_t ticket);
/* A launch runs steps one after the other; each is words as in steps.c. Board addresses of the operands come apart, so
 * that the words can be made once and launched often. */
uint64_t ab_launch(ab_queue *queue, const uint64_t *operands, int64_t count, const int64_t *words, int64_t length);

uint64_t ab_last(ab_queue *queue);                 /* the last ticket given out */
int ab_done(ab_queue *queue, uint64_t ticket);     /* does not wait */
int ab_status(ab_queue *queue, uint64_t ticket);   /* waits */

/* For the parts of the library. */
typedef struct {
    const uint64_t *operands;
    uint8_t *memory; /* where board address 0 would be */
    uint64_t limit;  /* addresses from 64 up to this one exist */
} ab_context;

typedef struct {
    uint8_t *data;
    int type;
    int rank;
    const int64_t *shape, *strides; /* strides in elements */
} ab_view;

int ab_run_steps(const ab_context *context, const int64_t *words, int64_t length); /* a status */

/* Run a program on n elements, at most AB_BLOCK; slots hold AB_BLOCK elements of 8 bytes each. */
enum { AB_BLOCK = 256 };
void ab_run_program(const int64_t *program, int64_t instructions, uint64_t (*slots)[AB_BLOCK], int64_t n);

/* The types of elements: X(name, C type, type that wraps, type of twice the width). Their order is their number. */
#define AB_INTEGERS(X)                           \
    X(INT32, int32_t, uint32_t, int64_t)         \
    X(UINT32, uint32_t, uint32_t, uint64_t)      \
    X(INT64, int64_t, uint64_t, __int128)
#define AB_FLOATS(X) X(FLOAT32, float, float, double)
#define AB_NUMBERS(X) AB_INTEGERS(X) AB_FLOATS(X)
#define AB_TYPES(X) X(BOOL, uint8_t, uint8_t, uint8_t) AB_NUMBERS(X)
#define AB_NUMBER_OF(name, type, wraps, wide) AB_##name,
enum { AB_TYPES(AB_NUMBER_OF) AB_TYPE_COUNT };

#endif
