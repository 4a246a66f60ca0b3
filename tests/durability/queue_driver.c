/*
 * queue_driver.c - a load on the queue that tells what was promised, and a look at what is there.
 *
 *   queue_driver run STATE_DIR auto|lmdb|journal SEED OPERATIONS MAP_KIB
 *       puts and settles; OPERATIONS 0: until killed. A line, in one write(2), for each step:
 *         S origin id hash      a put begins
 *         A origin id hash      it was acknowledged
 *         X origin id hash why  it was not
 *         V origin id hash verdict   a verdict is about to be given
 *         W origin id hash verdict   it was acknowledged
 *         Y origin id hash why  it was not
 *       and at the end `end`. Exit status 3 and `refused why: sentence`: no queue could be opened.
 *   queue_driver drain STATE_DIR
 *       delivers all that waits: the lines V and W as above, `end` when nothing is left. Exit status 5: a
 *       verdict could not be written.
 *   queue_driver check
 *       for each line of input, a state_dir (a + in front: use it afterwards):
 *         item sequence waiting|parked origin id hash
 *         report why items damaged cut: sentence     cut: bytes of an unfinished write
 *         used why              only with +: a transaction went in, and out
 *         done
 *   With TELL=DEVICE the lines of a run go to a device instead, each in sectors of its own, filled up with
 *   zeros, and past all caches before anything else is done: what the device shows of them at some
 *   instant was told before it, and nothing that had not begun by then is there.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/matrix/signing.h"
#include "loop/loop.h"
#include "store/queue.h"

enum { ORIGINS = 5, IN_FLIGHT = 8, SETTLERS = 3, BODY_MAX = 450 * 1024 };

static struct loop  *loop;
static struct queue *queue;
static uint64_t      random_state;
static unsigned long seed, left, counter;
static bool          endless;
static unsigned      busy;

/* --- telling --- */

enum { TELL_SECTOR = 512, TELL_SECTORS = 3 };

static int   tell_fd = -1;
static off_t tell_at;
static char  tell_room[TELL_SECTOR * TELL_SECTORS] __attribute__((aligned(4096)));

static void tell_open(const char *device)
{
	tell_fd = open(device, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (tell_fd < 0 && errno == EINVAL) /* flash memory: nothing caches it */
		tell_fd = open(device, O_WRONLY | O_SYNC | O_CLOEXEC);
	if (tell_fd < 0)
		exit(4);
}

static bool tell(const char *line, size_t len)
{
	size_t size = (len + TELL_SECTOR - 1) / TELL_SECTOR * TELL_SECTOR;

	if (tell_fd < 0)
		return write(1, line, len) == (ssize_t)len;
	memcpy(tell_room, line, len);
	memset(tell_room + len, 0, size - len);
	if (pwrite(tell_fd, tell_room, size, tell_at) != (ssize_t)size)
		return false;
	tell_at += (off_t)size;
	return true;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char    line[sizeof(tell_room)];
	va_list args;
	int     n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line) || !tell(line, (size_t)n))
		exit(4);
}

static uint32_t dice(uint32_t sides)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % sides;
}

static void write_hash(const uint8_t hash[32], char text[33])
{
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

static void hash_text(struct str bytes, uint8_t hash[32], char text[33])
{
	signing_sha256(bytes, hash);
	write_hash(hash, text);
}

/* --- puts --- */

struct slot {
	struct queue_put *put;
	char              origin[16], id[32], hash[33];
};

static struct slot slots[IN_FLIGHT];
static struct {
	char     id[32]; /* of the latest put */
	unsigned in_flight;
} origins[ORIGINS];
static char body[BODY_MAX];

static void        step(void *arg);
static struct soon again;

static void on_put(void *arg, enum err e)
{
	struct slot *s = arg;

	if (e == ERR_OK || e == ERR_EXISTS)
		say("A %s %s %s\n", s->origin, s->id, s->hash);
	else
		say("X %s %s %s %s\n", s->origin, s->id, s->hash, err_slug(e));
	origins[s->origin[1] - '0'].in_flight--;
	busy--;
	soon_call(&again);
}

static size_t body_size(bool repeats)
{
	uint32_t d = repeats ? 50 + dice(50) : dice(100); /* large ones replace and are replaced */

	if (d < 75)
		return dice(3000);
	if (d < 89)
		return 20000 + dice(20000);
	if (d < 96)
		return 60000 + dice(140000);
	return 230000 + dice(BODY_MAX - 230000); /* more than one commit takes */
}

static void start_put(struct slot *s, unsigned o)
{
	bool              repeats = true;
	struct queue_item item = {
		.server_name = STR("home.example"),
		.method = STR("PUT"),
		.target = STR("/_matrix/federation/v1/send/1"),
		.authorization = STR("X-Matrix sig=1\n"),
		.content_type = STR("application/json"),
		.peer = address_v4(192, 0, 2, 1, 1),
		.at_unix_ms = 1800000000000ull,
	};
	enum err e;

	snprintf(s->origin, sizeof(s->origin), "o%u", o);
	if (origins[o].in_flight > 0 || origins[o].id[0] == '\0' || dice(3) > 0) {
		repeats = false;
		snprintf(origins[o].id, sizeof(origins[o].id), "%lu.%lu", seed, ++counter);
	}
	strcpy(s->id, origins[o].id); /* the same id again now and then, with another body */
	item.origin = str_of(s->origin);
	item.transaction_id = str_of(s->id);
	item.body = str_span(body, body_size(repeats));
	for (size_t i = 0; i + 4 <= item.body.len; i += 4) {
		uint32_t r = dice(UINT32_MAX);

		memcpy(body + i, &r, 4);
	}
	hash_text(item.body, item.body_hash, s->hash);
	say("S %s %s %s\n", s->origin, s->id, s->hash);
	e = queue_put_start(&s->put, queue, &item, dice(2), on_put, s);
	if (e != ERR_OK) {
		say("X %s %s %s %s\n", s->origin, s->id, s->hash, err_slug(e));
		return;
	}
	origins[o].in_flight++;
	busy++;
}

/* --- verdicts --- */

struct settler {
	struct queue_read   *read;
	struct queue_settle *settle;
	bool                 active;
	char                 origin[16], id[32], hash[33];
	const char          *verdict;
};

static struct settler settlers[SETTLERS];

static void settler_done(struct settler *s)
{
	s->active = false;
	busy--;
	soon_call(&again);
}

static void on_settled(void *arg, enum err e)
{
	struct settler *s = arg;

	if (e == ERR_OK)
		say("W %s %s %s %s\n", s->origin, s->id, s->hash, s->verdict);
	else
		say("Y %s %s %s %s\n", s->origin, s->id, s->hash, err_slug(e));
	settler_done(s);
}

static enum queue_verdict choose(bool parked, const char **name)
{
	uint32_t d = dice(100);

	if (parked) {
		*name = d < 50 ? "unpark" : "drop";
		return d < 50 ? QUEUE_UNPARK : QUEUE_DROP;
	}
	*name = d < 75 ? "delivered" : d < 88 ? "retry" : "park";
	return d < 75 ? QUEUE_DELIVERED : d < 88 ? QUEUE_RETRY : QUEUE_PARK;
}

static void on_read(void *arg, enum err e, const struct queue_info *info, struct queue_item *item)
{
	struct settler    *s = arg;
	enum queue_verdict verdict;

	if (e != ERR_OK) {
		if (e != ERR_NOT_FOUND)
			say("Y - - - %s\n", err_slug(e));
		settler_done(s);
		return;
	}
	str_copy(item->origin, s->origin, sizeof(s->origin));
	str_copy(item->transaction_id, s->id, sizeof(s->id));
	write_hash(item->body_hash, s->hash);
	queue_item_free(item);
	verdict = choose(info->state == QUEUE_PARKED, &s->verdict);
	say("V %s %s %s %s\n", s->origin, s->id, s->hash, s->verdict);
	e = queue_settle_start(&s->settle, queue, info->sequence, verdict, STRL("because"),
	                       on_settled, s);
	if (e != ERR_OK) {
		say("Y %s %s %s %s\n", s->origin, s->id, s->hash, err_slug(e));
		settler_done(s);
	}
}

static void start_settling(struct settler *s)
{
	struct queue_lane_info lanes[8];
	struct queue_info      parked[4];
	size_t                 n = queue_lanes(queue, 0, lanes, 8);
	enum err               e = ERR_NOT_FOUND;

	if (dice(12) == 0) {
		n = queue_list(queue, 0, true, parked, 4);
		if (n > 0)
			e = queue_show_start(&s->read, queue, parked[dice((uint32_t)n)].sequence,
			                     on_read, s);
	} else if (n > 0) {
		size_t i = dice((uint32_t)n);

		e = queue_read_start(&s->read, queue, lanes[i].server_name, lanes[i].origin,
		                     on_read, s);
	}
	if (e != ERR_OK)
		return;
	s->active = true;
	busy++;
}

/* --- the load --- */

static void one_operation(void)
{
	if (dice(100) < 55) {
		struct slot *s = &slots[dice(IN_FLIGHT)];
		unsigned     o = dice(ORIGINS);

		if (s->put == NULL && origins[o].in_flight < 2)
			start_put(s, o);
	} else {
		struct settler *s = &settlers[dice(SETTLERS)];

		if (!s->active)
			start_settling(s);
	}
}

static void step(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3 && (left > 0 || endless) && busy < IN_FLIGHT; i++) {
		if (!endless)
			left--;
		one_operation();
	}
	if (left > 0 || endless) {
		if (busy == 0)
			soon_call(&again);
	} else if (busy == 0) {
		say("end\n");
		queue_close(queue);
		queue = NULL;
	}
}

static enum queue_kind kind_of(const char *name)
{
	if (strcmp(name, "auto") == 0)
		return QUEUE_AUTO;
	return strcmp(name, "lmdb") == 0 ? QUEUE_LMDB : QUEUE_JOURNAL;
}

static int run(char **argv)
{
	struct queue_options o = {
		.loop = loop,
		.state_dir = argv[2],
		.allow_volatile = true,
		.kind = kind_of(argv[3]),
		.map_bytes = strtoul(argv[6], NULL, 10) * 1024,
	};
	struct queue_fault fault;
	enum err           e;

	o.bytes_max = o.map_bytes;
	o.origin_bytes_max = o.map_bytes;
	seed = strtoul(argv[4], NULL, 10);
	random_state = (seed + 1) * 0x9e3779b97f4a7c15ull;
	left = strtoul(argv[5], NULL, 10);
	endless = left == 0;
	e = queue_open(&o, &queue, &fault);
	if (e != ERR_OK) {
		say("refused %s: %s\n", err_slug(e), fault.text);
		return 3;
	}
	if (fault.text[0] != '\0')
		say("fault %s\n", fault.text);
	if (o.kind == QUEUE_AUTO)
		say("kind %s\n", queue_kind_name(queue));
	soon_init(&again, loop, step, NULL);
	soon_call(&again);
	loop_run(loop);
	return 0;
}

/* --- draining --- */

static struct settler drainer;
static int            drain_status;

static void drain_next(void *arg);

static void on_drained(void *arg, enum err e)
{
	on_settled(arg, e);
	if (e != ERR_OK)
		drain_status = 5;
}

static void on_drain_read(void *arg, enum err e, const struct queue_info *info,
                          struct queue_item *item)
{
	struct settler *s = arg;

	if (e == ERR_OK) {
		str_copy(item->origin, s->origin, sizeof(s->origin));
		str_copy(item->transaction_id, s->id, sizeof(s->id));
		write_hash(item->body_hash, s->hash);
		s->verdict = "delivered";
		say("V %s %s %s delivered\n", s->origin, s->id, s->hash);
		e = queue_settle_start(&s->settle, queue, info->sequence, QUEUE_DELIVERED, STRL(""),
		                       on_drained, s);
	}
	queue_item_free(item);
	if (e == ERR_OK)
		return;
	say("Y - - - %s\n", err_slug(e));
	drain_status = 5;
	busy--;
	soon_call(&again);
}

static void drain_next(void *arg)
{
	struct queue_lane_info lane;

	(void)arg;
	if (drain_status == 0 && queue_lanes(queue, 0, &lane, 1) == 1 &&
	    queue_read_start(&drainer.read, queue, lane.server_name, lane.origin, on_drain_read,
	                     &drainer) == ERR_OK) {
		busy++;
		return;
	}
	if (drain_status == 0)
		say("end\n");
	queue_close(queue);
}

static int drain(const char *state_dir)
{
	struct queue_options o = { .loop = loop, .state_dir = state_dir, .allow_volatile = true };
	struct queue_fault   fault;
	enum err             e = queue_open(&o, &queue, &fault);

	if (e != ERR_OK) {
		say("refused %s: %s\n", err_slug(e), fault.text);
		return 3;
	}
	soon_init(&again, loop, drain_next, NULL);
	soon_call(&again);
	loop_run(loop);
	return drain_status;
}

/* --- the look --- */

static bool on_item(void *arg, const struct queue_info *info, const struct queue_item *item)
{
	uint8_t hash[32];
	char    text[33];

	(void)arg;
	hash_text(item->body, hash, text);
	say("item %llu %s %.*s %.*s %s\n", (unsigned long long)info->sequence,
	    info->state == QUEUE_PARKED ? "parked" : "waiting", (int)item->origin.len,
	    item->origin.ptr, (int)item->transaction_id.len, item->transaction_id.ptr, text);
	return true;
}

static void on_probe(void *arg, enum err e)
{
	*(enum err *)arg = e;
	loop_stop(loop);
}

static void on_probe_read(void *arg, enum err e, const struct queue_info *info,
                          struct queue_item *item)
{
	(void)info;
	*(enum err *)arg = e;
	queue_item_free(item);
	loop_stop(loop);
}

/* Something goes in and can be read: the store is not only readable. */
static enum err use(const char *state_dir)
{
	struct queue_options o = {
		.loop = loop,
		.state_dir = state_dir,
		.allow_volatile = true,
		.bytes_max = 1u << 30, /* not the place of what is there already */
	};
	struct queue_item item = {
		.server_name = STR("home.example"),
		.origin = STR("probe"),
		.transaction_id = STR("probe"),
		.method = STR("PUT"),
		.target = STR("/"),
		.at_unix_ms = 1800000000000ull,
		.body = STR("probe"),
	};
	struct queue_fault fault;
	struct queue_put  *put_slot = NULL;
	struct queue_read *read_slot = NULL;
	enum err           e = queue_open(&o, &queue, &fault);

	if (e != ERR_OK)
		return e;
	e = queue_put_start(&put_slot, queue, &item, true, on_probe, &e);
	if (e == ERR_OK)
		loop_run(loop);
	if (e == ERR_OK) {
		e = queue_read_start(&read_slot, queue, item.server_name, item.origin,
		                     on_probe_read, &e);
		if (e == ERR_OK)
			loop_run(loop);
	}
	queue_close(queue);
	loop_run(loop);
	return e;
}

static int look(void)
{
	char line[512];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct queue_report report;
		bool                uses = line[0] == '+';
		const char         *state_dir = line + uses;
		enum err            e;

		line[strcspn(line, "\n")] = '\0';
		e = queue_verify_each(state_dir, &report, on_item, NULL);
		say("report %s %zu %zu %llu: %s\n", err_slug(e), report.items, report.damaged,
		    (unsigned long long)report.fault.cut_bytes, report.fault.text);
		if (uses)
			say("used %s\n", err_slug(use(state_dir)));
		say("done\n");
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status = 2;

	signal(SIGXFSZ, SIG_IGN);
	if (getenv("TELL") != NULL)
		tell_open(getenv("TELL"));
	loop = loop_new();
	if (argc == 7 && strcmp(argv[1], "run") == 0)
		status = run(argv);
	else if (argc == 3 && strcmp(argv[1], "drain") == 0)
		status = drain(argv[2]);
	else if (argc == 2 && strcmp(argv[1], "check") == 0)
		status = look();
	loop_free(loop);
	return status;
}
