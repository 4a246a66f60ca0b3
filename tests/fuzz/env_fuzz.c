/*
 * Data files of LMDB: whatever is in them, opening, reading, writing and deleting is survived. What LMDB
 * itself would die of must have been seen before.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/env.h"

enum { KEYS_MAX = 64 };

static char dir[64];
static char path[80], data[96];

static const char *const files[] = { "e/data.mdb", "e/lock.mdb", "e/data.mdb.damaged", "e", "" };

static void clean_up(void)
{
	char name[128];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, files[i]);
		(void)remove(name);
	}
}

static void prepare(void)
{
	static bool       ready;
	struct env_notice notice;
	struct env       *e;

	if (ready)
		return;
	ready = true;
	/* in memory, where flushing costs nothing */
	snprintf(dir, sizeof(dir), "%s/env_fuzz.XXXXXX",
	         access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	check(mkdtemp(dir) != NULL);
	atexit(clean_up);
	snprintf(path, sizeof(path), "%s/e", dir);
	snprintf(data, sizeof(data), "%s/data.mdb", path);
	check(env_open(&(struct env_options){ .path = path, .bytes = 1 << 20, .schema = 1 }, &e,
	               &notice) == ERR_OK);
	env_close(e);
}

struct keys {
	char   bytes[KEYS_MAX][ENV_KEY_MAX];
	size_t lens[KEYS_MAX], count;
};

static bool on_entry(void *arg, struct str key, struct str value)
{
	static volatile char sink;
	struct keys         *k = arg;

	for (size_t i = 0; i < value.len; i++) /* all of it can be read */
		sink = value.ptr[i];
	(void)sink;
	if (key.len <= ENV_KEY_MAX) {
		memcpy(k->bytes[k->count], key.ptr, key.len);
		k->lens[k->count++] = key.len;
	}
	return k->count < KEYS_MAX;
}

/* What a store does with what it finds. */
static void use(struct env *e)
{
	static struct keys k;
	static char        value[3000];
	struct env_usage   usage;
	struct env_change  change = { .key = STR("new"), .value = { value, sizeof(value) } };

	k.count = 0;
	(void)env_walk(e, STRL(""), on_entry, &k);
	(void)env_usage(e, &usage);
	(void)env_apply(e, &change, 1);
	for (size_t i = 0; i < k.count; i++) {
		change = (struct env_change){ .key = str_span(k.bytes[i], k.lens[i]),
			                      .remove = true };
		(void)env_apply_settling(e, &change, 1);
	}
	change = (struct env_change){ .key = STR("newer"), .value = { value, 100 } };
	(void)env_apply(e, &change, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct env_notice notice;
	struct env       *e;
	int               fd;

	prepare();
	fd = open(data, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	check(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
	if (env_open(&(struct env_options){ .path = path, .bytes = 1 << 20, .schema = 1 }, &e,
	             &notice) != ERR_OK)
		return 0;
	use(e);
	env_close(e);
	return 0;
}
