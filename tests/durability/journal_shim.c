/*
 * journal_shim.c - for LD_PRELOAD: writes down every call that changes a file below SHIM_DIR, in order,
 * to SHIM_LOG, so that crash_states.py can rebuild what a disk may hold after a power cut.
 *
 * What is written to descriptor 1 goes into the log too: the program's acknowledgements have their
 * place between the writes. SHIM_FAIL "N:ERRNO,N:ERRNO" lets the N-th changing call fail without
 * being done.
 *
 * A record: kind, flags, 0, 0; file (4); offset (8); length (4); then so many bytes. Machine's byte order.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
	KIND_CREATE = 1, /* file: its number; bytes: its path below SHIM_DIR */
	KIND_WRITE,
	KIND_TRUNCATE, /* offset: the new length */
	KIND_SYNC,
	KIND_SYNC_DIRECTORY, /* bytes: its path */
	KIND_RENAME,         /* bytes: from, NUL, to */
	KIND_UNLINK,
	KIND_MKDIR,
	KIND_SAYS, /* what the program told the world */
};

enum { FLAG_DURABLE = 1 }; /* a write through O_DSYNC: on the disk when it returns */

struct record {
	uint8_t  kind, flags, zero[2];
	uint32_t file;
	uint64_t offset;
	uint32_t len;
} __attribute__((packed));

enum { FD_MAX = 1024, FILES_MAX = 4096, FAILURES_MAX = 16 };

static struct {
	bool     watched, durable, directory;
	uint32_t file;
	char     path[256]; /* of a directory, below SHIM_DIR */
} fds[FD_MAX];

/* Numbers for files, by what the system tells them apart by. */
static struct {
	dev_t dev;
	ino_t ino;
} files[FILES_MAX];
static uint32_t file_count;

static struct {
	unsigned long at;
	int           number;
} failures[FAILURES_MAX];
static size_t        failure_count;
static unsigned long calls;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int             log_fd = -1;
static const char     *dir;
static size_t          dir_len;

__attribute__((constructor)) static void begin(void)
{
	const char *log_name = getenv("SHIM_LOG"), *fail = getenv("SHIM_FAIL");

	dir = getenv("SHIM_DIR");
	if (dir == NULL || log_name == NULL)
		return;
	dir_len = strlen(dir);
	while (fail != NULL && *fail != '\0' && failure_count < FAILURES_MAX) {
		char *end;

		failures[failure_count].at = strtoul(fail, &end, 10);
		if (*end != ':')
			break;
		failures[failure_count++].number = (int)strtol(end + 1, &end, 10);
		fail = *end == ',' ? end + 1 : end;
	}
	log_fd = (int)syscall(SYS_openat, AT_FDCWD, log_name,
	                      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
}

static void put(const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		long n = syscall(SYS_write, log_fd, at, len);

		if (n <= 0)
			abort();
		at += n;
		len -= (size_t)n;
	}
}

static void note(enum kind kind, uint8_t flags, uint32_t file, uint64_t offset, const void *bytes,
                 size_t len)
{
	struct record r = { (uint8_t)kind, flags, { 0, 0 }, file, offset, (uint32_t)len };

	put(&r, sizeof(r));
	put(bytes, len);
}

/* The path below SHIM_DIR, "" for itself; NULL: elsewhere. */
static const char *below(const char *path)
{
	if (log_fd < 0 || path == NULL || strncmp(path, dir, dir_len) != 0)
		return NULL;
	if (path[dir_len] == '\0')
		return "";
	return path[dir_len] == '/' ? path + dir_len + 1 : NULL;
}

/* Is it this call's turn to fail? Then errno is set. */
static bool fails(void)
{
	calls++;
	for (size_t i = 0; i < failure_count; i++)
		if (failures[i].at == calls) {
			errno = failures[i].number;
			return true;
		}
	return false;
}

static uint32_t file_of(const struct stat *st, bool *is_new)
{
	uint32_t i = 0;

	while (i < file_count && (files[i].dev != st->st_dev || files[i].ino != st->st_ino))
		i++;
	*is_new = i == file_count;
	if (*is_new) {
		if (file_count == FILES_MAX)
			abort();
		files[i].dev = st->st_dev;
		files[i].ino = st->st_ino;
		file_count++;
	}
	return i;
}

/* A number may be given to another file once its file is gone. */
static void forget_file(const char *path)
{
	struct stat st;
	bool        is_new;
	uint32_t    file;

	if (lstat(path, &st) != 0)
		return;
	file = file_of(&st, &is_new);
	files[file].dev = 0;
	files[file].ino = 0;
}

static int watch(int fd, const char *path, int flags, bool existed)
{
	struct stat st;
	bool        is_new;

	if (fd < 0 || fd >= FD_MAX || fstat(fd, &st) != 0)
		return fd;
	fds[fd].watched = true;
	fds[fd].durable = (flags & O_DSYNC) != 0;
	fds[fd].directory = S_ISDIR(st.st_mode);
	snprintf(fds[fd].path, sizeof(fds[fd].path), "%s", below(path));
	if (fds[fd].directory)
		return fd;
	fds[fd].file = file_of(&st, &is_new);
	if (!existed)
		note(KIND_CREATE, 0, fds[fd].file, 0, below(path), strlen(below(path)));
	else if (flags & O_TRUNC)
		note(KIND_TRUNCATE, 0, fds[fd].file, 0, "", 0);
	return fd;
}

static int open_at(int at, const char *path, int flags, mode_t mode)
{
	int fd;

	if (below(path) == NULL)
		return (int)syscall(SYS_openat, at, path, flags, mode);
	pthread_mutex_lock(&lock);
	if ((flags & O_CREAT) && access(path, F_OK) != 0 && fails()) {
		fd = -1;
	} else {
		bool existed = access(path, F_OK) == 0;

		fd = watch((int)syscall(SYS_openat, at, path, flags, mode), path, flags, existed);
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                           \
	int name(const char *path, int flags, ...)           \
	{                                                    \
		va_list args;                                \
		mode_t  mode;                                \
		va_start(args, flags);                       \
		mode = mode_of(flags, args);                 \
		va_end(args);                                \
		return open_at(AT_FDCWD, path, flags, mode); \
	}
#define OPENAT(name)                                       \
	int name(int at, const char *path, int flags, ...) \
	{                                                  \
		va_list args;                              \
		mode_t  mode;                              \
		va_start(args, flags);                     \
		mode = mode_of(flags, args);               \
		va_end(args);                              \
		return open_at(at, path, flags, mode);     \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
	return open_at(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *path, int flags)
{
	return open_at(AT_FDCWD, path, flags, 0);
}

int close(int fd)
{
	if (fd >= 0 && fd < FD_MAX) {
		pthread_mutex_lock(&lock);
		fds[fd].watched = false;
		pthread_mutex_unlock(&lock);
	}
	return (int)syscall(SYS_close, fd);
}

static bool is_watched(int fd)
{
	return fd >= 0 && fd < FD_MAX && fds[fd].watched && !fds[fd].directory;
}

static ssize_t write_at(int fd, const void *bytes, size_t len, off_t at)
{
	ssize_t n;

	pthread_mutex_lock(&lock);
	if (fails()) {
		n = -1;
	} else {
		n = syscall(SYS_pwrite64, fd, bytes, len, at);
		if (n > 0)
			note(KIND_WRITE, fds[fd].durable ? FLAG_DURABLE : 0, fds[fd].file,
			     (uint64_t)at, bytes, (size_t)n);
	}
	pthread_mutex_unlock(&lock);
	return n;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	return is_watched(fd) ? write_at(fd, bytes, len, at)
			      : syscall(SYS_pwrite64, fd, bytes, len, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
	return pwrite(fd, bytes, len, at);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	if (fd == 1 && log_fd >= 0) {
		pthread_mutex_lock(&lock);
		note(KIND_SAYS, 0, 0, 0, bytes, len);
		pthread_mutex_unlock(&lock);
	} else if (is_watched(fd)) {
		ssize_t n = write_at(fd, bytes, len, lseek(fd, 0, SEEK_CUR));

		if (n > 0)
			lseek(fd, n, SEEK_CUR);
		return n;
	}
	return syscall(SYS_write, fd, bytes, len);
}

static ssize_t write_vector(int fd, const struct iovec *v, int count, off_t at, bool moves)
{
	ssize_t sum = 0;

	for (int i = 0; i < count; i++) {
		ssize_t n = write_at(fd, v[i].iov_base, v[i].iov_len, at + sum);

		if (n < 0)
			return sum > 0 ? sum : n;
		sum += n;
		if ((size_t)n < v[i].iov_len)
			break;
	}
	if (moves)
		lseek(fd, sum, SEEK_CUR);
	return sum;
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
	if (!is_watched(fd))
		return syscall(SYS_writev, fd, v, count);
	return write_vector(fd, v, count, lseek(fd, 0, SEEK_CUR), true);
}

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
	if (!is_watched(fd))
		return syscall(SYS_pwritev, fd, v, count, at, 0);
	return write_vector(fd, v, count, at, false);
}

ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at)
{
	return pwritev(fd, v, count, at);
}

static int change(int fd, long call, enum kind kind, uint64_t arg)
{
	int status;

	pthread_mutex_lock(&lock);
	if (fails()) {
		status = -1;
	} else {
		status = (int)syscall(call, fd, arg);
		if (status == 0)
			note(kind, 0, fds[fd].file, arg, "", 0);
	}
	pthread_mutex_unlock(&lock);
	return status;
}

int ftruncate(int fd, off_t len)
{
	return is_watched(fd) ? change(fd, SYS_ftruncate, KIND_TRUNCATE, (uint64_t)len)
			      : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate64(int fd, off64_t len)
{
	return ftruncate(fd, len);
}

int fdatasync(int fd)
{
	return is_watched(fd) ? change(fd, SYS_fdatasync, KIND_SYNC, 0)
			      : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	int status;

	if (is_watched(fd))
		return change(fd, SYS_fsync, KIND_SYNC, 0);
	if (fd < 0 || fd >= FD_MAX || !fds[fd].watched)
		return (int)syscall(SYS_fsync, fd);
	pthread_mutex_lock(&lock);
	status = fails() ? -1 : (int)syscall(SYS_fsync, fd);
	if (status == 0)
		note(KIND_SYNC_DIRECTORY, 0, 0, 0, fds[fd].path, strlen(fds[fd].path));
	pthread_mutex_unlock(&lock);
	return status;
}

int rename(const char *from, const char *to)
{
	char both[1024];
	int  len, status;

	if (below(from) == NULL)
		return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
	pthread_mutex_lock(&lock);
	status = fails() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
	len = snprintf(both, sizeof(both), "%s%c%s", below(from), 0, below(to));
	if (status == 0)
		note(KIND_RENAME, 0, 0, 0, both, (size_t)len);
	pthread_mutex_unlock(&lock);
	return status;
}

int unlink(const char *path)
{
	int status;

	if (below(path) == NULL)
		return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	pthread_mutex_lock(&lock);
	if (access(path, F_OK) == 0 && fails()) {
		status = -1;
	} else {
		forget_file(path);
		status = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
		if (status == 0)
			note(KIND_UNLINK, 0, 0, 0, below(path), strlen(below(path)));
	}
	pthread_mutex_unlock(&lock);
	return status;
}

int mkdir(const char *path, mode_t mode)
{
	int status;

	if (below(path) == NULL)
		return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	pthread_mutex_lock(&lock);
	status = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	if (status == 0)
		note(KIND_MKDIR, 0, 0, 0, below(path), strlen(below(path)));
	pthread_mutex_unlock(&lock);
	return status;
}
