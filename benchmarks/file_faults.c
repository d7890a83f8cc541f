/* Preloaded: the N-th operation on files of one folder fails, or is the last.
 *
 * faults_arm(folder, mode, n, number): mode 0 counts, 1 kills the process before the n-th
 * operation, 2 lets that one fail with `number`, 3 it and all after it. faults_count() says how
 * many there were. Counted is what changes a file or a folder, and opening to write. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static volatile int armed, mode, wanted, number;
static volatile int count;

void faults_arm(const char *where, int how, int n, int error) {
    snprintf(folder, sizeof folder, "%s", where);
    mode = how; wanted = n; number = error; count = 0; armed = 1;
}
int faults_count(void) { return count; }

static int inside(const char *path) { return strncmp(path, folder, strlen(folder)) == 0; }

static int named(int at, const char *path) {
    char base[PATH_MAX], link[64];
    ssize_t size;
    if (!armed || path == NULL) return 0;
    if (path[0] == '/') return inside(path);
    if (at == AT_FDCWD) return getcwd(base, sizeof base) != NULL && inside(base);
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    size = readlink(link, base, sizeof base - 1);
    if (size < 0) return 0;
    base[size] = 0;
    return inside(base);
}

static int opened(int fd) { return armed && named(fd, ""); }

/* Whether this operation is to fail; the process ends here where it is to be the last. */
static int fails(void) {
    int n = __sync_add_and_fetch(&count, 1);
    if (mode == 1 && n == wanted) { kill(getpid(), SIGKILL); for (;;) pause(); }
    if ((mode == 2 && n == wanted) || (mode == 3 && n >= wanted)) { errno = number; return 1; }
    return 0;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
#define ON_FD(type, name, parameters, arguments, ...) \
    type name parameters { \
        REAL(type, name, __VA_ARGS__); \
        if (opened(fd) && fails()) return -1; \
        return real arguments; }

ON_FD(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), int, const void *, size_t)
ON_FD(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o),
      int, const void *, size_t, off_t)
ON_FD(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o),
      int, const void *, size_t, off64_t)
ON_FD(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n),
      int, const struct iovec *, int)
ON_FD(int, fsync, (int fd), (fd), int)
ON_FD(int, fdatasync, (int fd), (fd), int)
ON_FD(int, ftruncate, (int fd, off_t n), (fd, n), int, off_t)
ON_FD(int, ftruncate64, (int fd, off64_t n), (fd, n), int, off64_t)
ON_FD(int, fchmod, (int fd, mode_t m), (fd, m), int, mode_t)

#define ON_PATH(name, parameters, arguments, at, path, ...) \
    int name parameters { \
        REAL(int, name, __VA_ARGS__); \
        if (named(at, path) && fails()) return -1; \
        return real arguments; }

ON_PATH(rename, (const char *a, const char *b), (a, b), AT_FDCWD, b, const char *, const char *)
ON_PATH(renameat2, (int x, const char *a, int y, const char *b, unsigned f), (x, a, y, b, f), y, b,
        int, const char *, int, const char *, unsigned)
ON_PATH(link, (const char *a, const char *b), (a, b), AT_FDCWD, b, const char *, const char *)
ON_PATH(linkat, (int x, const char *a, int y, const char *b, int f), (x, a, y, b, f), y, b,
        int, const char *, int, const char *, int)
ON_PATH(unlink, (const char *a), (a), AT_FDCWD, a, const char *)
ON_PATH(unlinkat, (int x, const char *a, int f), (x, a, f), x, a, int, const char *, int)
ON_PATH(mkdir, (const char *a, mode_t m), (a, m), AT_FDCWD, a, const char *, mode_t)
ON_PATH(mkdirat, (int x, const char *a, mode_t m), (x, a, m), x, a, int, const char *, mode_t)
ON_PATH(rmdir, (const char *a), (a), AT_FDCWD, a, const char *)
ON_PATH(chmod, (const char *a, mode_t m), (a, m), AT_FDCWD, a, const char *, mode_t)

#define OPEN(name, at, parameters, arguments, ...) \
    int name parameters { \
        mode_t m = 0; \
        REAL(int, name, __VA_ARGS__); \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list l; va_start(l, flags); m = va_arg(l, mode_t); va_end(l); } \
        if ((flags & O_ACCMODE) != O_RDONLY && named(at, path) && fails()) return -1; \
        return real arguments; }

OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, m), const char *, int, ...)
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, m), const char *, int, ...)
OPEN(openat, x, (int x, const char *path, int flags, ...), (x, path, flags, m), int, const char *, int, ...)
OPEN(openat64, x, (int x, const char *path, int flags, ...), (x, path, flags, m), int, const char *, int, ...)
