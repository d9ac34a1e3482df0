/* Fault injection for the tests of durability, loaded with LD_PRELOAD: calls that write below FAULTS_BELOW fail at
 * random with ENOSPC or EIO, or write less than asked. The time of day is off by a number of seconds. The file
 * FAULTS_CONTROL holds four numbers of 64 bits, which the test and this library share: one call in so many fails
 * (0: none), the state of the generator, the number of faults so far, and the seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile uint64_t one_in;
    volatile uint64_t state;
    volatile uint64_t faults;
    volatile int64_t clock;
};

static struct control *control;
static const char *below;

__attribute__((constructor)) static void set_up(void) {
    const char *path = getenv("FAULTS_CONTROL");
    below = getenv("FAULTS_BELOW");
    if (!path || !below)
        return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static uint64_t next(void) {
    uint64_t value = __atomic_add_fetch(&control->state, 0x9e3779b97f4a7c15u, __ATOMIC_RELAXED);
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static int is_below(const char *path) {
    return path && below && strncmp(path, below, strlen(below)) == 0;
}

static int is_file_below(int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    /* The shared index of SQLite is mapped: a failure to grow it is covered by ENOSPC of the log. */
    return is_below(path) && !strstr(path, "-shm");
}

/* The error of this call, or 0. */
static int fault(void) {
    if (!control || control->one_in == 0)
        return 0;
    uint64_t value = next();
    if (value % control->one_in != 0)
        return 0;
    __atomic_add_fetch(&control->faults, 1, __ATOMIC_RELAXED);
    return (value >> 40) % 3 == 0 ? EIO : ENOSPC;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(condition)                                                                                   \
    do {                                                                                                     \
        int error;                                                                                           \
        if ((condition) && (error = fault())) {                                                              \
            errno = error;                                                                                   \
            return -1;                                                                                       \
        }                                                                                                    \
    } while (0)

static int is_armed(void) { return control && control->one_in != 0; }

/* Half of the faults of a write are short writes. */
#define WRITE(call, file, length)                                                                            \
    do {                                                                                                     \
        int error;                                                                                           \
        if (is_armed() && is_file_below(file) && (error = fault())) {                                        \
            if ((length) > 1 && error == ENOSPC && next() % 2) {                                             \
                size_t part = (length) / 2;                                                                  \
                return call(part);                                                                           \
            }                                                                                                \
            errno = error;                                                                                   \
            return -1;                                                                                       \
        }                                                                                                    \
        return call(length);                                                                                 \
    } while (0)

ssize_t write(int file, const void *bytes, size_t length) {
#define CALL(n) REAL(write)(file, bytes, n)
    WRITE(CALL, file, length);
#undef CALL
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) {
#define CALL(n) REAL(pwrite)(file, bytes, n, offset)
    WRITE(CALL, file, length);
#undef CALL
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset) {
#define CALL(n) REAL(pwrite64)(file, bytes, n, offset)
    WRITE(CALL, file, length);
#undef CALL
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static __typeof__(&clock_gettime) real;
    if (!real)
        real = REAL(clock_gettime);
    int result = real(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && control)
        time->tv_sec += control->clock;
    return result;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    FAIL_IF(is_armed() && is_file_below(file));
    return REAL(writev)(file, parts, count);
}

int fsync(int file) {
    FAIL_IF(is_armed() && is_file_below(file));
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    FAIL_IF(is_armed() && is_file_below(file));
    return REAL(fdatasync)(file);
}

int rename(const char *from, const char *to) {
    FAIL_IF(is_armed() && is_below(to));
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    FAIL_IF(is_armed() && is_below(path));
    return REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    FAIL_IF(is_armed() && is_below(path));
    return REAL(mkdir)(path, mode);
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    FAIL_IF(is_armed() && (flags & O_CREAT) && is_below(path));
    return REAL(open64)(path, flags, mode);
}
