/*
 * check_place.c - the clock and state_dir.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/check.h"
#include "app/words.h"
#include "store/deaths.h"
#include "store/place.h"

enum { FREE_LEAST = 1024 * 1024 };

void check_clock(struct check *c)
{
	time_t    now = time(NULL);
	char      text[64] = "?";
	struct tm tm;

	if (gmtime_r(&now, &tm) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm);
	if (self_check_clock_is_set((uint64_t)now * SECOND_MS))
		check_say(c, CHECK_OK, "clock", "%s", text);
	else
		check_say(
			c, CHECK_PROBLEM, "clock",
			"is not set (%s): certificates look invalid and nothing is acknowledged early; "
			"see that a time server can be reached (logread -e ntpd)",
			text);
}

/* The folder itself, or the first one above it that exists. */
static void existing(const char *path, char out[PLACE_PATH_MAX])
{
	struct stat st;
	char       *slash;

	snprintf(out, PLACE_PATH_MAX, "%s", path);
	while (stat(out, &st) != 0 && (slash = strrchr(out, '/')) != NULL && slash != out)
		*slash = '\0';
	if (stat(out, &st) != 0)
		strcpy(out, "/");
}

static uint64_t wanted_bytes(const struct settings *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->homeserver_count; i++)
		sum += s->homeservers[i].sleeps ? s->homeservers[i].queue_bytes : 0;
	return sum;
}

static void check_room(struct check *c, const char *path, const char *system)
{
	uint64_t left = place_free_bytes(path), wanted = wanted_bytes(c->settings);
	char     a[WORDS_SIZE], b[WORDS_SIZE];

	if (left < FREE_LEAST)
		check_say(c, CHECK_WARNING, "state_dir",
		          "only %s are free at %s: little or nothing can be kept; make room",
		          words_bytes(left, a), path);
	else if (wanted > left / 2)
		check_say(c, CHECK_WARNING, "state_dir",
		          "%s are free, so not more than half of that is used of queue_limit %s",
		          words_bytes(left, a), words_bytes(wanted, b));
	else if (strcmp(system, "jffs2") == 0)
		check_say(
			c, CHECK_OK, "state_dir",
			"%s is on JFFS2 (NOR flash): the queue is a journal there, and the cache lives "
			"in memory; %s are free",
			path, words_bytes(left, a));
	else
		check_say(c, CHECK_OK, "state_dir", "%s is on %s, %s are free", path, system,
		          words_bytes(left, a));
}

void check_state_dir(struct check *c)
{
	const char *dir = c->settings->state_dir;
	const char *system;
	char        path[PLACE_PATH_MAX];

	if (dir == NULL && wanted_bytes(c->settings) > 0)
		check_say(
			c, CHECK_PROBLEM, "state_dir",
			"is not set, so nothing is kept while the homeserver sleeps: set it to a folder "
			"on flash or a disk, such as /srv/doorstep");
	if (dir == NULL)
		return;
	existing(dir, path);
	system = place_file_system(path);
	if (place_is_volatile(path))
		check_say(
			c, wanted_bytes(c->settings) > 0 ? CHECK_PROBLEM : CHECK_WARNING,
			"state_dir",
			"%s is in memory: what is kept there ends with the power, so nothing is "
			"acknowledged early; choose a folder on flash or a disk, such as /srv/doorstep",
			dir);
	else if (deaths_too_many_in(dir))
		check_say(
			c, CHECK_PROBLEM, "state_dir",
			"doorstep died too often while it opened or read %s, so it is left alone and "
			"nothing is kept; see 'doorstep queue verify', then restart doorstep",
			dir);
	else if (access(path, W_OK) != 0)
		check_say(c, CHECK_PROBLEM, "state_dir", "%s cannot be written to: %s", path,
		          strerror(errno));
	else
		check_room(c, path, system == NULL ? "a disk" : system);
}
