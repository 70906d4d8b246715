/* A reader of the soak test: small, so that 64 of them leave the processor to the daemon.
 *
 *     soak_reader make SEED SIZE FILE                 writes a file of computable noise
 *     soak_reader read BOARD SLOT SEED PAUSE_MS LIST  reads at random until it is killed, or finds something wrong
 *
 * The byte at each offset of a file is a function of the file's seed, so every byte that is read is verified without a
 * copy. LIST names files: "MODEL SEED SIZE PATH" a line. BOARD is a shared file of pages: the first holds the set of
 * models that may be read now (bits of a 32-bit number), the others a slot for each reader, in which it counts. A
 * reader that finds something wrong says what in its slot, and ends with 1.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define BUFFER (1 << 20)
#define BUCKETS 512
#define MAX_FILES 256

/* tests/support/soak.py reads it by the same layout. */
struct slot {
    uint64_t calls, bytes, began_ns, longest_ns; /* began_ns: 0 between calls */
    char longest[256], call[256];                /* which call took the longest, and which one is under way */
    uint32_t histogram[BUCKETS];
    char failure[1024];
};
_Static_assert(sizeof(struct slot) <= PAGE, "a slot is a page");

struct file {
    uint32_t model;
    uint64_t seed, size;
    char path[1024];
};

static struct slot *slot;
static struct file files[MAX_FILES];
static int file_count;
static unsigned char buffer[BUFFER];
static uint64_t state;

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t word(uint64_t seed, uint64_t index) { return mix(mix(seed) ^ index); }

static uint64_t below(uint64_t limit) { return limit ? mix(state++) % limit : 0; }

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(slot->failure, sizeof slot->failure, format, arguments);
    va_end(arguments);
    exit(1);
}

static void begin(const char *call, const struct file *file, uint64_t offset) {
    size_t length = strlen(file->path), shown = length < 200 ? length : 200;
    snprintf(slot->call, sizeof slot->call, "%.20s %.200s at %llu", call, file->path + length - shown,
             (unsigned long long)offset);
    slot->began_ns = now_ns();
}

/* A bucket is an eighth of a power of two of microseconds. */
static void end(uint64_t bytes) {
    uint64_t took_ns = now_ns() - slot->began_ns, us = took_ns / 1000;
    slot->began_ns = 0;
    int power = us < 8 ? 0 : 61 - __builtin_clzll(us); /* us >> power lies in 8..15 */
    slot->histogram[us < 8 ? us : (uint64_t)power * 8 + (us >> power)]++;
    slot->calls++;
    slot->bytes += bytes;
    if (took_ns > slot->longest_ns) {
        slot->longest_ns = took_ns;
        memcpy(slot->longest, slot->call, sizeof slot->longest);
    }
}

static void verify(const struct file *file, uint64_t offset, const unsigned char *data, size_t size) {
    for (size_t at = 0; at < size;) {
        uint64_t expected = word(file->seed, (offset + at) / 8);
        size_t skip = (offset + at) % 8, length = 8 - skip < size - at ? 8 - skip : size - at;
        if (memcmp(data + at, (unsigned char *)&expected + skip, length) != 0)
            fail("wrong bytes: %s at %llu", file->path, (unsigned long long)(offset + at));
        at += length;
    }
}

static int opened(const struct file *file) {
    begin("open", file, 0);
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail("open %s: %s", file->path, strerror(errno));
    end(0);
    return fd;
}

static void read_at(const struct file *file, int fd, uint64_t offset, size_t size) {
    begin("pread", file, offset);
    ssize_t got = pread(fd, buffer, size, (off_t)offset);
    if (got < 0)
        fail("pread %s at %llu: %s", file->path, (unsigned long long)offset, strerror(errno));
    end((uint64_t)got);
    uint64_t there = offset >= file->size ? 0 : file->size - offset < size ? file->size - offset : size;
    if ((uint64_t)got != there)
        fail("pread %s at %llu: %zd bytes of %llu", file->path, (unsigned long long)offset, got,
             (unsigned long long)there);
    verify(file, offset, buffer, (size_t)got);
}

static void read_some(const struct file *file) {
    int fd = opened(file);
    for (uint64_t times = 1 + below(6); times > 0; times--)
        read_at(file, fd, below(file->size + 100), 1 + below(below(4) ? 8192 : BUFFER));
    if (!below(4)) /* the kernel forgets its pages: the next reader has to ask the daemon */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void read_all(const struct file *file) {
    int fd = opened(file);
    for (uint64_t offset = 0; offset <= file->size; offset += BUFFER)
        read_at(file, fd, offset, BUFFER);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void touch_pages(const struct file *file) {
    if (file->size == 0)
        return;
    int fd = opened(file);
    int kind = below(2) ? MAP_SHARED : MAP_PRIVATE;
    unsigned char *mapped = mmap(NULL, file->size, PROT_READ, kind, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        fail("mmap %s: %s", file->path, strerror(errno));
    for (uint64_t times = 1 + below(20); times > 0; times--) {
        uint64_t offset = below(file->size), left = file->size - offset;
        begin("touch", file, offset);
        memcpy(buffer, mapped + offset, left < 64 ? left : 64);
        end(64);
        verify(file, offset, buffer, left < 64 ? left : 64);
    }
    munmap(mapped, file->size);
}

static void look(const struct file *file) {
    struct stat found;
    char path[1100], value[1024];
    begin("stat", file, 0);
    if (stat(file->path, &found) != 0 || (uint64_t)found.st_size != file->size)
        fail("stat %s: %s", file->path, strerror(errno));
    end(0);
    snprintf(path, sizeof path, "%s.absent", file->path);
    begin("stat of nothing", file, 0);
    if (stat(path, &found) == 0 || errno != ENOENT)
        fail("stat %s: %s", path, strerror(errno));
    end(0);
    begin("getxattr", file, 0);
    ssize_t length = getxattr(file->path, "user.hubfs.handle", value, sizeof value - 1);
    if (length < 0)
        fail("getxattr %s: %s", file->path, strerror(errno));
    end(0);
    value[length] = 0;
    if (strstr(file->path, value) == NULL)
        fail("getxattr %s: %s", file->path, value);
}

static void list(const struct file *file) {
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", file->path);
    char *name = strrchr(folder, '/');
    *name++ = 0;
    int found = 0;
    begin("readdir", file, 0);
    DIR *directory = opendir(folder);
    if (directory == NULL)
        fail("opendir %s: %s", folder, strerror(errno));
    errno = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        found += strcmp(entry->d_name, name) == 0;
    if (errno != 0 || found != 1)
        fail("readdir %s: %s there %d times: %s", folder, name, found, strerror(errno));
    closedir(directory);
    end(0);
}

static void read_list(const char *path) {
    FILE *lines = fopen(path, "re");
    if (lines == NULL)
        fail("%s: %s", path, strerror(errno));
    unsigned long long seed, size;
    struct file *file = files;
    while (file_count < MAX_FILES && fscanf(lines, "%u %llu %llu %1023s", &file->model, &seed, &size, file->path) == 4) {
        file->seed = seed;
        file->size = size;
        file = &files[++file_count];
    }
    fclose(lines);
}

static int make(uint64_t seed, uint64_t size, const char *path) {
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return 1;
    for (uint64_t at = 0; at < size; at += 8) {
        uint64_t made = word(seed, at / 8);
        fwrite(&made, 1, size - at < 8 ? size - at : 8, out);
    }
    return fclose(out) != 0;
}

int main(int count, char **arguments) {
    if (count == 5 && strcmp(arguments[1], "make") == 0)
        return make(strtoull(arguments[2], NULL, 10), strtoull(arguments[3], NULL, 10), arguments[4]);
    if (count != 7 || strcmp(arguments[1], "read") != 0)
        return 2;
    size_t place = (size_t)(1 + atoi(arguments[3])) * PAGE;
    int board = open(arguments[2], O_RDWR | O_CLOEXEC);
    unsigned char *pages = mmap(NULL, place + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, board, 0);
    if (pages == MAP_FAILED)
        return 2;
    volatile uint32_t *may_be_read = (uint32_t *)pages;
    slot = (struct slot *)(pages + place);
    state = mix(strtoull(arguments[4], NULL, 10));
    uint64_t pause_us = strtoull(arguments[5], NULL, 10) * 1000;
    read_list(arguments[6]);
    for (;;) {
        const struct file *file = &files[below((uint64_t)file_count)];
        if (!(*may_be_read >> file->model & 1))
            continue;
        switch (below(16)) {
        case 0:
            read_all(file);
            break;
        case 1:
        case 2:
        case 3:
            touch_pages(file);
            break;
        case 4:
        case 5:
        case 6:
            look(file);
            break;
        case 7:
            list(file);
            break;
        default:
            read_some(file);
        }
        usleep((useconds_t)below(2 * pause_us));
    }
}
