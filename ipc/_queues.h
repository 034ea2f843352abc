/* What both ends of a command queue know: where it lies. */
#ifndef LATENTSPEED_QUEUES_H
#define LATENTSPEED_QUEUES_H

#include "_core.h"

#pragma GCC visibility push(hidden)

typedef struct {
    ls_session *entry;       /* in the gateway's directory */
    ls_session_block *block; /* the client's */
    uint64_t *slots;
    uint64_t mask;
    Py_ssize_t index_offset; /* of command_index in the record */
    Py_ssize_t generation_offset;
} ls_queue_ends;

/* Checks what a command record must have, and where the queue lies; 0, or -1 with an exception. The gateway
 * writes the entry and reads the block, the client the other way round. */
int ls_place_queue(ls_queue_ends *queue, ls_gate *gate, PyObject *directory, Py_ssize_t entry_offset,
                   PyObject *block, Py_ssize_t block_offset, Py_ssize_t capacity, int gateway);

#pragma GCC visibility pop
#endif
