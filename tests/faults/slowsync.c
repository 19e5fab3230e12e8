/* LD_PRELOAD: fsync and fdatasync return only once the file named by HOLD_SYNC is gone, as on a disk that is slow. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int held(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *hold = getenv("HOLD_SYNC");
    while (hold && access(hold, F_OK) == 0)
        usleep(5000);
    return real(fd);
}

int fsync(int fd) { return held("fsync", fd); }

int fdatasync(int fd) { return held("fdatasync", fd); }
