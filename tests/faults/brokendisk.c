/* LD_PRELOAD: calls on files whose path is like one of the patterns in BROKEN_FILE (as a shell's, ':' between them) fail
 * while the file named by BROKEN_WHILE is there, as on a disk that has gone bad: with EIO, or with the number in
 * BROKEN_ERRNO. Of the calls those that are named in BROKEN_CALLS: "read", "write", "sync", and "make" for what makes or
 * renames a file. Writes of a full disk (ENOSPC) take a part first. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int named(const char *path) {
    const char *pattern = getenv("BROKEN_FILE");
    while (pattern && *pattern) {
        const char *end = strchrnul(pattern, ':');
        char one[4096];
        snprintf(one, sizeof one, "%.*s", (int)(end - pattern), pattern);
        if (fnmatch(one, path, 0) == 0)
            return 1;
        pattern = *end ? end + 1 : end;
    }
    return 0;
}

static int broken_path(const char *call, const char *path) {
    const char *calls = getenv("BROKEN_CALLS"), *flag = getenv("BROKEN_WHILE"), *number = getenv("BROKEN_ERRNO");
    if (!calls || !flag || !strstr(calls, call) || !named(path) || access(flag, F_OK) != 0)
        return 0;
    errno = number ? atoi(number) : EIO;
    return 1;
}

static int broken(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int before = errno;
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = before;
    if (size < 0)
        return 0;
    path[size] = 0;
    return broken_path(call, path);
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*Get)(int, void *, size_t);
typedef ssize_t (*Put)(int, const void *, size_t);
typedef ssize_t (*GetAt)(int, void *, size_t, off64_t);
typedef ssize_t (*PutAt)(int, const void *, size_t, off64_t);
typedef int (*Sync)(int);
typedef int (*Cut)(int, off64_t);
typedef int (*Open)(const char *, int, ...);
typedef int (*OpenAt)(int, const char *, int, ...);
typedef int (*Move)(const char *, const char *);

/* What a disk that is full takes of a write before it says so: half, and nothing of the rest, which is one byte at last. */
static size_t room(size_t size) { return errno == ENOSPC ? size / 2 : 0; }

ssize_t read(int fd, void *data, size_t size) { return broken("read", fd) ? -1 : REAL(Get, "read")(fd, data, size); }

ssize_t write(int fd, const void *data, size_t size) {
    if (!broken("write", fd))
        return REAL(Put, "write")(fd, data, size);
    return room(size) ? REAL(Put, "write")(fd, data, room(size)) : -1;
}

#define GET(name) ssize_t name(int fd, void *data, size_t size, off64_t at) { \
    return broken("read", fd) ? -1 : REAL(GetAt, #name)(fd, data, size, at); }
#define PUT(name) ssize_t name(int fd, const void *data, size_t size, off64_t at) { \
    if (!broken("write", fd)) \
        return REAL(PutAt, #name)(fd, data, size, at); \
    return room(size) ? REAL(PutAt, #name)(fd, data, room(size), at) : -1; }
#define SYNC(name) int name(int fd) { return broken("sync", fd) ? -1 : REAL(Sync, #name)(fd); }
#define CUT(name) int name(int fd, off64_t size) { return broken("write", fd) ? -1 : REAL(Cut, #name)(fd, size); }
#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    return flags & O_CREAT && broken_path("make", path) ? -1 : REAL(Open, #name)(path, flags, mode); }
#define OPENAT(name) int name(int at, const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    return flags & O_CREAT && broken_path("make", path) ? -1 : REAL(OpenAt, #name)(at, path, flags, mode); }

GET(pread)
GET(pread64)
PUT(pwrite)
PUT(pwrite64)
SYNC(fsync)
SYNC(fdatasync)
CUT(ftruncate)
CUT(ftruncate64)
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int rename(const char *from, const char *to) {
    return broken_path("make", to) ? -1 : REAL(Move, "rename")(from, to);
}
