/*
 * no_flush.c - preloaded into a program, it makes flushing do nothing: what a broken store would do.
 *
 * LMDB and the journal reach the disk's platter only by these calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

int fsync(int fd)
{
	return fd < 0 ? -1 : 0;
}

int fdatasync(int fd)
{
	return fsync(fd);
}

int syncfs(int fd)
{
	return fsync(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned int flags)
{
	(void)offset;
	(void)count;
	(void)flags;
	return fsync(fd);
}

int msync(void *address, size_t length, int flags)
{
	(void)address;
	(void)length;
	(void)flags;
	return 0;
}

typedef int open_fn(const char *path, int flags, ...);

static int open_lazily(const char *name, const char *path, int flags, mode_t mode)
{
	open_fn *next;

	*(void **)&next = dlsym(RTLD_NEXT, name);
	if ((flags & O_DIRECT) == 0) /* not where the program tells what it did */
		flags &= ~O_SYNC;    /* O_DSYNC is a part of it */
	return next(path, flags, mode);
}

static mode_t mode_of(int flags, va_list args)
{
	return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t  mode;

	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return open_lazily("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t  mode;

	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return open_lazily("open64", path, flags, mode);
}
