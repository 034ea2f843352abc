/* Waiting in the kernel: the only system calls of the native core. No Python here.
 *
 * All futexes are shared between processes. Every wait is bounded; a wait may end early for any reason, and
 * the caller looks at the shared memory again.
 */
#ifndef LATENTSPEED_FUTEX_H
#define LATENTSPEED_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Kernel headers before 5.16 lack these; the call itself is tried once and its absence remembered. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#define LS_WAITV_MAX 128

typedef struct {
    uint64_t val;
    uint64_t uaddr;
    uint32_t flags;
    uint32_t reserved;
} ls_waitv;
#define LS_WAITV_32 2u

static inline int64_t ls_mono_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline struct timespec ls_timespec(int64_t ns) {
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static inline void ls_futex_wake_all(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Sleeps while *word == seen, at most timeout_ns. */
static inline void ls_futex_wait(uint32_t *word, uint32_t seen, int64_t timeout_ns) {
    struct timespec timeout = ls_timespec(timeout_ns);
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0);
}

/* Sleeps until one of the words changes. 0, or -1 where the kernel cannot wait for several. */
static inline int ls_futex_wait_any(const ls_waitv *waiters, uint32_t count, int64_t timeout_ns) {
    struct timespec until = ls_timespec(ls_mono_ns() + timeout_ns);
    long woken = syscall(SYS_futex_waitv, waiters, count, 0, &until, CLOCK_MONOTONIC);
    return woken == -1 && (errno == ENOSYS || errno == EPERM) ? -1 : 0;
}

static inline void ls_sleep(int64_t ns) {
    struct timespec t = ls_timespec(ns);
    nanosleep(&t, NULL);
}

#endif
