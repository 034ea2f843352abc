/* What both ends of a ring know: where it lies. */
#ifndef LATENTSPEED_RINGS_H
#define LATENTSPEED_RINGS_H

#include "_core.h"

#pragma GCC visibility push(hidden)

typedef struct {
    uint64_t *slots;
    ls_ring *ring;
} ls_ring_place;

/* Checks what a ring record must have, and where the ring lies; 0, or -1 with an exception. */
int ls_place_ring(PyObject *mapping, Py_ssize_t offset, Py_ssize_t capacity, ls_gate *gate, PyObject *name,
                  int writable, ls_ring_place *place);

#pragma GCC visibility pop
#endif
