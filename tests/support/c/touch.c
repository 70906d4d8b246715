/* Touches mapped files by threads, whose faults are the kernel's alone: Python's threads fault one at a time.
 *
 *     touch THREADS FILE:OFFSET…        each byte, in this order; a line "NUMBER BYTE" as soon as it is here
 *     touch THREADS random SEED FILE…   bytes at random until the process is killed; a line "touched" every 256
 *
 * Each thread maps a file anew for every byte in the second form. A file that cannot be mapped ends the process with 1.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVERY 256

static char **places;
static int place_count;
static const volatile unsigned char **bytes_of; /* by the number of a place */
static uint64_t seed;
static atomic_int next_place;
static atomic_ulong touched;

static const volatile unsigned char *map(const char *path, size_t *size) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status)) {
        perror(path);
        exit(1);
    }
    *size = (size_t)status.st_size;
    void *mapped = mmap(NULL, *size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    close(descriptor);
    return mapped;
}

/* Each file is opened once, by the first of its places. */
static void map_places(void) {
    bytes_of = calloc((size_t)place_count, sizeof *bytes_of);
    for (int number = 0; number < place_count; number++) {
        char *colon = strrchr(places[number], ':');
        if (bytes_of == NULL || colon == NULL)
            exit(2);
        *colon = 0;
        for (int earlier = 0; earlier < number && bytes_of[number] == NULL; earlier++)
            if (!strcmp(places[earlier], places[number]))
                bytes_of[number] = bytes_of[earlier];
        size_t size;
        if (bytes_of[number] == NULL)
            bytes_of[number] = map(places[number], &size);
    }
}

static void *in_order(void *unused) {
    (void)unused;
    for (;;) {
        int number = atomic_fetch_add(&next_place, 1);
        if (number >= place_count)
            return NULL;
        const char *offset = places[number] + strlen(places[number]) + 1;
        printf("%d %d\n", number, bytes_of[number][strtoull(offset, NULL, 10)]);
    }
}

static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void *at_random(void *unused) {
    (void)unused;
    uint64_t state = mixed(seed + (uint64_t)atomic_fetch_add(&next_place, 1));
    for (;;) {
        state = mixed(state + 0x9e3779b97f4a7c15u);
        size_t size;
        const volatile unsigned char *bytes = map(places[state % (uint64_t)place_count], &size);
        (void)bytes[(state >> 8) % size];
        munmap((void *)(uintptr_t)bytes, size);
        if (atomic_fetch_add(&touched, 1) % EVERY == EVERY - 1)
            puts("touched");
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    int count = atoi(argv[1]), random = !strcmp(argv[2], "random");
    if (count < 1 || count > 256 || (random && argc < 5))
        return 2;
    places = argv + (random ? 4 : 2);
    place_count = argc - (random ? 4 : 2);
    seed = random ? strtoull(argv[3], NULL, 10) : 0;
    if (!random)
        map_places();
    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_t threads[256];
    for (int number = 0; number < count; number++)
        if (pthread_create(&threads[number], NULL, random ? at_random : in_order, NULL))
            return 1;
    for (int number = 0; number < count; number++)
        pthread_join(threads[number], NULL);
    return 0;
}
