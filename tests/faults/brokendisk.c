/* LD_PRELOAD: calls on files whose path holds BROKEN_FILE fail with EIO while the file named by BROKEN_WHILE is there, as
 * on a disk that has gone bad: those named in BROKEN_CALLS, of "read", "write", "sync". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int broken(const char *call, int fd) {
    const char *calls = getenv("BROKEN_CALLS"), *file = getenv("BROKEN_FILE"), *flag = getenv("BROKEN_WHILE");
    char link[64], path[4096];
    if (!calls || !file || !flag || !strstr(calls, call) || access(flag, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    if (!strstr(path, file))
        return 0;
    errno = EIO;
    return 1;
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*Get)(int, void *, size_t, off64_t);
typedef ssize_t (*Put)(int, const void *, size_t, off64_t);
typedef int (*Sync)(int);
typedef int (*Cut)(int, off64_t);

#define GET(name) ssize_t name(int fd, void *data, size_t size, off64_t at) { \
    return broken("read", fd) ? -1 : REAL(Get, #name)(fd, data, size, at); }
#define PUT(name) ssize_t name(int fd, const void *data, size_t size, off64_t at) { \
    return broken("write", fd) ? -1 : REAL(Put, #name)(fd, data, size, at); }
#define SYNC(name) int name(int fd) { return broken("sync", fd) ? -1 : REAL(Sync, #name)(fd); }
#define CUT(name) int name(int fd, off64_t size) { return broken("write", fd) ? -1 : REAL(Cut, #name)(fd, size); }

GET(pread)
GET(pread64)
PUT(pwrite)
PUT(pwrite64)
SYNC(fsync)
SYNC(fdatasync)
CUT(ftruncate)
CUT(ftruncate64)
