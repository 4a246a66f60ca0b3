#include "store/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum err place_err(int number)
{
	switch (number) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG: /* a limit of the process or of the file system */
		return ERR_LIMIT;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	case ENOMEM:
		return ERR_NOMEM;
	default:
		return ERR_IO;
	}
}

static enum err sync_path(const char *path, int flags)
{
	int      fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	enum err e = ERR_OK;

	if (fd < 0)
		return place_err(errno);
	if (fsync(fd) != 0)
		e = place_err(errno);
	close(fd);
	return e;
}

enum err place_sync_file(const char *path)
{
	return sync_path(path, O_NOFOLLOW);
}

enum err place_sync_directory(const char *path)
{
	return sync_path(path, O_DIRECTORY);
}

/* The directory that path is in. False: too long. */
static bool parent_of(const char *path, char parent[PLACE_PATH_MAX])
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len >= PLACE_PATH_MAX)
		return false;
	if (len == 0) {
		strcpy(parent, ".");
		return true;
	}
	memcpy(parent, path, len);
	parent[len] = '\0';
	return true;
}

enum err place_sync_parent(const char *path)
{
	char parent[PLACE_PATH_MAX];

	return parent_of(path, parent) ? place_sync_directory(parent) : ERR_IO;
}

static enum err make_one(const char *path)
{
	if (mkdir(path, 0700) != 0)
		return errno == EEXIST ? ERR_OK : place_err(errno);
	return place_sync_parent(path);
}

enum err place_make(const char *path)
{
	char     parent[PLACE_PATH_MAX];
	enum err e;

	if (!parent_of(path, parent)) {
		errno = ENAMETOOLONG;
		return ERR_IO;
	}
	(void)make_one(parent); /* the next one tells */
	e = make_one(path);
	return e == ERR_OK ? place_sync_parent(path)
			   : e; /* made by someone who did not get this far? */
}

static enum err write_new(const char *path, const char *text)
{
	int      fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t   len = strlen(text);
	enum err e = ERR_OK;
	ssize_t  n;

	if (fd < 0)
		return place_err(errno);
	n = write(fd, text, len);
	if (n < 0 || (size_t)n != len)
		e = n < 0 ? place_err(errno) : ERR_LIMIT;
	else if (fsync(fd) != 0)
		e = place_err(errno);
	if (close(fd) != 0 && e == ERR_OK)
		e = place_err(errno);
	return e;
}

enum err place_write(const char *path, const char *text)
{
	char     fresh[PLACE_PATH_MAX + 8];
	enum err e;

	if (strlen(path) >= PLACE_PATH_MAX)
		return ERR_IO;
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	e = write_new(fresh, text);
	if (e == ERR_OK && rename(fresh, path) != 0)
		e = place_err(errno);
	if (e == ERR_OK)
		return place_sync_parent(path);
	(void)unlink(fresh);
	return e;
}

uint64_t place_size_bytes(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) == 0 ? (uint64_t)fs.f_blocks * fs.f_frsize : 0;
}

uint64_t place_free_bytes(const char *path)
{
	struct statvfs fs;

	if (statvfs(path, &fs) != 0)
		return UINT64_MAX;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

enum { MAGIC_TMPFS = 0x01021994, MAGIC_OVERLAY = 0x794c7630 };
static const unsigned long magic_ramfs = 0x858458f6;

static unsigned long magic_of(const char *path)
{
	struct statfs fs;

	/* the type's sign differs between systems */
	return statfs(path, &fs) == 0 ? (unsigned long)fs.f_type & 0xffffffff : 0;
}

static bool is_memory(unsigned long magic)
{
	return magic == MAGIC_TMPFS || magic == magic_ramfs;
}

/* proc(5), mountinfo: fields 3 (major:minor) and, behind " - ", the options with upperdir=. */
static bool upper_of_line(char *line, const char *device, char upper[PLACE_PATH_MAX])
{
	unsigned id, parent;
	char     found[32];
	char    *dir;
	size_t   len;

	if (sscanf(line, "%u %u %31s", &id, &parent, found) != 3 || strcmp(found, device) != 0)
		return false;
	dir = strstr(line, ",upperdir=");
	if (dir == NULL)
		return false;
	dir += strlen(",upperdir=");
	len = strcspn(dir, ", \n");
	if (len >= PLACE_PATH_MAX)
		return false;
	memcpy(upper, dir, len);
	upper[len] = '\0';
	return true;
}

/* Where the changes of the overlay that path is on go to. */
static bool upper_of(const char *path, char upper[PLACE_PATH_MAX])
{
	FILE       *f = fopen("/proc/self/mountinfo", "re");
	char       *line = NULL;
	size_t      size = 0;
	struct stat st;
	char        device[32];
	bool        found = false;

	if (f == NULL)
		return false;
	if (stat(path, &st) == 0) {
		unsigned long long d =
			(unsigned long long)st.st_dev; /* as the kernel packs it for users */

		snprintf(device, sizeof(device), "%llu:%llu",
		         (d >> 8 & 0xfff) | (d >> 32 & ~0xfffull),
		         (d & 0xff) | (d >> 12 & ~0xffull & 0xffffffffull));
		while (!found && getline(&line, &size, f) > 0)
			found = upper_of_line(line, device, upper);
	}
	free(line);
	fclose(f);
	return found;
}

static unsigned long magic_below(const char *path)
{
	char          upper[PLACE_PATH_MAX];
	unsigned long magic = magic_of(path);

	if (magic == MAGIC_OVERLAY && upper_of(path, upper))
		magic = magic_of(upper);
	return magic;
}

bool place_is_volatile(const char *path)
{
	return is_memory(magic_below(path));
}

const char *place_file_system_name(unsigned long magic)
{
	/* statfs(2), <linux/magic.h> */
	static const struct {
		unsigned long magic;
		const char   *name;
	} known[] = {
		{ 0x72b6, "jffs2" },      { 0x24051905, "ubifs" }, { 0xf2f52010, "f2fs" },
		{ 0xef53, "ext4" },       { 0x58465342, "xfs" },   { 0x9123683e, "btrfs" },
		{ MAGIC_TMPFS, "tmpfs" }, { 0x858458f6, "ramfs" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].magic == magic)
			return known[i].name;
	return NULL;
}

const char *place_file_system(const char *path)
{
	return place_file_system_name(magic_below(path));
}
