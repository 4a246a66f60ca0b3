#include "store/deaths.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/guard.h"
#include "store/place.h"

/* The file: the boot_id, a blank, one digit. */
enum { BOOT_BYTES = 36, AT_DIGIT = BOOT_BYTES + 1, FILE_BYTES = AT_DIGIT + 1 };

struct deaths {
	int      fd;
	unsigned before, count;
	bool     is_noted; /* as it should be; nothing can be done if it is not */
	char     path[PLACE_PATH_MAX + 16];
};

static void path_in(const char *state_dir, char path[PLACE_PATH_MAX + 16])
{
	snprintf(path, PLACE_PATH_MAX + 16, "%.*s/queue.deaths", PLACE_PATH_MAX, state_dir);
}

/* Not to be had (no /proc): the same for ever, so deaths are counted across starts of the machine. */
static void read_boot_id(char id[BOOT_BYTES])
{
	int  fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && read(fd, id, BOOT_BYTES) == BOOT_BYTES;

	if (!ok)
		memset(id, '-', BOOT_BYTES);
	if (fd >= 0)
		close(fd);
}

/* Of this start of the machine. */
static unsigned read_count(int fd)
{
	char id[BOOT_BYTES], text[FILE_BYTES];

	read_boot_id(id);
	if (pread(fd, text, sizeof(text), 0) != FILE_BYTES || memcmp(text, id, sizeof(id)) != 0 ||
	    text[AT_DIGIT] < '0' || text[AT_DIGIT] > '9')
		return 0;
	return (unsigned)(text[AT_DIGIT] - '0');
}

static bool write_all(struct deaths *d)
{
	char text[FILE_BYTES];

	read_boot_id(text);
	text[BOOT_BYTES] = ' ';
	text[AT_DIGIT] = (char)('0' + d->count);
	return pwrite(d->fd, text, sizeof(text), 0) == FILE_BYTES;
}

struct deaths *deaths_open(const char *state_dir)
{
	struct deaths *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	path_in(state_dir, d->path);
	(void)place_make(state_dir);
	d->fd = open(d->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->fd >= 0)
		d->before = d->count = read_count(d->fd);
	if (d->fd >= 0 && write_all(d))
		return d;
	if (d->fd >= 0)
		close(d->fd);
	free(d);
	return NULL;
}

/* Not flushed: what ends with the machine is not counted. */
static void set_count(struct deaths *d, unsigned count)
{
	char digit = (char)('0' + (count > 9 ? 9 : count));

	guard_note(-1, 0, 0);
	d->is_noted = pwrite(d->fd, &digit, 1, AT_DIGIT) == 1;
}

bool deaths_too_many(const struct deaths *d)
{
	return d != NULL && d->before >= DEATHS_MAX;
}

void deaths_opening(struct deaths *d)
{
	if (d != NULL)
		set_count(d, d->count + 1);
}

void deaths_opened(struct deaths *d)
{
	if (d == NULL)
		return;
	set_count(d, d->count);
	guard_note(d->fd, AT_DIGIT, (char)('0' + d->count + 1));
}

void deaths_forget(struct deaths *d)
{
	if (d == NULL || d->count == 0)
		return;
	d->count = 0;
	deaths_opened(d);
}

void deaths_close(struct deaths *d)
{
	if (d == NULL)
		return;
	guard_note(-1, 0, 0);
	(void)unlink(d->path);
	close(d->fd);
	free(d);
}

bool deaths_too_many_in(const char *state_dir)
{
	char     path[PLACE_PATH_MAX + 16];
	unsigned count = 0;
	int      fd;

	path_in(state_dir, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		count = read_count(fd);
		close(fd);
	}
	return count >= DEATHS_MAX;
}
