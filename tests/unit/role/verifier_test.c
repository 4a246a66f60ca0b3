/*
 * The verifier over requests that Synapse signed (tests/data/signed), over the same with single bits
 * changed, and in every order of events. Keys come from a script, the pool from the memory loop.
 */
#include "role/verifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/metrics.h"
#include "codec/json/scan.h"
#include "fed/transaction.h"
#include "support/memory_loop.h"

enum { LINES_MAX = 12 };

/* ---- a corpus ---- */

struct corpus {
	char        *text;
	struct arena arena;
	uint64_t     at_unix_ms;
	struct str   origins, requests; /* an object, a list */
};

static struct corpus corpus;

/* One request, its texts in the arena of the corpus. */
struct signed_request {
	struct str   what, want, origin, server_name, method, target, body;
	struct field lines[LINES_MAX];
	size_t       line_count;
};

static struct str member(struct str object, const char *key, enum json_kind kind)
{
	struct json_member m = { .key = str_of(key) };
	struct str         plain;

	assert_int_equal(json_find(object, JSON_REFUSE_REPEAT, &m, 1), ERR_OK);
	assert_int_equal(m.kind, kind);
	if (kind != JSON_STRING)
		return m.value;
	assert_int_equal(json_unescape_copy(m.value, &corpus.arena, &plain), ERR_OK);
	return plain;
}

static void corpus_open(const char *name)
{
	char       path[512];
	FILE      *file;
	long       size;
	uint64_t   at;
	struct str all;

	(void)snprintf(path, sizeof(path), "%s/data/signed/%s", TESTS_DIR, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	assert_true(size > 0);
	rewind(file);
	corpus.text = malloc((size_t)size);
	assert_non_null(corpus.text);
	assert_int_equal(fread(corpus.text, 1, (size_t)size, file), (size_t)size);
	(void)fclose(file);
	arena_init(&corpus.arena, (size_t)64 << 20);
	all = str_span(corpus.text, (size_t)size);
	assert_true(str_to_u64(member(all, "at", JSON_NUMBER), UINT64_MAX, &at));
	corpus.at_unix_ms = at;
	corpus.origins = member(all, "origins", JSON_OBJECT);
	corpus.requests = member(all, "requests", JSON_ARRAY);
}

static void corpus_close(void)
{
	arena_fini(&corpus.arena);
	free(corpus.text);
}

static void read_request(struct str object, struct signed_request *r)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;

	*r = (struct signed_request){
		.what = member(object, "what", JSON_STRING),
		.want = member(object, "want", JSON_STRING),
		.origin = member(object, "origin", JSON_STRING),
		.server_name = member(object, "server_name", JSON_STRING),
		.method = member(object, "method", JSON_STRING),
		.target = member(object, "target", JSON_STRING),
		.body = member(object, "body", JSON_STRING),
	};
	assert_int_equal(
		json_items_begin(&it, member(object, "authorization", JSON_ARRAY), NULL, &kind),
		ERR_OK);
	while (json_items_next(&it, &item) == ERR_OK && item.kind == JSON_STRING) {
		struct field *f = &r->lines[r->line_count++];

		assert_true(r->line_count <= LINES_MAX);
		*f = (struct field){ .id = FIELD_AUTHORIZATION, .name = STR("Authorization") };
		assert_int_equal(json_unescape_copy(item.value, &corpus.arena, &f->value), ERR_OK);
	}
	assert_int_equal(item.kind, JSON_END);
}

/* ---- keys come from the corpus ---- */

struct key_fetch {
	struct key_fetch **slot;
	key_fetch_done_fn *done;
	void              *arg;
	struct soon        soon;
	enum err           err;
	struct str         body;
};

static struct loop *loop;
static enum err     fetch_end; /* how fetches end; ERR_BUSY: not at all */
static size_t       fetches_begun;

static void on_fetch_end(void *arg)
{
	struct key_fetch *k = arg;

	*k->slot = NULL;
	k->done(k->arg, k->err, k->body);
	free(k);
}

enum err key_fetch_start(struct key_fetch **slot, struct key_fetcher *f, struct str server_name,
                         struct str path, key_fetch_done_fn *done, void *arg)
{
	struct key_fetch  *k = calloc(1, sizeof(*k));
	struct json_member m = { .key = server_name };

	(void)f;
	assert_non_null(k);
	assert_true(str_is(path, "/_matrix/key/v2/server"));
	*k = (struct key_fetch){ .slot = slot, .done = done, .arg = arg, .err = fetch_end };
	k->body = STRL("");
	assert_int_equal(json_find(corpus.origins, JSON_REFUSE_REPEAT, &m, 1), ERR_OK);
	if (m.kind != JSON_STRING && fetch_end == ERR_OK)
		k->err = ERR_DNS;
	else if (m.kind == JSON_STRING)
		assert_int_equal(json_unescape_copy(m.value, &corpus.arena, &k->body), ERR_OK);
	soon_init(&k->soon, loop, on_fetch_end, k);
	if (fetch_end != ERR_BUSY)
		soon_call(&k->soon);
	fetches_begun++;
	*slot = k;
	return ERR_OK;
}

void key_fetch_cancel(struct key_fetch **slot)
{
	struct key_fetch *k = *slot;

	if (k == NULL)
		return;
	*slot = NULL;
	soon_clear(&k->soon);
	free(k);
}

bool cache_get(struct cache *c, struct str key, void *room, size_t size, size_t *len)
{
	(void)c, (void)key, (void)room, (void)size, (void)len;
	return false;
}

enum err cache_put(struct cache *c, struct str key, struct str value, uint64_t until_unix_ms)
{
	(void)c, (void)key, (void)value, (void)until_unix_ms;
	return ERR_OK;
}

/* ---- one check at a time ---- */

static struct keyring  *ring;
static struct verifier *verifier;

static struct run {
	struct verifier_check *check;
	struct str             body;
	bool                   is_ready, is_done, inside;
	enum err               err;
	char                   origin[300];
	bool                   keep; /* the body, when it is done */
	struct buf             kept;
} run;

static void note(enum err e, struct str origin)
{
	assert_false(run.inside);
	run.err = e;
	assert_true(str_copy(origin, run.origin, sizeof(run.origin)));
}

static void on_done(void *arg, enum err e, struct str origin, struct buf *body)
{
	assert_ptr_equal(arg, &run);
	assert_null(run.check);
	note(e, origin);
	run.is_done = true;
	assert_true(str_eq(buf_str(body), run.body));
	if (!run.keep)
		return;
	run.kept = *body;
	buf_init(body, 0);
}

static void hand_over_body(void)
{
	struct buf body;

	buf_init(&body, run.body.len);
	if (run.body.len > 0)
		assert_int_equal(buf_add(&body, run.body), ERR_OK);
	run.inside = true;
	verifier_check_body(&run.check, &body, on_done, &run);
	run.inside = false;
	assert_int_equal(buf_len(&body), 0);
	buf_fini(&body);
}

static void on_ready(void *arg, enum err e, struct str origin)
{
	assert_ptr_equal(arg, &run);
	note(e, origin);
	run.is_ready = true;
	assert_int_equal(run.check != NULL, e == ERR_OK);
}

/* What the head borrows is gone when start returns. */
static void begin(const struct signed_request *r)
{
	struct head             head = { .method_text = r->method, .target = r->target };
	struct field            lines[LINES_MAX];
	char                   *copies[LINES_MAX];
	struct verifier_request v = { &head, r->method, r->target, r->server_name, NULL };
	enum err                e;

	run = (struct run){ .body = r->body };
	for (size_t i = 0; i < r->line_count; i++) {
		copies[i] = malloc(r->lines[i].value.len + 1);
		assert_non_null(copies[i]);
		memcpy(copies[i], r->lines[i].value.ptr, r->lines[i].value.len);
		lines[i] = r->lines[i];
		lines[i].value.ptr = copies[i];
	}
	head.fields = lines;
	head.field_count = r->line_count;
	run.inside = true;
	e = verifier_check_start(&run.check, verifier, &v, on_ready, &run);
	run.inside = false;
	assert_int_equal(e, ERR_OK);
	for (size_t i = 0; i < r->line_count; i++)
		free(copies[i]);
}

static enum err verdict(const struct signed_request *r)
{
	begin(r);
	memory_loop_settle(loop);
	assert_true(run.is_ready);
	if (run.err != ERR_OK)
		return run.err;
	hand_over_body();
	memory_loop_settle(loop);
	assert_true(run.is_done);
	return run.err;
}

static int setup(void **state)
{
	struct keyring_options o = { .bytes_max = 65536 };

	log_set_level(LOG_ERROR);
	memset(&metrics, 0, sizeof(metrics));
	fetch_end = ERR_OK;
	fetches_begun = 0;
	corpus_open(*state != NULL ? (const char *)*state : "made.json");
	loop = memory_loop_new();
	memory_loop_set_unix(loop, corpus.at_unix_ms);
	o.loop = loop;
	return keyring_new(&o, &ring) != ERR_OK || verifier_new(loop, ring, &verifier) != ERR_OK;
}

static int teardown(void **state)
{
	(void)state;
	verifier_check_cancel(&run.check);
	verifier_free(verifier);
	memory_loop_settle(loop);
	keyring_free(ring);
	memory_loop_free(loop);
	corpus_close();
	buf_fini(&run.kept);
	assert_int_equal(metrics.gauges[GAUGE_verify_jobs_open].used, 0);
	return 0;
}

/* ---- the corpus ---- */

typedef void each_fn(const struct signed_request *r);

static size_t for_each(each_fn *fn)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	size_t            n = 0;

	assert_int_equal(json_items_begin(&it, corpus.requests, NULL, &kind), ERR_OK);
	while (json_items_next(&it, &item) == ERR_OK && item.kind == JSON_OBJECT) {
		struct signed_request r;

		read_request(item.value, &r);
		fn(&r);
		n++;
	}
	assert_int_equal(item.kind, JSON_END);
	return n;
}

/* What Synapse sends as a transaction is one. */
static void check_transaction(const struct signed_request *r)
{
	struct transaction t;
	enum err           e = ERR_OK;

	if (!str_starts(r->target, STRL("/_matrix/federation/v1/send/")))
		return;
	transaction_init(&t, 0);
	for (struct str rest = r->body; rest.len > 0 && e == ERR_OK; rest = str_from(rest, 1000))
		e = transaction_feed(&t, str_head(rest, 1000), false);
	assert_int_equal(e, ERR_OK);
	assert_int_equal(transaction_feed(&t, STRL(""), true), ERR_OK);
	assert_true(!t.has_origin || str_is(r->origin, t.origin));
}

static void check_want(const struct signed_request *r)
{
	enum err got;

	print_message("  %s: %s\n", r->what.ptr, r->want.ptr);
	got = verdict(r);
	assert_string_equal(err_slug(got), r->want.ptr);
	if (got != ERR_OK)
		return;
	assert_true(str_is(r->origin, run.origin));
	check_transaction(r);
}

static void judges_what_synapse_signed(void **state)
{
	size_t n;

	(void)state;
	n = for_each(check_want);
	print_message("  %zu requests\n", n);
	assert_true(n >= 10);
}

static size_t flips;

static void refuse_changed(const struct signed_request *r, struct str *part, const char *what)
{
	struct str whole = *part;
	char      *copy = malloc(whole.len + 1);
	size_t     step = whole.len > 300 ? whole.len / 150 : 1;

	assert_non_null(copy);
	memcpy(copy, whole.ptr, whole.len);
	part->ptr = copy;
	for (size_t i = 0; i < whole.len; i += step) {
		copy[i] ^= 1;
		if (verdict(r) == ERR_OK)
			fail_msg("%s of \"%s\" at %zu", what, r->what.ptr, i);
		copy[i] ^= 1;
		flips++;
	}
	*part = whole;
	free(copy);
}

/* One bit after the other. Header lines say the same in several ways; those are the codec's tests. */
static void change_everything(const struct signed_request *r)
{
	struct signed_request w = *r;

	if (!str_is(r->want, "ok"))
		return;
	refuse_changed(&w, &w.method, "method");
	refuse_changed(&w, &w.target, "target");
	if (!str_eq(r->server_name, STRL("relay.example")) || strstr(r->what.ptr, "no destination"))
		refuse_changed(&w, &w.server_name, "server name");
	refuse_changed(&w, &w.body, "body");
}

static void every_bit_is_signed(void **state)
{
	(void)state;
	flips = 0;
	for_each(change_everything);
	print_message("  %zu changes\n", flips);
	assert_true(flips > 500);
}

/* ---- order of cost ---- */

static struct signed_request named(const char *what)
{
	struct json_items     it;
	struct json_item      item;
	enum json_kind        kind;
	struct signed_request r;

	assert_int_equal(json_items_begin(&it, corpus.requests, NULL, &kind), ERR_OK);
	while (json_items_next(&it, &item) == ERR_OK && item.kind == JSON_OBJECT) {
		read_request(item.value, &r);
		if (str_is(r.what, what))
			return r;
	}
	fail_msg("%s is not in the corpus", what);
	return r;
}

static void the_cheap_comes_first(void **state)
{
	const char *const without_keys[] = { "no signature",
		                             "two origins",
		                             "nine lines",
		                             "for another",
		                             "another algorithm alone",
		                             "no key id",
		                             "two signatures by one key",
		                             "signature too long" };

	(void)state;
	for (size_t i = 0; i < sizeof(without_keys) / sizeof(without_keys[0]); i++) {
		struct signed_request r = named(without_keys[i]);

		print_message("  %s\n", without_keys[i]);
		assert_int_not_equal(verdict(&r), ERR_OK);
		assert_false(run.is_done); /* the body was not asked for */
		assert_int_equal(fetches_begun, 0);
	}
}

static void keys_come_before_the_body(void **state)
{
	struct signed_request r = named("a message");

	(void)state;
	fetch_end = ERR_BUSY;
	begin(&r);
	memory_loop_settle(loop);
	assert_false(run.is_ready);
	assert_int_equal(fetches_begun, 1);
	verifier_check_cancel(&run.check);
	assert_null(run.check);
	verifier_check_cancel(&run.check);
	memory_loop_settle(loop);
	assert_false(run.is_ready);
}

static void without_keys_it_depends(void **state)
{
	const struct {
		enum err end, want;
	} ends[] = {
		{ ERR_TIMEOUT, ERR_BUSY },     { ERR_REFUSED, ERR_BUSY },
		{ ERR_DNS, ERR_BUSY },         { ERR_BAD_ANSWER, ERR_BUSY },
		{ ERR_CERTIFICATE, ERR_BUSY }, { ERR_BLOCKED, ERR_SIGNATURE },
		{ ERR_TOO_LARGE, ERR_BUSY },   { ERR_SYNTAX, ERR_BUSY },
		{ ERR_SIGNATURE, ERR_BUSY },   { ERR_NOMEM, ERR_NOMEM },
	};
	struct signed_request r = named("a message");

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		fetch_end = ends[i].end;
		print_message("  %s\n", err_slug(fetch_end));
		assert_int_equal(verdict(&r), ends[i].want);
		assert_string_equal(run.origin, "a.example");
		memory_loop_pass(loop, HOUR_MS);
	}
	fetch_end = ERR_OK;
	assert_int_equal(verdict(&r), ERR_OK);
}

static void verified_origins_are_vouched_for(void **state)
{
	struct signed_request good = named("a message"), forged = named("another body");

	(void)state;
	assert_int_equal(verdict(&forged), ERR_SIGNATURE);
	assert_false(keyring_is_vouched(ring, STRL("a.example")));
	assert_int_equal(verdict(&good), ERR_OK);
	assert_true(keyring_is_vouched(ring, STRL("a.example")));
	assert_int_equal(fetches_begun, 1);
	assert_int_equal(metrics.counters[COUNT_verified], 1);
	assert_int_equal(metrics.causes[CAUSE_verify_failures][ERR_SIGNATURE], 1);
}

/* ---- large bodies ---- */

static void large_bodies_go_to_the_pool(void **state)
{
	struct signed_request large = named("large"), small = named("a message");

	(void)state;
	assert_true(large.body.len > VERIFIER_INLINE_MAX);
	memory_loop_hold_jobs(loop, true);
	begin(&small);
	memory_loop_settle(loop);
	hand_over_body();
	memory_loop_settle(loop);
	assert_true(run.is_done);
	begin(&large);
	memory_loop_settle(loop);
	hand_over_body();
	memory_loop_settle(loop);
	assert_false(run.is_done);
	assert_int_equal(memory_loop_jobs(loop), 1);
	memory_loop_hold_jobs(loop, false);
	memory_loop_settle(loop);
	assert_true(run.is_done);
	assert_int_equal(run.err, ERR_OK);
}

static void large_bodies_take_turns(void **state)
{
	struct signed_request  large = named("large");
	struct verifier_check *first;

	(void)state;
	memory_loop_hold_jobs(loop, true);
	begin(&large);
	memory_loop_settle(loop);
	hand_over_body();
	first = run.check;
	begin(&large);
	memory_loop_settle(loop);
	hand_over_body();
	memory_loop_settle(loop);
	assert_int_equal(memory_loop_jobs(loop), 1);
	/* the slot of the first was moved, so that it can only be forgotten by its address */
	assert_ptr_not_equal(first, run.check);
	verifier_check_cancel(&run.check); /* while it waits for its turn */
	memory_loop_settle(loop);
	assert_int_equal(memory_loop_jobs(loop), 1);
	run.check = first;
	memory_loop_hold_jobs(loop, false);
	memory_loop_settle(loop);
	assert_true(run.is_done);
	assert_int_equal(run.err, ERR_OK);
}

static void cancelled_jobs_end_later(void **state)
{
	struct signed_request large = named("large");

	(void)state;
	memory_loop_hold_jobs(loop, true);
	begin(&large);
	memory_loop_settle(loop);
	hand_over_body();
	memory_loop_settle(loop);
	verifier_check_cancel(&run.check);
	assert_null(run.check);
	/* even after the verifier is gone */
	verifier_free(verifier);
	verifier = NULL;
	memory_loop_hold_jobs(loop, false);
	memory_loop_settle(loop);
	assert_false(run.is_done);
}

static void cancelled_small_bodies_are_not_looked_at(void **state)
{
	struct signed_request small = named("a message");

	(void)state;
	begin(&small);
	memory_loop_settle(loop);
	hand_over_body();
	verifier_check_cancel(&run.check);
	memory_loop_settle(loop);
	assert_false(run.is_done);
}

static void bodies_come_back(void **state)
{
	struct signed_request large = named("large");

	(void)state;
	begin(&large);
	memory_loop_settle(loop);
	run.keep = true;
	hand_over_body();
	memory_loop_settle(loop);
	assert_true(str_eq(buf_str(&run.kept), large.body));
}

int main(void)
{
#define MADE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define RECORDED(f)                                                                       \
	{                                                                                 \
#f " (recorded)", f, setup, teardown, (void *)(uintptr_t) "recorded.json" \
	}
	const struct CMUnitTest tests[] = {
		MADE(judges_what_synapse_signed),
		RECORDED(judges_what_synapse_signed),
		MADE(every_bit_is_signed),
		RECORDED(every_bit_is_signed),
		MADE(the_cheap_comes_first),
		MADE(keys_come_before_the_body),
		MADE(without_keys_it_depends),
		MADE(verified_origins_are_vouched_for),
		MADE(large_bodies_go_to_the_pool),
		MADE(large_bodies_take_turns),
		MADE(cancelled_jobs_end_later),
		MADE(cancelled_small_bodies_are_not_looked_at),
		MADE(bodies_come_back),
	};
#undef RECORDED
#undef MADE

	check(signing_init() == ERR_OK);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
