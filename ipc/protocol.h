/* Every load, store and ordering of the shared memory. No Python here, no system call, no allocation.
 *
 *   protocol_words.h      accesses, orderings, payload copies         everything rests on it
 *   protocol_cell.h       the latest value of one record
 *   protocol_ring.h       one writer, any number of readers
 *   protocol_queue.h      one producer, one consumer that does not trust it
 *   protocol_segment.h    the first page of a segment
 *   protocol_session.h    who may write commands, and as which generation
 *   protocol_waking.h     doorbell and bell
 *   protocol_counters.h   counters and histograms
 */
#ifndef LATENTSPEED_PROTOCOL_H
#define LATENTSPEED_PROTOCOL_H

#include "protocol_cell.h"
#include "protocol_counters.h"
#include "protocol_queue.h"
#include "protocol_ring.h"
#include "protocol_segment.h"
#include "protocol_session.h"
#include "protocol_waking.h"
#include "protocol_words.h"

#endif
