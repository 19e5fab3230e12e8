/* LD_PRELOAD: the wall clock is ahead by what the file named by MOVED_CLOCK says, which may change at any time: seconds,
 * 8 bytes (an int64_t), mapped. The monotonic clocks are as they are, and so are the times that the kernel gives to files. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_timedwait)(sem_t *, const struct timespec *);
static const volatile int64_t *moved;

static void __attribute__((constructor)) begin(void) {
    real_timedwait = (int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait");
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("MOVED_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, fd, 0);
    moved = mapped == MAP_FAILED ? NULL : mapped;
    close(fd);
}

static int64_t ahead(void) { return moved ? *moved : 0; }

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!real_gettime)
        begin();
    int failed = real_gettime(clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* Waits until a time of the wall clock, as locks of Pythons do that were built for an old glibc: of this one, so it is looked at each 10 ms. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    for (;;) {
        struct timespec at;
        real_gettime(CLOCK_REALTIME, &at);
        int64_t left = (until->tv_sec - at.tv_sec - ahead()) * 1000000000 + until->tv_nsec - at.tv_nsec;
        int64_t slice = left < 0 ? 0 : left < 10000000 ? left : 10000000;
        at.tv_sec += (at.tv_nsec + slice) / 1000000000;
        at.tv_nsec = (at.tv_nsec + slice) % 1000000000;
        int failed = real_timedwait(semaphore, &at);
        if (!failed || errno != ETIMEDOUT || left <= slice)
            return failed;
    }
}
