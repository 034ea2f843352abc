/* Segment: the first 640 bytes of page 0.
 *
 *   0     magic, version, layout hash, byte order and page size, total size
 *   64    boot id, creation time, where directory, schema and bells are
 *   192   state                                   each of the following starts a line of its own
 *   256   epoch, writer's pid and start time
 *   320   heartbeat
 *   384   last incarnation, last nonce
 *   448   doorbell
 *   512   ClockPair cell
 *
 * Magic, version and state keep their places in every version to come, so that any gateway can retire any
 * segment.
 */
#ifndef LATENTSPEED_PROTOCOL_SEGMENT_H
#define LATENTSPEED_PROTOCOL_SEGMENT_H

#include "protocol_words.h"

typedef struct {
    uint64_t magic;
    uint64_t version; /* stored last when built; 0 = half-built */
    uint64_t layout_hash[4];
    uint32_t byte_order;
    uint32_t page_size;
    uint64_t total_size;
    uint64_t boot_id[2];
    uint64_t created_utc_ns;
    uint64_t directory_offset;
    uint64_t directory_count;
    uint64_t schema_offset;
    uint64_t schema_size;
    uint64_t bells_offset;
    uint64_t bells_count;
    uint64_t pad0[7];
    uint64_t state;
    uint64_t pad1[7];
    uint64_t epoch;
    uint64_t writer_pid;
    uint64_t writer_start;
    uint64_t pad2[5];
    uint64_t heartbeat_mono_ns;
    uint64_t pad3[7];
    uint64_t last_incarnation;
    uint64_t last_nonce;
    uint64_t pad4[6];
    uint64_t doorbell;
    uint64_t pad5[7];
    uint64_t clock_cell[16];
} ls_header;

#define LS_MAGIC 0x4445455053544e4cull /* "LNTSPEED" in memory */
#define LS_BYTE_ORDER 0x01020304u

enum { LS_BUILDING = 0, LS_RECOVERING = 1, LS_LIVE = 2, LS_STOPPING = 3, LS_RETIRED = 4 };

/* The version word, after everything else that the segment was built of. */
static inline void ls_segment_seal(ls_header *header, uint64_t version) {
    LS_STORE_REL(&header->version, version);
}
static inline uint64_t ls_segment_version(const ls_header *header) { return LS_LOAD_ACQ(&header->version); }
static inline void ls_segment_set_state(ls_header *header, uint64_t state) {
    LS_STORE_REL(&header->state, state);
}
static inline uint64_t ls_segment_state(const ls_header *header) { return LS_LOAD_ACQ(&header->state); }

_Static_assert(offsetof(ls_header, state) == 192 && offsetof(ls_header, epoch) == 256, "segment header");
_Static_assert(offsetof(ls_header, heartbeat_mono_ns) == 320 && offsetof(ls_header, doorbell) == 448,
               "segment header");
_Static_assert(offsetof(ls_header, clock_cell) == 512 && sizeof(ls_header) == 640, "segment header");

#endif
