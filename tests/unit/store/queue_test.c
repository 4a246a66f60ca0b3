/* Every test runs on both backends: see the table at the end. */
#include "unit/loop/harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/matrix/signing.h"
#include "store/queue.h"

enum { NOW = 1, ROOM = 1 << 20 };

static const uint64_t unix_now = 1800000000000ull;

static enum queue_kind      kind;
static char                 dir[64];
static struct queue        *q;
static struct queue_options options;

/* --- the wall clock: the linker puts this one in front of the loop's (tests/CMakeLists.txt) --- */

msec __wrap_loop_unix_ms(const struct loop *l);

static msec wall_ms;

msec __wrap_loop_unix_ms(const struct loop *l)
{
	(void)l;
	return wall_ms;
}

/* --- a directory, a queue in it --- */

static void remove_tree(const char *path)
{
	DIR           *d = opendir(path);
	struct dirent *en;
	char           name[400];

	while (d != NULL && (en = readdir(d)) != NULL) {
		if (strcmp(en->d_name, ".") == 0 || strcmp(en->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof(name), "%.100s/%.255s", path, en->d_name);
		remove_tree(name);
	}
	if (d != NULL)
		closedir(d);
	(void)remove(path);
}

static enum err try_open(struct queue_fault *fault)
{
	options.loop = the_loop;
	options.state_dir = dir;
	return queue_open(&options, &q, fault);
}

static void open_queue(void)
{
	struct queue_fault fault;
	enum err           e = try_open(&fault);

	if (e != ERR_OK || fault.text[0] != '\0')
		print_message("queue_open: %s: %s\n", err_slug(e), fault.text);
	assert_int_equal(e, ERR_OK);
	assert_string_equal(fault.text, "");
}

static void close_queue(void)
{
	queue_close(q);
	q = NULL;
	loop_run(the_loop);
}

static int setup(void **state)
{
	kind = *(const enum queue_kind *)*state;
	options = (struct queue_options){ .kind = kind,
		                          .map_bytes = 16 << 20,
		                          .allow_volatile = true };
	strcpy(dir, "queue_test.XXXXXX");
	wall_ms = unix_now;
	return harness_setup(state) != 0 || mkdtemp(dir) == NULL;
}

static int setup_open(void **state)
{
	if (setup(state) != 0)
		return 1;
	open_queue();
	return 0;
}

static void expect_clean(size_t items)
{
	struct queue_report report;
	enum err            e = queue_verify(dir, &report);

	if (e != ERR_OK)
		print_message("queue_verify: %s: %s\n", err_slug(e), report.fault.text);
	assert_int_equal(e, ERR_OK);
	assert_int_equal(report.items, items);
}

static int teardown(void **state)
{
	if (q != NULL)
		close_queue();
	remove_tree(dir);
	return harness_teardown(state);
}

static void reopen(void)
{
	close_queue();
	open_queue();
}

/* --- items --- */

static char big[QUEUE_BODY_MAX];

static struct queue_item item_of(const char *origin, const char *id, struct str body)
{
	struct queue_item item = {
		.server_name = STR("home.example"),
		.origin = str_of(origin),
		.transaction_id = str_of(id),
		.method = STR("PUT"),
		.target = STR("/_matrix/federation/v1/send/1%2F2?x"),
		.authorization = STR("X-Matrix origin=\"a\",sig=\"b\"\nX-Matrix sig=c\n"),
		.content_type = STR("application/json"),
		.peer = address_v4(192, 0, 2, 7, 41234),
		.at_unix_ms = unix_now,
		.body = body,
	};

	signing_sha256(body, item.body_hash);
	return item;
}

struct answer {
	int      count;
	enum err e;
};

static void on_put(void *arg, enum err e)
{
	struct answer *a = arg;

	a->count++;
	a->e = e;
	loop_stop(the_loop);
}

static void run_until(const struct answer *a, int count)
{
	while (a->count < count)
		harness_run();
}

static enum err put_item(const struct queue_item *item, bool known)
{
	struct queue_put *put = NULL;
	struct answer     a = { 0 };
	enum err          e = queue_put_start(&put, q, item, known, on_put, &a);

	if (e != ERR_OK) {
		assert_null(put);
		return e;
	}
	assert_int_equal(a.count, 0);
	run_until(&a, 1);
	assert_null(put);
	return a.e;
}

static enum err put(const char *origin, const char *id, const char *body)
{
	struct queue_item item = item_of(origin, id, str_of(body));

	return put_item(&item, true);
}

struct got {
	int                count;
	enum err           e;
	struct queue_info  info;
	struct queue_item *item;
};

static void on_read(void *arg, enum err e, const struct queue_info *info, struct queue_item *item)
{
	struct got *g = arg;

	g->count++;
	g->e = e;
	g->item = item;
	if (e == ERR_OK)
		g->info = *info;
	loop_stop(the_loop);
}

/* The first one of a lane; free its item. */
static struct got read_first(const char *origin)
{
	struct queue_read *read = NULL;
	struct got         g = { 0 };

	g.e = queue_read_start(&read, q, STRL("home.example"), str_of(origin), on_read, &g);
	if (g.e != ERR_OK)
		return g;
	while (g.count == 0)
		harness_run();
	assert_null(read);
	return g;
}

static enum err settle(uint64_t sequence, enum queue_verdict verdict, const char *reason)
{
	struct queue_settle *s = NULL;
	struct answer        a = { 0 };
	enum err e = queue_settle_start(&s, q, sequence, verdict, str_of(reason), on_put, &a);

	if (e != ERR_OK)
		return e;
	run_until(&a, 1);
	assert_null(s);
	return a.e;
}

/* Reads the first one, expects this body, settles it. Returns its sequence number. */
static uint64_t take(const char *origin, struct str body, enum queue_verdict verdict)
{
	struct got g = read_first(origin);

	assert_int_equal(g.e, ERR_OK);
	assert_int_equal(g.item->body.len, body.len);
	assert_memory_equal(g.item->body.ptr, body.ptr, body.len);
	queue_item_free(g.item);
	assert_int_equal(settle(g.info.sequence, verdict, "why"), ERR_OK);
	return g.info.sequence;
}

static uint64_t deliver(const char *origin, const char *body)
{
	return take(origin, str_of(body), QUEUE_DELIVERED);
}

static void expect_empty(const char *origin)
{
	assert_int_equal(read_first(origin).e, ERR_NOT_FOUND);
	assert_false(queue_lane_waiting(q, STRL("home.example"), str_of(origin)));
}

static void expect_str(struct str got, struct str want)
{
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.ptr, want.ptr, want.len);
}

/* --- what goes in comes out --- */

static void keeps_every_byte(void **state)
{
	struct queue_item want = item_of("a.example", "1/2", STRL("{\"pdus\":[]}\0x"));
	struct got        g;

	(void)state;
	assert_int_equal(put_item(&want, false), ERR_OK);
	for (int again = 0; again < 2; again++) {
		g = read_first("a.example");
		assert_int_equal(g.e, ERR_OK);
		expect_str(g.item->server_name, want.server_name);
		expect_str(g.item->origin, want.origin);
		expect_str(g.item->transaction_id, want.transaction_id);
		expect_str(g.item->method, want.method);
		expect_str(g.item->target, want.target);
		expect_str(g.item->authorization, want.authorization);
		expect_str(g.item->content_type, want.content_type);
		expect_str(g.item->body, want.body);
		assert_true(address_equal(&g.item->peer, &want.peer));
		assert_int_equal(g.item->at_unix_ms, unix_now);
		assert_memory_equal(g.item->body_hash, want.body_hash, QUEUE_HASH_BYTES);
		assert_int_equal(g.info.state, QUEUE_IN_HAND);
		queue_item_free(g.item);
		reopen();
	}
	close_queue();
	expect_clean(1);
}

static void bodies_of_every_size(void **state)
{
	static const size_t sizes[] = {
		0,      1,      32 * 1024, 32 * 1024 + 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1,
		200000, 1 << 20
	};

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 2654435761u >> 24);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char              id[16];
		struct queue_item item;

		snprintf(id, sizeof(id), "%zu", i);
		item = item_of("a.example", id, str_span(big + i, sizes[i]));
		assert_int_equal(put_item(&item, true), ERR_OK);
	}
	reopen();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		take("a.example", str_span(big + i, sizes[i]), QUEUE_DELIVERED);
	expect_empty("a.example");
	close_queue();
	expect_clean(0);
}

static void first_in_first_out_in_each_lane(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++)
		for (int o = 0; o < 3; o++) {
			char origin[16], text[32];

			snprintf(origin, sizeof(origin), "o%d", o);
			snprintf(text, sizeof(text), "%d.%d", o, round);
			assert_int_equal(put(origin, text, text), ERR_OK);
		}
	assert_true(deliver("o1", "1.0") < deliver("o1", "1.1"));
	reopen();
	assert_int_equal(put("o1", "new", "new"), ERR_OK);
	deliver("o1", "1.2");
	deliver("o1", "new");
	expect_empty("o1");
	deliver("o0", "0.0");
	deliver("o2", "2.0");
}

static void many_in_one_group(void **state)
{
	enum { MANY = 300 };
	static struct queue_put *puts[MANY];
	struct answer            a = { 0 };
	struct queue_counts      counts;
	char                     text[16];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		struct queue_item item;

		snprintf(text, sizeof(text), "%d", i);
		item = item_of(i % 2 ? "odd" : "even", text, str_of(text));
		assert_int_equal(queue_put_start(&puts[i], q, &item, true, on_put, &a), ERR_OK);
		assert_true(queue_lane_waiting(q, STRL("home.example"), STRL("even")));
	}
	run_until(&a, MANY);
	queue_counts(q, &counts);
	assert_int_equal(counts.waiting, MANY);
	assert_int_equal(counts.put, MANY);
	assert_true(counts.commits < MANY / 4);
	reopen();
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%d", i);
		deliver(i % 2 ? "odd" : "even", text);
	}
	close_queue();
	expect_clean(0);
}

/* A large one takes several commits; a small one behind it stays behind it, one of others does not wait. */
static void large_and_small_keep_their_order(void **state)
{
	struct queue_item first = item_of("a", "1", str_span(big, ROOM));
	struct queue_item second = item_of("a", "2", STRL("second"));
	struct queue_item other = item_of("b", "1", STRL("other"));
	struct queue_put *puts[3] = { NULL };
	struct answer     a = { 0 }, b = { 0 };

	(void)state;
	assert_int_equal(queue_put_start(&puts[0], q, &first, true, on_put, &a), ERR_OK);
	assert_int_equal(queue_put_start(&puts[1], q, &second, true, on_put, &a), ERR_OK);
	assert_int_equal(queue_put_start(&puts[2], q, &other, true, on_put, &b), ERR_OK);
	run_until(&b, 1);
	assert_int_equal(b.e, ERR_OK);
	assert_int_equal(a.count, 0);
	run_until(&a, 2);
	assert_int_equal(a.e, ERR_OK);
	take("a", first.body, QUEUE_DELIVERED);
	deliver("a", "second");
	deliver("b", "other");
}

/* --- the same id again --- */

static void identical_is_stored_once(void **state)
{
	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS);
	assert_int_equal(put("b", "1", "x"), ERR_OK); /* of another origin */
	reopen();
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS);
	deliver("a", "x");
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS); /* delivered: remembered */
	reopen();
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS);
	expect_empty("a");
	assert_int_equal(put("a", "2", "x"), ERR_OK); /* another id: Synapse's new attempt */
}

static void changed_body_replaces_at_its_place(void **state)
{
	(void)state;
	assert_int_equal(put("a", "1", "old"), ERR_OK);
	assert_int_equal(put("a", "2", "behind"), ERR_OK);
	assert_int_equal(put("a", "1", "new"), ERR_OK);
	assert_int_equal(put("a", "1", "new"), ERR_EXISTS);
	reopen();
	deliver("a", "new");
	deliver("a", "behind");
	expect_empty("a");
	close_queue();
	expect_clean(0);
}

static void large_bodies_replace_and_are_replaced(void **state)
{
	struct queue_item large = item_of("a", "1", str_span(big, 200000));
	struct queue_item larger = item_of("a", "1", str_span(big + 7, 300000));

	(void)state;
	assert_int_equal(put("a", "1", "old"), ERR_OK);
	assert_int_equal(put("a", "2", "behind"), ERR_OK);
	assert_int_equal(put_item(&large, true), ERR_OK);
	assert_int_equal(put_item(&larger, true), ERR_OK);
	reopen();
	take("a", larger.body, QUEUE_RETRY);
	reopen();
	take("a", larger.body, QUEUE_DELIVERED);
	deliver("a", "behind");
	close_queue();
	expect_clean(0);
}

static void changed_body_is_new_once_somebody_had_the_first(void **state)
{
	struct got g;

	(void)state;
	assert_int_equal(put("a", "1", "first"), ERR_OK);
	assert_int_equal(put("a", "2", "between"), ERR_OK);
	g = read_first("a");
	queue_item_free(g.item);
	assert_int_equal(put("a", "1", "second"), ERR_OK); /* in hand */
	assert_int_equal(put("a", "1", "first"), ERR_EXISTS);
	assert_int_equal(settle(g.info.sequence, QUEUE_RETRY, ""), ERR_OK);
	assert_int_equal(put("a", "1", "third"), ERR_OK); /* newest one, untried: replaced */
	deliver("a", "first");
	deliver("a", "between");
	deliver("a", "third");
	assert_int_equal(put("a", "1", "fourth"), ERR_OK); /* settled: new */
	deliver("a", "fourth");
}

static void tried_items_are_not_replaced(void **state)
{
	(void)state;
	assert_int_equal(put("a", "1", "first"), ERR_OK);
	take("a", STRL("first"), QUEUE_RETRY);
	assert_int_equal(put("x", "1", "carries the note along"), ERR_OK);
	reopen();
	assert_int_equal(put("a", "1", "second"), ERR_OK);
	deliver("a", "first");
	deliver("a", "second");
}

static void unparked_items_are_not_replaced(void **state)
{
	uint64_t sequence;

	(void)state;
	assert_int_equal(put("a", "1", "first"), ERR_OK);
	sequence = take("a", STRL("first"), QUEUE_PARK);
	assert_int_equal(settle(sequence, QUEUE_UNPARK, ""), ERR_OK);
	reopen();
	assert_int_equal(put("a", "1", "second"), ERR_OK);
	deliver("a", "first");
	deliver("a", "second");
}

static void same_id_twice_at_once(void **state)
{
	struct queue_item one = item_of("a", "1", STRL("x")), two = item_of("a", "1", STRL("y"));
	struct queue_put *puts[4] = { NULL };
	struct answer     a[4] = { { 0 } };

	(void)state;
	assert_int_equal(queue_put_start(&puts[0], q, &one, true, on_put, &a[0]), ERR_OK);
	assert_int_equal(queue_put_start(&puts[1], q, &one, true, on_put, &a[1]), ERR_OK);
	assert_int_equal(queue_put_start(&puts[2], q, &two, true, on_put, &a[2]), ERR_OK);
	assert_int_equal(queue_put_start(&puts[3], q, &two, true, on_put, &a[3]), ERR_OK);
	run_until(&a[3], 1);
	assert_int_equal(a[0].e, ERR_OK);
	assert_int_equal(a[1].e, ERR_EXISTS);
	assert_int_equal(a[2].e, ERR_OK);
	assert_int_equal(a[3].e, ERR_EXISTS);
	deliver("a", "y");
	expect_empty("a");
}

/* --- verdicts --- */

static void retried_items_stay_first_and_are_counted(void **state)
{
	struct queue_lane_info lane;
	struct queue_info      info;
	uint64_t               sequence;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	assert_int_equal(put("a", "2", "y"), ERR_OK);
	sequence = take("a", STRL("x"), QUEUE_RETRY);
	assert_int_equal(take("a", STRL("x"), QUEUE_RETRY), sequence);
	assert_int_equal(queue_find(q, sequence, &info), ERR_OK);
	assert_int_equal(info.tries, 2);
	assert_true(info.first_try_unix_ms > 0);
	assert_int_equal(queue_lanes(q, 0, &lane, 1), 1);
	assert_int_equal(lane.tries, 2);
	assert_int_equal(lane.items, 2);
	reopen(); /* closing writes the count */
	assert_int_equal(queue_find(q, sequence, &info), ERR_OK);
	assert_int_equal(info.tries, 2);
	assert_true(info.first_try_unix_ms > 0);
	assert_int_equal(info.state, QUEUE_WAITING);
}

static void in_hand_is_not_given_twice(void **state)
{
	struct got g;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	g = read_first("a");
	assert_int_equal(g.e, ERR_OK);
	queue_item_free(g.item);
	assert_int_equal(read_first("a").e, ERR_BUSY);
	assert_true(queue_lane_waiting(q, STRL("home.example"), STRL("a")));
	assert_int_equal(settle(g.info.sequence, QUEUE_DELIVERED, ""), ERR_OK);
	assert_int_equal(settle(g.info.sequence, QUEUE_DELIVERED, ""), ERR_NOT_FOUND);
	expect_empty("a");
}

static void parked_items_let_others_pass_and_come_back(void **state)
{
	struct queue_info   info[4];
	struct queue_counts counts;
	uint64_t            sequence;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	assert_int_equal(put("a", "2", "y"), ERR_OK);
	sequence = take("a", STRL("x"), QUEUE_PARK);
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS); /* is kept */
	deliver("a", "y");
	expect_empty("a");
	reopen();
	expect_empty("a");
	assert_int_equal(queue_list(q, 0, true, info, 4), 1);
	assert_int_equal(info[0].sequence, sequence);
	assert_int_equal(info[0].state, QUEUE_PARKED);
	expect_str(info[0].reason, STRL("why"));
	expect_str(info[0].origin, STRL("a"));
	queue_counts(q, &counts);
	assert_int_equal(counts.parked, 1);
	assert_int_equal(counts.waiting, 0);
	assert_true(counts.bytes > 0);
	assert_int_equal(put("a", "3", "z"), ERR_OK);
	assert_int_equal(settle(sequence, QUEUE_UNPARK, ""), ERR_OK);
	deliver("a", "x"); /* at its place: before what came later */
	deliver("a", "z");
	close_queue();
	expect_clean(0);
}

static void dropped_items_are_gone_and_remembered(void **state)
{
	uint64_t sequence;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	sequence = take("a", STRL("x"), QUEUE_PARK);
	assert_int_equal(settle(sequence, QUEUE_DROP, ""), ERR_OK);
	assert_int_equal(settle(sequence, QUEUE_DROP, ""), ERR_NOT_FOUND);
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS);
	reopen();
	expect_empty("a");
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS);
}

static void one_verdict_at_a_time(void **state)
{
	struct queue_settle *s = NULL, *t = NULL;
	struct answer        a = { 0 };
	struct got           g;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	g = read_first("a");
	queue_item_free(g.item);
	assert_int_equal(
		queue_settle_start(&s, q, g.info.sequence, QUEUE_DELIVERED, STRL(""), on_put, &a),
		ERR_OK);
	assert_int_equal(
		queue_settle_start(&t, q, g.info.sequence, QUEUE_PARK, STRL(""), on_put, &a),
		ERR_BUSY);
	assert_null(t);
	run_until(&a, 1);
	expect_empty("a");
}

static void shows_without_changing(void **state)
{
	struct queue_read *read = NULL;
	struct got         g = { 0 };
	uint64_t           sequence;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	sequence = take("a", STRL("x"), QUEUE_PARK);
	assert_int_equal(queue_show_start(&read, q, sequence, on_read, &g), ERR_OK);
	while (g.count == 0)
		harness_run();
	assert_int_equal(g.e, ERR_OK);
	assert_int_equal(g.info.state, QUEUE_PARKED);
	expect_str(g.item->body, STRL("x"));
	queue_item_free(g.item);
	assert_int_equal(queue_show_start(&read, q, sequence + 1, on_read, &g), ERR_NOT_FOUND);
}

/* --- lists --- */

static void lanes_come_oldest_first(void **state)
{
	static const char *const origins[] = { "c", "a", "d", "b" };
	struct queue_lane_info   lanes[5];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(put(origins[i], "1", "x"), ERR_OK);
	assert_int_equal(put("c", "2", "y"), ERR_OK);
	reopen();
	assert_int_equal(queue_lanes(q, 0, lanes, 5), 4);
	for (size_t i = 0; i < 4; i++)
		expect_str(lanes[i].origin, str_of(origins[i]));
	assert_int_equal(lanes[0].items, 2);
	assert_int_equal(lanes[0].oldest_unix_ms, unix_now);
	assert_int_equal(queue_lanes(q, 0, lanes, 2), 2);
	expect_str(lanes[0].origin, STRL("c"));
	expect_str(lanes[1].origin, STRL("a"));
	deliver("c", "x"); /* its next one came last */
	assert_int_equal(queue_lanes(q, 0, lanes, 5), 4);
	expect_str(lanes[3].origin, STRL("c"));
	assert_false(lanes[3].in_hand);
}

static void lists_in_pages(void **state)
{
	struct queue_info info[3];
	uint64_t          after = 0;
	size_t            n, total = 0;
	char              id[16];

	(void)state;
	for (int i = 0; i < 7; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(put(i % 2 ? "a" : "b", id, "x"), ERR_OK);
	}
	while ((n = queue_list(q, after, false, info, 3)) > 0) {
		for (size_t i = 0; i < n; i++) {
			assert_true(info[i].sequence > after);
			after = info[i].sequence;
		}
		total += n;
	}
	assert_int_equal(total, 7);
}

/* --- limits --- */

static void origins_have_a_quota(void **state)
{
	enum err e = ERR_OK;
	char     id[16];
	int      n = 0;

	(void)state;
	close_queue();
	options.origin_items_max = 3;
	open_queue();
	while (e == ERR_OK && n < 10) {
		snprintf(id, sizeof(id), "%d", n);
		e = put("a", id, "x");
		n += e == ERR_OK;
	}
	assert_int_equal(e, ERR_LIMIT);
	assert_int_equal(n, 3);
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS); /* is not more */
	assert_int_equal(put("b", "1", "x"), ERR_OK);
	deliver("a", "x");
	assert_int_equal(put("a", "new", "x"), ERR_OK);
	reopen();
	assert_int_equal(put("a", "newer", "x"), ERR_LIMIT); /* counted anew at the start */
}

static void bytes_of_origins_have_a_quota(void **state)
{
	struct queue_item item = item_of("a", "1", str_span(big, 50000));

	(void)state;
	close_queue();
	options.origin_bytes_max = 60000;
	open_queue();
	assert_int_equal(put_item(&item, true), ERR_OK);
	item.transaction_id = STRL("2");
	assert_int_equal(put_item(&item, true), ERR_LIMIT);
	item.origin = STRL("b");
	assert_int_equal(put_item(&item, true), ERR_OK);
}

static void strangers_cannot_fill_the_reserve(void **state)
{
	struct queue_item   item = item_of("", "1", str_span(big, 30000));
	struct queue_counts counts;
	char                origin[16];
	unsigned            strangers = 0, known = 0;

	(void)state;
	close_queue();
	options.bytes_max = 400000;
	options.reserve_bytes = 100000;
	open_queue();
	for (unsigned i = 0; i < 20; i++) {
		snprintf(origin, sizeof(origin), "stranger%u", i);
		item.origin = str_of(origin);
		strangers += put_item(&item, false) == ERR_OK;
	}
	assert_in_range(strangers, 8, 9);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(origin, sizeof(origin), "known%u", i);
		item.origin = str_of(origin);
		known += put_item(&item, true) == ERR_OK;
	}
	assert_in_range(known, 3, 4);
	queue_counts(q, &counts);
	assert_int_equal(counts.waiting, strangers + known);
	assert_true(counts.bytes <= counts.bytes_max);
	assert_true(counts.refused > 0);
}

static void replacing_does_not_leak_quota(void **state)
{
	struct queue_counts before, after;
	char                body[16];

	(void)state;
	assert_int_equal(put("a", "1", "00"), ERR_OK);
	queue_counts(q, &before);
	for (int i = 10; i < 60; i++) {
		snprintf(body, sizeof(body), "%d", i);
		assert_int_equal(put("a", "1", body), ERR_OK);
	}
	queue_counts(q, &after);
	assert_int_equal(after.bytes, before.bytes);
	assert_int_equal(after.waiting, 1);
	deliver("a", "59");
	queue_counts(q, &after);
	assert_int_equal(after.bytes, 0);
}

static void seen_ids_are_bounded(void **state)
{
	struct queue_counts counts;
	char                id[16];

	(void)state;
	close_queue();
	options.seen_max = 5;
	open_queue();
	for (int i = 0; i < 30; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(put("a", id, "x"), ERR_OK);
		deliver("a", "x");
	}
	queue_counts(q, &counts);
	assert_in_range(counts.seen, 5, 7);
	assert_int_equal(put("a", "29", "x"), ERR_EXISTS);
	assert_int_equal(put("a", "0", "x"), ERR_OK); /* forgotten */
	reopen();
	queue_counts(q, &counts);
	assert_in_range(counts.seen, 5, 7);
}

/* Sequence numbers go on even when nothing is left that would tell them. */
static void sequence_numbers_are_never_reused(void **state)
{
	uint64_t last = 0, sequence;
	char     id[16];

	(void)state;
	close_queue();
	options.seen_max = 1;
	open_queue();
	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(put("a", id, "x"), ERR_OK);
		sequence = deliver("a", "x");
		assert_true(sequence > last);
		last = sequence;
		reopen();
	}
}

static void bad_items_are_refused(void **state)
{
	static char       name[300];
	struct queue_item good = item_of("a", "1", STRL("x")), item;

	(void)state;
	memset(name, 'n', sizeof(name));
	item = good, item.origin = STRL("");
	assert_int_equal(put_item(&item, true), ERR_RANGE);
	item = good, item.origin = str_span(name, 256);
	assert_int_equal(put_item(&item, true), ERR_RANGE);
	item = good, item.origin = str_span(name, 255);
	assert_int_equal(put_item(&item, true), ERR_OK);
	item = good, item.transaction_id = STRL("");
	assert_int_equal(put_item(&item, true), ERR_RANGE);
	item = good, item.target = str_span(big, QUEUE_HEAD_MAX + 1);
	assert_int_equal(put_item(&item, true), ERR_RANGE);
	item = good, item.authorization = str_span(big, QUEUE_HEAD_MAX);
	assert_int_equal(put_item(&item, true), ERR_TOO_LARGE);
	item = good, item.at_unix_ms = 5000; /* 1970: no clock */
	assert_int_equal(put_item(&item, true), ERR_BUSY);
	item = good, item.body = str_span(big, 5 << 20);
	assert_int_equal(put_item(&item, true), ERR_LIMIT); /* more than may be on its way */
}

static void largest_head_fits(void **state)
{
	struct queue_item item = item_of("a", "1", str_span(big, 32 * 1024));

	(void)state;
	item.authorization = str_span(big, QUEUE_HEAD_MAX - 200);
	assert_int_equal(put_item(&item, true), ERR_OK);
	reopen();
	take("a", item.body, QUEUE_DELIVERED);
}

/* Full of what cannot go: new ones are refused, settling goes on to work, then there is room again. */
static void full_store_refuses_and_drains(void **state)
{
	struct queue_item item = item_of("a", "1", str_span(big, 20000));
	enum err          e = ERR_OK;
	unsigned          n = 0;
	char              id[16];

	(void)state;
	close_queue();
	options.map_bytes = 1 << 20;
	options.bytes_max = options.origin_bytes_max = 1 << 30;
	open_queue();
	while (e == ERR_OK && n < 1000) {
		snprintf(id, sizeof(id), "%u", n);
		item.transaction_id = str_of(id);
		e = put_item(&item, true);
		n += e == ERR_OK;
	}
	assert_int_equal(e, ERR_LIMIT);
	assert_in_range(n, 20, 60);
	reopen();
	for (unsigned i = 0; i < n; i++)
		take("a", item.body, QUEUE_DELIVERED);
	item.transaction_id = STRL("again");
	assert_int_equal(put_item(&item, true), ERR_OK);
	close_queue();
	expect_clean(1);
}

/* Much more goes through than fits at once: space comes back. */
static void space_is_used_again(void **state)
{
	struct queue_item item = item_of("a", "1", str_span(big, 100000));
	char              id[16];

	(void)state;
	close_queue();
	options.map_bytes = 2 << 20;
	open_queue();
	assert_int_equal(put("stays", "1", "all the time"), ERR_OK);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "%u", i);
		item.transaction_id = str_of(id);
		assert_int_equal(put_item(&item, true), ERR_OK);
		take("a", item.body, QUEUE_DELIVERED);
	}
	reopen();
	deliver("stays", "all the time");
}

/* Reading and writing files of ours is forbidden all of a sudden: a disk that became read-only, say. */
static void a_disk_that_denies_is_one_that_failed(void **state)
{
	struct queue_item item = item_of("a", "1", str_span(big, 100000));
	enum err          e = ERR_OK;
	char              path[128], id[16];

	(void)state;
	snprintf(path, sizeof(path), "%s/queue", dir);
	assert_int_equal(chmod(path, 0500), 0);
	assert_int_equal(chmod(dir, 0711), 0);
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	for (unsigned i = 0; e == ERR_OK && i < 4; i++) { /* the journal needs a new segment then */
		snprintf(id, sizeof(id), "%u", i);
		item.transaction_id = str_of(id);
		e = put_item(&item, true);
	}
	(void)seteuid(getuid());
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(e, ERR_IO);
}

/* Its owner is gone, and the disk takes no verdict: the lane does not stand still. */
static void verdicts_of_nobody_are_given_back(void **state)
{
	struct rlimit        before, none = { 1, 1 };
	struct queue_settle *s = NULL;
	struct queue_info    info;
	struct got           g;
	struct answer        a = { 0 };

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	g = read_first("a");
	queue_item_free(g.item);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(
		queue_settle_start(&s, q, g.info.sequence, QUEUE_DELIVERED, STRL(""), on_put, &a),
		ERR_OK);
	queue_settle_cancel(&s);
	for (unsigned i = 0; i < 50; i++)
		harness_run_for(1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(queue_list(q, 0, false, &info, 1), 1);
	assert_int_equal(info.state, QUEUE_WAITING);
	assert_int_equal(a.count, 0);
	deliver("a", "x");
	expect_empty("a");
}

/* The end comes right behind the verdict, before the disk has it or while it is being written. */
static void verdicts_outlive_their_owner(void **state)
{
	struct queue_settle *s = NULL;
	struct answer        a = { 0 };

	(void)state;
	for (unsigned turns = 0; turns < 3; turns++) {
		struct got g;

		assert_int_equal(put("a", "1", turns == 0 ? "x" : turns == 1 ? "y" : "z"), ERR_OK);
		g = read_first("a");
		assert_int_equal(g.e, ERR_OK);
		queue_item_free(g.item);
		assert_int_equal(queue_settle_start(&s, q, g.info.sequence, QUEUE_DELIVERED,
		                                    STRL(""), on_put, &a),
		                 ERR_OK);
		for (unsigned i = 0; i < turns; i++)
			harness_run_for(0);
		queue_settle_cancel(&s);
		reopen();
		expect_empty("a");
	}
	close_queue();
	expect_clean(0);
}

/* What was read and not delivered waits again, and is not offered as if nobody had seen it. */
static void what_is_given_back_waits_again(void **state)
{
	struct got g;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	g = read_first("a");
	queue_item_free(g.item);
	assert_int_equal(read_first("a").e, ERR_BUSY);
	queue_give_back(q, g.info.sequence);
	queue_give_back(q, g.info.sequence); /* is nothing new */
	queue_give_back(q, g.info.sequence + 1);
	assert_int_equal(put("a", "1", "other"), ERR_OK); /* behind it, not in its place */
	deliver("a", "x");
	queue_give_back(q, g.info.sequence);
	deliver("a", "other");
	expect_empty("a");
}

/* A reload with another queue_limit. */
static void the_limit_changes_meanwhile(void **state)
{
	struct queue_item   item = item_of("a", "1", str_span(big, 20000));
	struct queue_counts counts;

	(void)state;
	queue_set_bytes_max(q, 30000);
	assert_int_equal(put_item(&item, true), ERR_LIMIT); /* a quarter, for one origin */
	queue_set_bytes_max(q, 100000);
	assert_int_equal(put_item(&item, true), ERR_OK);
	item.transaction_id = STRL("2");
	assert_int_equal(put_item(&item, true), ERR_LIMIT);
	item.origin = STRL("b");
	assert_int_equal(put_item(&item, true), ERR_OK);
	queue_set_bytes_max(q, 30000); /* below what is there: nothing goes */
	item.origin = STRL("c");
	assert_int_equal(put_item(&item, true), ERR_LIMIT);
	queue_counts(q, &counts);
	assert_int_equal(counts.waiting, 2);
	assert_int_equal(counts.bytes_max, 30000);
	queue_set_bytes_max(q, 0); /* as it was */
	queue_counts(q, &counts);
	assert_int_equal(counts.bytes_max, 30000);
}

/* --- cancelling, closing --- */

static void cancelled_puts_are_stored_or_not(void **state)
{
	struct queue_item large = item_of("a", "1", str_span(big, ROOM)),
			  small = item_of("b", "1", STRL("x"));
	struct queue_put *one = NULL, *two = NULL;
	struct answer     a = { 0 };

	(void)state;
	assert_int_equal(queue_put_start(&one, q, &large, true, on_put, &a), ERR_OK);
	queue_put_cancel(&one); /* before anything was written */
	assert_null(one);
	queue_put_cancel(&one);
	assert_int_equal(put("b", "0", "y"), ERR_OK);
	assert_false(queue_lane_waiting(q, STRL("home.example"), STRL("a")));
	assert_int_equal(queue_put_start(&one, q, &large, true, on_put, &a), ERR_OK);
	assert_int_equal(queue_put_start(&two, q, &small, true, on_put, &a), ERR_OK);
	run_until(&a, 1); /* the small one: the large one is half written */
	assert_non_null(one);
	queue_put_cancel(&one);
	assert_int_equal(put("b", "2", "z"), ERR_OK);
	assert_int_equal(put("b", "3", "z"), ERR_OK);
	assert_int_equal(a.count, 1);
	close_queue();
	expect_clean(4);
}

static void closing_while_a_group_is_written(void **state)
{
	struct queue_item item = item_of("a", "1", str_span(big, ROOM)),
			  small = item_of("b", "1", STRL("x"));
	struct queue_put   *put_one = NULL, *put_two = NULL;
	struct answer       a = { 0 }, b = { 0 };
	struct queue_report report;

	(void)state;
	assert_int_equal(queue_put_start(&put_one, q, &item, true, on_put, &a), ERR_OK);
	assert_int_equal(queue_put_start(&put_two, q, &small, true, on_put, &b), ERR_OK);
	run_until(&b, 1);
	queue_put_cancel(&put_one);
	close_queue();
	assert_int_equal(a.count, 0);
	assert_int_equal(queue_verify(dir, &report), ERR_OK);
	assert_in_range(report.items, 1, 2);
	open_queue();
	deliver("b", "x");
}

static void on_put_close(void *arg, enum err e)
{
	(void)arg;
	assert_int_equal(e, ERR_OK);
	queue_close(q);
	q = NULL;
	loop_stop(the_loop);
}

static void closing_in_a_callback(void **state)
{
	struct queue_item item = item_of("a", "1", STRL("x"));
	struct queue_put *put_one = NULL;

	(void)state;
	assert_int_equal(queue_put_start(&put_one, q, &item, true, on_put_close, NULL), ERR_OK);
	harness_run();
	assert_null(put_one);
	loop_run(the_loop);
	expect_clean(1);
}

static void cancelled_reads_leave_it_waiting(void **state)
{
	struct queue_read *read = NULL;
	struct got         g = { 0 };

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	assert_int_equal(queue_read_start(&read, q, STRL("home.example"), STRL("a"), on_read, &g),
	                 ERR_OK);
	queue_read_cancel(&read); /* before the job */
	assert_int_equal(queue_read_start(&read, q, STRL("home.example"), STRL("a"), on_read, &g),
	                 ERR_OK);
	assert_int_equal(put("b", "1", "x"), ERR_OK);
	queue_item_free(g.item);
	if (g.count == 0)
		queue_read_cancel(&read);
	else
		assert_int_equal(settle(g.info.sequence, QUEUE_RETRY, ""), ERR_OK);
	assert_null(read);
	while ((g = read_first("a")).e == ERR_BUSY) /* the cancelled job is not over yet */
		harness_run_for(5);
	assert_int_equal(g.e, ERR_OK);
	queue_item_free(g.item);
	close_queue();
	expect_clean(2);
}

/* --- places --- */

static void second_user_is_kept_out(void **state)
{
	struct queue_fault  fault;
	struct queue       *first = q;
	struct queue_report report;

	(void)state;
	assert_int_equal(try_open(&fault), ERR_BUSY);
	assert_non_null(strstr(fault.text, "another doorstep"));
	assert_ptr_equal(q, first);
	assert_int_equal(queue_verify(dir, &report), ERR_BUSY);
}

static void path_in(char *out, size_t size, const char *name)
{
	snprintf(out, size, "%s/%s", dir, name);
}

static void folder_is_private(void **state)
{
	struct stat st;
	char        path[128];

	(void)state;
	path_in(path, sizeof(path), "queue");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	close_queue();
	chmod(path, 0777);
	open_queue();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void newer_store_is_left_alone(void **state)
{
	struct queue_fault fault;
	char               path[128];
	FILE              *f;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	close_queue();
	path_in(path, sizeof(path), "queue.store");
	f = fopen(path, "w");
	fputs("doorstep queue, schema 2, tape\n", f);
	fclose(f);
	assert_int_equal(try_open(&fault), ERR_UNSUPPORTED);
	assert_null(q);
	assert_non_null(strstr(fault.text, "newer doorstep"));
}

static void lost_store_is_said(void **state)
{
	struct queue_fault fault;
	char               path[128];

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	close_queue();
	path_in(path, sizeof(path), "queue");
	remove_tree(path);
	assert_int_equal(try_open(&fault), ERR_OK);
	assert_non_null(strstr(fault.text, "is gone"));
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	reopen(); /* said once */
}

static void lost_marker_is_made_again(void **state)
{
	char path[128];

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	close_queue();
	path_in(path, sizeof(path), "queue.store");
	assert_int_equal(unlink(path), 0);
	options.kind = QUEUE_AUTO;
	open_queue();
	assert_string_equal(queue_kind_name(q), kind == QUEUE_LMDB ? "lmdb" : "journal");
	deliver("a", "x");
	assert_int_equal(access(path, F_OK), 0);
}

static void other_kind_is_refused(void **state)
{
	struct queue_fault fault;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	close_queue();
	options.kind = kind == QUEUE_LMDB ? QUEUE_JOURNAL : QUEUE_LMDB;
	assert_int_equal(try_open(&fault), ERR_UNSUPPORTED);
	assert_non_null(strstr(fault.text, "other kind"));
	options.kind = kind;
	open_queue();
	deliver("a", "x");
}

static void memory_is_refused(void **state)
{
	struct queue_fault fault;
	char               saved[sizeof(dir)];

	(void)state;
	strcpy(saved, dir);
	strcpy(dir, "/dev/shm/queue_test.XXXXXX");
	if (mkdtemp(dir) == NULL)
		skip();
	options.allow_volatile = false;
	assert_int_equal(try_open(&fault), ERR_UNSUPPORTED);
	assert_non_null(strstr(fault.text, "in memory"));
	options.allow_volatile = true;
	open_queue();
	close_queue();
	remove_tree(dir);
	strcpy(dir, saved);
}

static void impossible_places_are_said(void **state)
{
	struct queue_fault fault;
	char               saved[sizeof(dir)];

	(void)state;
	strcpy(saved, dir);
	strcpy(dir, "/proc/nowhere");
	assert_int_not_equal(try_open(&fault), ERR_OK);
	assert_non_null(strstr(fault.text, "/proc/nowhere/queue"));
	strcpy(dir, saved);
}

/* --- clocks --- */

static void ids_are_forgotten_after_a_week(void **state)
{
	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	deliver("a", "x");
	wall_ms += 7ull * DAY_MS - 1;
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS);
	reopen();
	assert_int_equal(put("a", "1", "x"), ERR_EXISTS);
	wall_ms += 2;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	deliver("a", "x");
}

/* Items stay, whatever the clock says, and their order is not a matter of time. */
static void clocks_may_jump(void **state)
{
	static const uint64_t at[] = { 1800000000000ull, 1600000000000ull, 4000000000000ull,
		                       1700000000000ull };
	char                  id[16];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct queue_item item;

		snprintf(id, sizeof(id), "%u", i);
		item = item_of("a", id, str_of(id));
		item.at_unix_ms = wall_ms = at[i];
		assert_int_equal(put_item(&item, true), ERR_OK);
	}
	for (unsigned i = 0; i < 4; i++) {
		wall_ms = i % 2 ? 5000 : 9000000000000ull;
		reopen();
		snprintf(id, sizeof(id), "%u", i);
		deliver("a", id);
	}
	expect_empty("a");
}

/* --- rot --- */

/* Changes one byte of each place where text lies in the store's files. Returns how many. */
static unsigned spoil(const char *text)
{
	char           path[400], *bytes = malloc(4 << 20);
	DIR           *d;
	struct dirent *en;
	unsigned       count = 0;

	snprintf(path, sizeof(path), "%s/queue", dir);
	d = opendir(path);
	assert_non_null(d);
	while ((en = readdir(d)) != NULL) {
		FILE  *f;
		size_t n;

		if (strcmp(en->d_name, "data.mdb") != 0 && strncmp(en->d_name, "journal.", 8) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/queue/%.255s", dir, en->d_name);
		f = fopen(path, "r+b");
		n = fread(bytes, 1, 4 << 20, f);
		for (size_t i = 0; i + strlen(text) <= n; i++)
			if (memcmp(bytes + i, text, strlen(text)) == 0) {
				fseek(f, (long)i, SEEK_SET);
				fputc(text[0] ^ 1, f);
				count++;
			}
		fclose(f);
	}
	closedir(d);
	free(bytes);
	return count;
}

/* Rotted while we run: set aside, said, and the next one goes on. */
static void rotten_items_let_others_pass(void **state)
{
	struct queue_counts counts;
	struct queue_info   info;
	struct queue_report report;

	(void)state;
	assert_int_equal(put("a", "1", "rotten body, first"), ERR_OK);
	assert_int_equal(put("a", "2", "good body, second"), ERR_OK);
	assert_true(spoil("rotten body") > 0);
	deliver("a", "good body, second");
	expect_empty("a");
	queue_counts(q, &counts);
	assert_int_equal(counts.damaged, 1);
	assert_int_equal(counts.parked, 1);
	assert_int_equal(queue_list(q, 0, true, &info, 1), 1);
	expect_str(info.reason, STRL("damaged on the disk"));
	assert_int_equal(settle(info.sequence, QUEUE_DROP, ""), ERR_OK);
	close_queue();
	if (kind == QUEUE_LMDB) /* the journal keeps the segment until it is tidied up */
		assert_int_equal(queue_verify(dir, &report), ERR_OK);
}

/* Rotted while we were away: said at the start (journal) or when it is read, the others are there. */
static void rot_is_found_by_verify(void **state)
{
	struct queue_report report;

	(void)state;
	assert_int_equal(put("a", "1", "rotten body, first"), ERR_OK);
	assert_int_equal(put("a", "2", "good body, second"), ERR_OK);
	assert_int_equal(put("a", "3", "good body, third"), ERR_OK);
	close_queue();
	assert_true(spoil("rotten body") > 0);
	assert_int_equal(queue_verify(dir, &report), ERR_SYNTAX);
	assert_string_not_equal(report.fault.text, "");
	assert_int_equal(report.items, kind == QUEUE_LMDB ? 3 : 2);
	if (kind == QUEUE_LMDB) {
		open_queue();
	} else {
		struct queue_fault fault;

		assert_int_equal(try_open(&fault), ERR_OK);
		assert_non_null(strstr(fault.text, "is damaged"));
	}
	deliver("a", "good body, second");
	deliver("a", "good body, third");
	expect_empty("a");
}

static void rotten_parts_are_found(void **state)
{
	struct queue_item item = item_of("a", "1", str_span(big, 150000));

	(void)state;
	memset(big, 'b', 150000);
	memcpy(big + 140000, "rotten body", 11);
	assert_int_equal(put_item(&item, true), ERR_OK);
	assert_int_equal(put("a", "2", "good"), ERR_OK);
	assert_true(spoil("rotten body") > 0);
	deliver("a", "good");
	expect_empty("a");
}

/* --- the journal alone --- */

static size_t segment_count(const char *ending)
{
	char           path[128];
	DIR           *d;
	struct dirent *en;
	size_t         count = 0;

	path_in(path, sizeof(path), "queue");
	d = opendir(path);
	while ((en = readdir(d)) != NULL)
		count += strncmp(en->d_name, "journal.", 8) == 0 &&
			str_ends(str_of(en->d_name), str_of(ending));
	closedir(d);
	return count;
}

static void segments_go_when_they_are_empty(void **state)
{
	struct queue_item   item = item_of("a", "1", str_span(big, 100000));
	struct queue_counts counts;
	char                id[16];

	(void)state;
	assert_int_equal(put("stays", "1", "all the time"), ERR_OK);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "%u", i);
		item.transaction_id = str_of(id);
		assert_int_equal(put_item(&item, true), ERR_OK);
		take("a", item.body, QUEUE_DELIVERED);
	}
	loop_run(the_loop); /* housekeeping */
	queue_counts(q, &counts);
	assert_true(counts.disk_bytes < 1000000);
	assert_in_range(segment_count(""), 1, 4);
}

static void missing_segments_are_said(void **state)
{
	struct queue_item  item = item_of("a", "1", str_span(big, 100000));
	struct queue_fault fault;
	char               path[128], id[16];

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		snprintf(id, sizeof(id), "%u", i);
		item.transaction_id = str_of(id);
		assert_int_equal(put_item(&item, true), ERR_OK);
	}
	close_queue();
	path_in(path, sizeof(path), "queue/journal.00000002");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(try_open(&fault), ERR_OK);
	assert_non_null(strstr(fault.text, "missing"));
	take("a", item.body, QUEUE_DELIVERED);
}

static void damaged_heads_are_moved_aside(void **state)
{
	struct queue_fault fault;
	char               path[128];
	int                fd;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	close_queue();
	path_in(path, sizeof(path), "queue/journal.00000001");
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "?", 1, 20), 1);
	close(fd);
	assert_int_equal(try_open(&fault), ERR_OK);
	assert_non_null(strstr(fault.text, "moved aside"));
	assert_int_equal(segment_count(".damaged"), 1);
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	reopen();
	deliver("a", "x");
}

static void unfinished_writes_are_taken_off(void **state)
{
	struct queue_fault fault;
	char               path[128];
	int                fd;

	(void)state;
	assert_int_equal(put("a", "1", "x"), ERR_OK);
	close_queue();
	path_in(path, sizeof(path), "queue/journal.00000001");
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "torn off", 8), 8);
	close(fd);
	path_in(path, sizeof(path), "queue/journal.00000002");
	close(open(path, O_WRONLY | O_CREAT, 0600)); /* it got no further */
	assert_int_equal(try_open(&fault), ERR_OK);
	assert_string_equal(fault.text, "");
	assert_true(fault.cut_bytes >= 8);
	deliver("a", "x");
	reopen();
}

/* The oldest segment rots while it is in use: what was in it is set aside when it is its turn, nothing else. */
static void rot_of_a_segment_in_use(void **state)
{
	struct queue_item  item = item_of("a", "rots", STRL("x"));
	struct queue_info  info;
	struct queue_fault fault;
	char               path[128], id[16];
	int                fd;

	(void)state;
	assert_int_equal(put_item(&item, true), ERR_OK);
	assert_int_equal(put("a", "behind it", "y"), ERR_OK);
	item = item_of("b", "1", str_span(big, 100000));
	assert_int_equal(put_item(&item, true), ERR_OK); /* two to a segment */
	path_in(path, sizeof(path), "queue/journal.00000001");
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "?", 1, 20), 1); /* its head */
	close(fd);
	for (unsigned i = 2; i < 20; i++) { /* garbage, so that it is tidied up */
		assert_int_equal(take("b", item.body, QUEUE_DELIVERED) > 0, true);
		snprintf(id, sizeof(id), "%u", i);
		item.transaction_id = str_of(id);
		assert_int_equal(put_item(&item, true), ERR_OK);
	}
	loop_run(the_loop);
	assert_int_equal(segment_count(".damaged"), 1);
	assert_int_equal(read_first("a").e, ERR_NOT_FOUND);
	assert_int_equal(queue_list(q, 0, true, &info, 1), 1);
	expect_str(info.reason, STRL("damaged on the disk"));
	assert_int_equal(settle(info.sequence, QUEUE_DROP, ""), ERR_OK);
	assert_int_equal(put("a", "after it", "z"), ERR_OK);
	close_queue();
	assert_int_equal(try_open(&fault), ERR_OK);
	assert_string_equal(fault.text, "");
	deliver("a", "z");
	take("b", item.body, QUEUE_DELIVERED);
}

/* --- the table --- */

static const enum queue_kind kinds[] = { QUEUE_LMDB, QUEUE_JOURNAL };

#define ON_LMDB(set_up, f)                                                      \
	{                                                                       \
#f " (lmdb)", f, set_up, teardown, (void *)(uintptr_t)&kinds[0] \
	}
#define ON_JOURNAL(set_up, f)                                                      \
	{                                                                          \
#f " (journal)", f, set_up, teardown, (void *)(uintptr_t)&kinds[1] \
	}
#define BOTH(set_up, f) ON_LMDB(set_up, f), ON_JOURNAL(set_up, f)
#define OPEN(f)         BOTH(setup_open, f)
#define JOURNAL(f)      ON_JOURNAL(setup_open, f)
#define CLOSED(f)       BOTH(setup, f)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		OPEN(keeps_every_byte),
		OPEN(bodies_of_every_size),
		OPEN(first_in_first_out_in_each_lane),
		OPEN(many_in_one_group),
		OPEN(large_and_small_keep_their_order),
		OPEN(identical_is_stored_once),
		OPEN(changed_body_replaces_at_its_place),
		OPEN(large_bodies_replace_and_are_replaced),
		OPEN(changed_body_is_new_once_somebody_had_the_first),
		OPEN(tried_items_are_not_replaced),
		OPEN(same_id_twice_at_once),
		OPEN(unparked_items_are_not_replaced),
		OPEN(retried_items_stay_first_and_are_counted),
		OPEN(in_hand_is_not_given_twice),
		OPEN(parked_items_let_others_pass_and_come_back),
		OPEN(dropped_items_are_gone_and_remembered),
		OPEN(one_verdict_at_a_time),
		OPEN(shows_without_changing),
		OPEN(lanes_come_oldest_first),
		OPEN(lists_in_pages),
		OPEN(origins_have_a_quota),
		OPEN(the_limit_changes_meanwhile),
		JOURNAL(a_disk_that_denies_is_one_that_failed),
		OPEN(verdicts_of_nobody_are_given_back),
		OPEN(what_is_given_back_waits_again),
		OPEN(verdicts_outlive_their_owner),
		OPEN(bytes_of_origins_have_a_quota),
		OPEN(strangers_cannot_fill_the_reserve),
		OPEN(replacing_does_not_leak_quota),
		OPEN(seen_ids_are_bounded),
		OPEN(sequence_numbers_are_never_reused),
		OPEN(bad_items_are_refused),
		OPEN(largest_head_fits),
		OPEN(full_store_refuses_and_drains),
		OPEN(space_is_used_again),
		OPEN(cancelled_puts_are_stored_or_not),
		OPEN(closing_while_a_group_is_written),
		OPEN(closing_in_a_callback),
		OPEN(cancelled_reads_leave_it_waiting),
		OPEN(second_user_is_kept_out),
		OPEN(folder_is_private),
		OPEN(newer_store_is_left_alone),
		OPEN(lost_store_is_said),
		OPEN(lost_marker_is_made_again),
		OPEN(other_kind_is_refused),
		OPEN(ids_are_forgotten_after_a_week),
		OPEN(clocks_may_jump),
		OPEN(rotten_items_let_others_pass),
		OPEN(rot_is_found_by_verify),
		OPEN(rotten_parts_are_found),
		JOURNAL(segments_go_when_they_are_empty),
		JOURNAL(missing_segments_are_said),
		JOURNAL(damaged_heads_are_moved_aside),
		JOURNAL(unfinished_writes_are_taken_off),
		JOURNAL(rot_of_a_segment_in_use),
		CLOSED(memory_is_refused),
		CLOSED(impossible_places_are_said),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]); /* for instance "*(lmdb)" */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
