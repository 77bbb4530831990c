/* Memory, queues, tickets and statuses. */
#include "abacus.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };
enum command_kind { FREE, UPLOAD, DOWNLOAD, WAIT, LAUNCH };

typedef struct gap { /* free memory; the list is ordered by address and no two touch */
    uint64_t address, bytes;
    struct gap *next;
} gap;

typedef struct block { /* memory in use */
    uint64_t address, bytes;
    struct block *next;
} block;

struct ab_board {
    pthread_mutex_t lock;
    uint8_t *memory;
    uint64_t bytes;
    gap *gaps;
    block *blocks;
    int lost, injected;
    int64_t countdown;
};

typedef struct command {
    struct command *next;
    enum command_kind kind;
    uint64_t address, bytes;
    void *target;    /* of a download */
    ab_queue *other; /* of a wait, whose ticket is in address */
    int64_t operands, words;
    uint64_t payload[]; /* the bytes of an upload; the operands of a launch, then its words */
} command;

typedef struct failure {
    struct failure *next;
    uint64_t ticket;
    int status;
} failure;

struct ab_queue {
    ab_board *board;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    command *first, *last;
    uint64_t submitted, completed;
    failure *failures; /* kept for good: a status may be asked for at any time */
};

ab_board *ab_open(uint64_t bytes) {
    ab_board *board = calloc(1, sizeof *board);
    gap *all = calloc(1, sizeof *all);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!board || !all || memory == MAP_FAILED) return NULL;
    *all = (gap){ALIGNMENT, bytes - ALIGNMENT, NULL}; /* address 0 is never given out */
    *board = (ab_board){.memory = memory, .bytes = bytes, .gaps = all};
    pthread_mutex_init(&board->lock, NULL);
    return board;
}

uint64_t ab_alloc(ab_board *board, uint64_t bytes) {
    if (bytes > board->bytes) return 0;
    uint64_t wanted = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, address = 0;
    block *used = malloc(sizeof *used);
    if (!used) return 0;
    pthread_mutex_lock(&board->lock);
    for (gap **at = &board->gaps; *at; at = &(*at)->next) {
        gap *found = *at;
        if (found->bytes < wanted) continue;
        address = found->address;
        found->address += wanted, found->bytes -= wanted;
        if (!found->bytes) *at = found->next, free(found);
        *used = (block){address, wanted, board->blocks}, board->blocks = used;
        break;
    }
    pthread_mutex_unlock(&board->lock);
    if (!address) free(used);
    return address;
}

static int give_back(ab_board *board, uint64_t address) {
    gap *made = malloc(sizeof *made);
    if (!made) return AB_HOST_MEMORY;
    pthread_mutex_lock(&board->lock);
    block **at = &board->blocks;
    while (*at && (*at)->address != address) at = &(*at)->next;
    block *used = *at;
    if (used) {
        *at = used->next;
        gap **place = &board->gaps, *before = NULL;
        while (*place && (*place)->address < address) before = *place, place = &before->next;
        *made = (gap){address, used->bytes, *place}, *place = made;
        if (made->next && made->address + made->bytes == made->next->address) {
            gap *after = made->next;
            made->bytes += after->bytes, made->next = after->next, free(after);
        }
        if (before && before->address + before->bytes == address)
            before->bytes += made->bytes, before->next = made->next, free(made);
        free(used);
    } else {
        free(made);
    }
    pthread_mutex_unlock(&board->lock);
    return used ? AB_OK : AB_FAULT;
}

int ab_lost(ab_board *board) { return __atomic_load_n(&board->lost, __ATOMIC_ACQUIRE); }

void ab_inject(ab_board *board, int status, int64_t n) {
    pthread_mutex_lock(&board->lock);
    board->injected = status, board->countdown = n;
    pthread_mutex_unlock(&board->lock);
}

static int injected(ab_board *board) {
    pthread_mutex_lock(&board->lock);
    int status = board->countdown > 0 && --board->countdown == 0 ? board->injected : AB_OK;
    pthread_mutex_unlock(&board->lock);
    if (status == AB_LOST) __atomic_store_n(&board->lost, 1, __ATOMIC_RELEASE);
    return status;
}

static int inside(const ab_board *board, uint64_t address, uint64_t bytes) {
    return address >= ALIGNMENT && bytes <= board->bytes && address <= board->bytes - bytes;
}

static int carry_out(ab_board *board, command *c) {
    if (ab_lost(board)) return AB_LOST;
    switch (c->kind) {
    case FREE: return give_back(board, c->address);
    case WAIT: ab_status(c->other, c->address); return AB_OK;
    case UPLOAD:
    case DOWNLOAD:
        if (!inside(board, c->address, c->bytes)) return AB_FAULT;
        if (c->kind == UPLOAD) memcpy(board->memory + c->address, c->payload, c->bytes);
        else memcpy(c->target, board->memory + c->address, c->bytes);
        return AB_OK;
    case LAUNCH: {
        int status = injected(board);
        if (status) return status;
        ab_context context = {c->payload, board->memory, board->bytes};
        return ab_run_steps(&context, (const int64_t *)c->payload + c->operands, c->words);
    }
    }
    return AB_FAULT;
}

static void *work(void *given) {
    ab_queue *queue = given;
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        while (!queue->first) pthread_cond_wait(&queue->changed, &queue->lock);
        command *c = queue->first;
        queue->first = c->next;
        pthread_mutex_unlock(&queue->lock);
        int status = carry_out(queue->board, c);
        free(c);
        failure *note = status ? malloc(sizeof *note) : NULL;
        if (status && !note) abort(); /* a failure that could not be told would be a wrong number */
        pthread_mutex_lock(&queue->lock);
        queue->completed++;
        if (note) *note = (failure){queue->failures, queue->completed, status}, queue->failures = note;
        pthread_cond_broadcast(&queue->changed);
    }
    return NULL;
}

ab_queue *ab_queue_open(ab_board *board) {
    ab_queue *queue = calloc(1, sizeof *queue);
    pthread_t worker;
    if (!queue) return NULL;
    queue->board = board;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    if (pthread_create(&worker, NULL, work, queue)) return NULL;
    pthread_detach(worker);
    return queue;
}

static command *command_of(enum command_kind kind, uint64_t address, uint64_t bytes, uint64_t payload) {
    command *c = malloc(sizeof *c + payload);
    if (c) *c = (command){.kind = kind, .address = address, .bytes = bytes};
    return c;
}

static uint64_t submit(ab_queue *queue, command *c) {
    if (!c) return 0;
    pthread_mutex_lock(&queue->lock);
    if (queue->first) queue->last->next = c;
    else queue->first = c;
    queue->last = c;
    uint64_t ticket = ++queue->submitted;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return ticket;
}

uint64_t ab_free(ab_queue *queue, uint64_t address) { return submit(queue, command_of(FREE, address, 0, 0)); }

uint64_t ab_upload(ab_queue *queue, uint64_t address, const void *source, uint64_t bytes) {
    command *c = command_of(UPLOAD, address, bytes, bytes);
    if (c) memcpy(c->payload, source, bytes);
    return submit(queue, c);
}

uint64_t ab_download(ab_queue *queue, void *target, uint64_t address, uint64_t bytes) {
    command *c = command_of(DOWNLOAD, address, bytes, 0);
    if (c) c->target = target;
    return submit(queue, c);
}

uint64_t ab_wait(ab_queue *queue, ab_queue *other, uint64_t ticket) {
    command *c = command_of(WAIT, ticket, 0, 0);
    if (c) c->other = other;
    return submit(queue, c);
}

uint64_t ab_launch(ab_queue *queue, const uint64_t *operands, int64_t count, const int64_t *words, int64_t length) {
    command *c = command_of(LAUNCH, 0, 0, (uint64_t)(count + length) * 8);
    if (c) {
        c->operands = count, c->words = length;
        memcpy(c->payload, operands, (uint64_t)count * 8);
        memcpy(c->payload + count, words, (uint64_t)length * 8);
    }
    return submit(queue, c);
}

uint64_t ab_last(ab_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    uint64_t ticket = queue->submitted;
    pthread_mutex_unlock(&queue->lock);
    return ticket;
}

int ab_done(ab_queue *queue, uint64_t ticket) {
    pthread_mutex_lock(&queue->lock);
    int done = queue->completed >= ticket;
    pthread_mutex_unlock(&queue->lock);
    return done;
}

int ab_status(ab_queue *queue, uint64_t ticket) {
    int status = AB_OK;
    pthread_mutex_lock(&queue->lock);
    while (queue->completed < ticket) pthread_cond_wait(&queue->changed, &queue->lock);
    for (failure *f = queue->failures; f; f = f->next)
        if (f->ticket == ticket) status = f->status;
    pthread_mutex_unlock(&queue->lock);
    return status;
}
