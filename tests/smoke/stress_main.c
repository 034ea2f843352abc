/* stress SECONDS [SCENARIO ...]: runs each scenario for so long, prints a line for each, exits 1 at the first
 * fault. */
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "stress.h"

_Thread_local int stress_plain;
static _Thread_local uint32_t random_state;
static uint64_t deadline_ns;
static char facts[512];

static const stress_scenario *const scenarios[] = {
    &stress_cells,    &stress_cells_kept_up, &stress_ring, &stress_ring_kept_up, &stress_queue,
    &stress_sessions, &stress_doorbell,      &stress_bell, &stress_seal};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int stress_goes_on(void) { return now_ns() < TEST_LOAD(&deadline_ns); }

void stress_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _Exit(1);
}

void stress_tell(const char *what, uint64_t count) {
    size_t used = strlen(facts);
    snprintf(facts + used, sizeof facts - used, "%s%llu %s", used ? ", " : "", (unsigned long long)count,
             what);
}

uint32_t stress_random(void) {
    if (random_state == 0) random_state = (uint32_t)(uintptr_t)&random_state | 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    return random_state ^= random_state << 5;
}

void stress_dawdle(void) {
    uint32_t turns = stress_random() % 64;
    while (turns--) LS_CPU_RELAX();
}

void stress_nap(void) {
    struct timespec moment = {.tv_nsec = 20000};
    nanosleep(&moment, NULL);
}

void stress_rest(void) {
    uint32_t choice = stress_random() % 32;
    if (choice == 0)
        stress_nap();
    else if (choice < 8)
        sched_yield();
    else
        stress_dawdle();
}

void stress_threads(uint32_t count, void *(*const bodies[])(void *)) {
    pthread_t threads[16];
    for (uint32_t i = 0; i < count; i++) {
        int failed = pthread_create(&threads[i], NULL, bodies[i], (void *)(uintptr_t)i);
        CHECK(!failed, "no thread: %s", strerror(failed));
    }
    for (uint32_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static int is_chosen(const char *name, int argc, char **argv) {
    if (argc < 3) return 1;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    int ran = 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        const stress_scenario *scenario = scenarios[i];
        if (!is_chosen(scenario->name, argc, argv)) continue;
        facts[0] = 0;
        TEST_STORE(&deadline_ns, now_ns() + (uint64_t)(seconds * scenario->share * 1e9));
        scenario->run();
        printf("%-16s %-8s %s\n", scenario->name, scenario->payload, facts);
        fflush(stdout);
        ran++;
    }
    if (ran == 0) fprintf(stderr, "no such scenario\n");
    return ran == 0;
}
