/*
 * The keyring against fetches that are a script: slow, failing, forged. Time stands until it is moved;
 * key_fetch_start and the cache are the test's own.
 */
#include "role/keyring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "codec/matrix/signed_json.h"
#include "support/memory_loop.h"

#define UNIX_NOW  1800000000000ull
#define ID        STRL("ed25519:1")
#define BYTES_MAX ((size_t)64 * 1024)

enum { LOOKUPS_MAX = 80 };

/* ---- the fetches, in order of their start ---- */

struct key_fetch {
	struct link        link; /* on fetches */
	struct key_fetch **slot;
	key_fetch_done_fn *done;
	void              *arg;
	char               name[300], path[900];
};

static struct link fetches;
static size_t      fetch_count, fetch_peak, fetches_begun;
static enum err    fetch_refusal; /* of key_fetch_start */

enum err key_fetch_start(struct key_fetch **slot, struct key_fetcher *f, struct str server_name,
                         struct str path, key_fetch_done_fn *done, void *arg)
{
	struct key_fetch *k;

	(void)f;
	if (fetch_refusal != ERR_OK)
		return fetch_refusal;
	k = calloc(1, sizeof(*k));
	assert_non_null(k);
	k->slot = slot;
	k->done = done;
	k->arg = arg;
	assert_true(str_copy(server_name, k->name, sizeof(k->name)));
	assert_true(str_copy(path, k->path, sizeof(k->path)));
	list_push_back(&fetches, &k->link);
	fetches_begun++;
	if (++fetch_count > fetch_peak)
		fetch_peak = fetch_count;
	*slot = k;
	return ERR_OK;
}

void key_fetch_cancel(struct key_fetch **slot)
{
	struct key_fetch *k = *slot;

	if (k == NULL)
		return;
	*slot = NULL;
	list_remove(&k->link);
	fetch_count--;
	free(k);
}

static struct key_fetch *fetch_of(const char *name)
{
	for (struct link *l = fetches.next; l != &fetches; l = l->next) {
		struct key_fetch *k = LIST_ENTRY(l, struct key_fetch, link);

		if (strcmp(k->name, name) == 0)
			return k;
	}
	return NULL;
}

/* The fetch from that server ends. */
static void fetch_ends(const char *name, enum err e, struct str body)
{
	struct key_fetch *k = fetch_of(name), was;

	assert_non_null(k);
	was = *k;
	key_fetch_cancel(was.slot);
	was.done(was.arg, e, body);
}

/* ---- the cache ---- */

struct cached {
	struct link link;
	char        key[CACHE_KEY_MAX + 1];
	size_t      len;
	char        bytes[8 + SERVER_KEYS_BYTES_MAX];
};

static struct link cached;
static size_t      puts_;
static int         a_cache; /* its address stands for one */

static struct cached *cached_of(struct str key)
{
	for (struct link *l = cached.next; l != &cached; l = l->next) {
		struct cached *c = LIST_ENTRY(l, struct cached, link);

		if (str_is(key, c->key))
			return c;
	}
	return NULL;
}

bool cache_get(struct cache *c, struct str key, void *room, size_t size, size_t *len)
{
	const struct cached *found = cached_of(key);

	(void)c;
	if (found == NULL || found->len > size)
		return false;
	memcpy(room, found->bytes, found->len);
	*len = found->len;
	return true;
}

enum err cache_put(struct cache *c, struct str key, struct str value, uint64_t until_unix_ms)
{
	struct cached *entry = cached_of(key);

	(void)c;
	assert_true(until_unix_ms > UNIX_NOW);
	if (entry == NULL) {
		entry = calloc(1, sizeof(*entry));
		assert_non_null(entry);
		list_push_back(&cached, &entry->link);
	}
	assert_true(str_copy(key, entry->key, sizeof(entry->key)));
	assert_true(value.len <= sizeof(entry->bytes));
	memcpy(entry->bytes, value.ptr, value.len);
	entry->len = value.len;
	puts_++;
	return ERR_OK;
}

/* ---- documents ---- */

static struct signing_pair pair_of(uint8_t n)
{
	uint8_t             seed[SIGNING_SEED_BYTES] = { n };
	struct signing_pair p;

	signing_pair_from_seed(seed, &p);
	return p;
}

static void write_signature(struct writer *w, struct str doc, const char *id, uint8_t pair)
{
	struct signing_pair p = pair_of(pair);
	struct signing_sig  sig;

	assert_int_equal(signed_json_sign(doc, &p, &sig), ERR_OK);
	write_text(w, "{\"");
	write_text(w, id);
	write_text(w, "\":\"");
	signing_sig_write(w, &sig);
	write_text(w, "\"}");
}

static void write_members(struct writer *w, const char *name, const char *id, uint8_t pair,
                          uint64_t until)
{
	struct signing_pair p = pair_of(pair);

	write_text(w, "{\"server_name\":\"");
	write_text(w, name);
	write_text(w, "\",\"valid_until_ts\":");
	write_u64(w, until);
	write_text(w, ",\"verify_keys\":{\"");
	write_text(w, id);
	write_text(w, "\":{\"key\":\"");
	signing_key_write(w, &p.key);
	write_text(w, "\"}}");
}

/* Listing the key of one pair, signed by another, and maybe by the notary. */
static struct str document(const char *name, const char *id, uint8_t lists, uint8_t signs,
                           uint64_t until, bool by_notary)
{
	static char   room[2000];
	char          plain[1000];
	struct writer w = writer_over(room, sizeof(room)), p = writer_over(plain, sizeof(plain));

	write_members(&p, name, id, lists, until);
	write_text(&p, "}");
	write_members(&w, name, id, lists, until);
	write_text(&w, ",\"signatures\":{\"");
	write_text(&w, name);
	write_text(&w, "\":");
	write_signature(&w, writer_done(&p), id, signs);
	if (by_notary) {
		write_text(&w, ",\"n.example\":");
		write_signature(&w, writer_done(&p), "ed25519:n", 99);
	}
	write_text(&w, "}}");
	assert_false(w.failed || p.failed);
	return writer_done(&w);
}

static struct str good(const char *name)
{
	return document(name, "ed25519:1", 1, 1, UNIX_NOW + DAY_MS, false);
}

static struct str answer(struct str doc)
{
	static char   room[3000];
	struct writer w = writer_over(room, sizeof(room));

	write_text(&w, "{\"server_keys\":[");
	write_str(&w, doc);
	write_text(&w, "]}");
	assert_false(w.failed);
	return writer_done(&w);
}

/* ---- the world ---- */

struct told {
	struct key_lookup *lookup;
	bool               is_told;
	enum err           err;
	bool               found; /* ID is good in what was told */
};

static struct loop              *loop;
static struct keyring           *ring;
static struct told               told[LOOKUPS_MAX];
static struct server_keys_notary notary;
static bool                      clock_set;

static bool is_clock_set(void *arg)
{
	(void)arg;
	return clock_set;
}

/* In the place of the one before. */
static void new_ring(size_t notaries, bool with_cache, size_t bytes_max)
{
	struct keyring_options o = {
		.loop = loop,
		.cache = with_cache ? (struct cache *)(void *)&a_cache : NULL,
		.bytes_max = bytes_max,
		.notaries = &notary,
		.notary_count = notaries,
		.clock_is_set = is_clock_set,
	};

	keyring_free(ring);
	assert_int_equal(keyring_new(&o, &ring), ERR_OK);
}

static int setup(void **state)
{
	struct signing_pair n = pair_of(99);
	char                text[200];
	struct writer       w = writer_over(text, sizeof(text));

	(void)state;
	log_set_level(LOG_ERROR);
	memset(&metrics, 0, sizeof(metrics));
	memset(told, 0, sizeof(told));
	list_init(&fetches);
	list_init(&cached);
	fetch_count = fetch_peak = fetches_begun = puts_ = 0;
	fetch_refusal = ERR_OK;
	clock_set = true;
	write_text(&w, "n.example ed25519:n ");
	signing_key_write(&w, &n.key);
	assert_int_equal(server_keys_notary_parse(writer_done(&w), &notary), ERR_OK);
	loop = memory_loop_new();
	memory_loop_set_unix(loop, UNIX_NOW);
	new_ring(1, true, BYTES_MAX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < LOOKUPS_MAX; i++)
		key_lookup_cancel(&told[i].lookup);
	memory_loop_settle(loop);
	keyring_free(ring);
	ring = NULL;
	assert_int_equal(fetch_count, 0);
	memory_loop_free(loop);
	while (!list_empty(&cached))
		free(LIST_ENTRY(list_pop(&cached), struct cached, link));
	assert_int_equal(metrics.gauges[GAUGE_key_fetches_open].used, 0);
	assert_int_equal(metrics.gauges[GAUGE_key_lookups_waiting].used, 0);
	return 0;
}

static void on_told(void *arg, enum err e, const struct server_keys *keys)
{
	struct told              *t = arg;
	const struct signing_key *key;

	assert_false(t->is_told);
	assert_null(t->lookup);
	assert_int_equal(keys != NULL, e == ERR_OK);
	t->is_told = true;
	t->err = e;
	t->found = keys != NULL && server_keys_find(keys, ID, keyring_clock(ring), &key) == ERR_OK;
}

/* The n-th lookup, by client 8.8.8.c; 0: by nobody. */
static void ask_as(size_t n, const char *name, struct str id, uint8_t c)
{
	struct address client = address_v4(8, 8, 8, c, 4000);

	key_lookup_cancel(&told[n].lookup);
	told[n] = (struct told){ .lookup = NULL };
	assert_int_equal(key_lookup_start(&told[n].lookup, ring, str_of(name), &id, 1,
	                                  c == 0 ? NULL : &client, on_told, &told[n]),
	                 ERR_OK);
	assert_false(told[n].is_told); /* never from inside */
	memory_loop_settle(loop);
}

static void ask(size_t n, const char *name)
{
	ask_as(n, name, ID, 0);
}

/* What lookup n was told; ERR_CANCELLED: nothing yet. */
static enum err was_told(size_t n)
{
	return told[n].is_told ? told[n].err : ERR_CANCELLED;
}

static struct keyring_figures figures(void)
{
	struct keyring_figures f;

	keyring_figures(ring, &f);
	return f;
}

static void know(const char *name)
{
	ask(LOOKUPS_MAX - 1, name);
	fetch_ends(name, ERR_OK, good(name));
	assert_int_equal(was_told(LOOKUPS_MAX - 1), ERR_OK);
}

/* ---- the normal case ---- */

static void fetches_once(void **state)
{
	(void)state;
	ask(0, "a.example");
	ask(1, "a.example");
	assert_int_equal(was_told(0), ERR_CANCELLED);
	assert_int_equal(fetch_count, 1);
	assert_string_equal(fetch_of("a.example")->path, "/_matrix/key/v2/server");
	fetch_ends("a.example", ERR_OK, good("a.example"));
	assert_int_equal(was_told(0), ERR_OK);
	assert_int_equal(was_told(1), ERR_OK);
	assert_true(told[0].found && told[1].found);
	ask(2, "a.example");
	assert_int_equal(was_told(2), ERR_OK);
	assert_true(told[2].found);
	assert_int_equal(fetches_begun, 1);
	assert_int_equal(metrics.counters[COUNT_key_joined], 1);
	assert_int_equal(metrics.counters[COUNT_key_cached], 1);
}

static void names_are_told_apart(void **state)
{
	(void)state;
	ask(0, "a.example");
	ask(1, "A.example");
	ask(2, "a.example:8448");
	assert_int_equal(fetch_count, 3);
	fetch_ends("A.example", ERR_OK, good("a.example"));
	assert_int_equal(was_told(0), ERR_CANCELLED);
	assert_int_equal(fetch_count, 3); /* a notary is asked about A.example now */
	assert_string_equal(fetch_of("n.example")->path, "/_matrix/key/v2/query/A.example");
	fetch_ends("n.example", ERR_OK, STRL("{\"server_keys\":[]}"));
	assert_int_equal(was_told(1), ERR_NOT_FOUND);
}

static void refuses_what_is_no_name(void **state)
{
	const struct str   bad[] = { STR(""), STR("a/../b"), STR("a b"), STR("a?x"), STR("a%2fb") };
	struct key_lookup *l = NULL;
	struct str         id = ID;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(key_lookup_start(&l, ring, bad[i], &id, 1, NULL, on_told, NULL),
		                 ERR_SYNTAX);
	assert_null(l);
	assert_int_equal(fetches_begun, 0);
}

static void cancelled_lookups_are_not_told(void **state)
{
	(void)state;
	ask(0, "a.example");
	ask(1, "a.example");
	key_lookup_cancel(&told[0].lookup);
	key_lookup_cancel(&told[0].lookup);
	fetch_ends("a.example", ERR_OK, good("a.example"));
	assert_int_equal(was_told(0), ERR_CANCELLED);
	assert_int_equal(was_told(1), ERR_OK);
	/* without anybody left, for the memory */
	ask(2, "b.example");
	key_lookup_cancel(&told[2].lookup);
	fetch_ends("b.example", ERR_OK, good("b.example"));
	ask(3, "b.example");
	assert_true(told[3].found);
	assert_int_equal(fetches_begun, 2);
}

/* ---- forged, failing, slow ---- */

static void forged_documents_are_refused(void **state)
{
	const struct {
		const char *what;
		struct str  body;
		enum err    want;
	} rows[] = {
		{ "another name", good("b.example"), ERR_NOT_FOUND },
		{ "rubbish", STR("<html>"), ERR_SYNTAX },
		{ "nothing", STR(""), ERR_SYNTAX },
	};

	(void)state;
	new_ring(0, true, BYTES_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %s\n", rows[i].what);
		ask(i, "a.example");
		fetch_ends("a.example", ERR_OK, rows[i].body);
		assert_int_equal(was_told(i), rows[i].want);
		memory_loop_pass(loop, HOUR_MS);
	}
	ask(9, "a.example");
	fetch_ends("a.example", ERR_OK,
	           document("a.example", "ed25519:1", 1, 2, UNIX_NOW + 9 * DAY_MS, false));
	assert_int_equal(was_told(9), ERR_SIGNATURE);
	assert_int_equal(figures().known, 0);
	assert_int_equal(puts_, 0);
}

static void a_notary_is_second(void **state)
{
	(void)state;
	ask(0, "a.example");
	fetch_ends("a.example", ERR_TIMEOUT, STRL(""));
	assert_int_equal(was_told(0), ERR_CANCELLED);
	/* signed by both: taken */
	fetch_ends("n.example", ERR_OK,
	           answer(document("a.example", "ed25519:1", 1, 1, UNIX_NOW + DAY_MS, true)));
	assert_true(told[0].found);
	/* by one of them: not */
	ask(1, "b.example");
	fetch_ends("b.example", ERR_REFUSED, STRL(""));
	fetch_ends("n.example", ERR_OK, answer(good("b.example")));
	assert_int_equal(was_told(1), ERR_REFUSED); /* what the server itself did */
	ask(2, "c.example");
	fetch_ends("c.example", ERR_DNS, STRL(""));
	fetch_ends("n.example", ERR_OK,
	           answer(document("c.example", "ed25519:1", 1, 2, UNIX_NOW + DAY_MS, true)));
	assert_int_equal(was_told(2), ERR_DNS);
	/* that is not there is left alone for a while */
	ask(3, "d.example");
	fetch_ends("d.example", ERR_TIMEOUT, STRL(""));
	fetch_ends("n.example", ERR_TIMEOUT, STRL(""));
	ask(4, "e.example");
	fetch_ends("e.example", ERR_TIMEOUT, STRL(""));
	assert_int_equal(was_told(4), ERR_TIMEOUT);
	/* not about itself */
	memory_loop_pass(loop, HOUR_MS);
	ask(5, "n.example");
	fetch_ends("n.example", ERR_RESET, STRL(""));
	assert_int_equal(was_told(5), ERR_RESET);
	assert_int_equal(metrics.counters[COUNT_key_fetches_notary], 4);
}

static void literals_are_spelt_in_paths(void **state)
{
	(void)state;
	ask(0, "[2001:db8::1]:8448");
	fetch_ends("[2001:db8::1]:8448", ERR_TIMEOUT, STRL(""));
	assert_string_equal(fetch_of("n.example")->path,
	                    "/_matrix/key/v2/query/%5B2001:db8::1%5D:8448");
}

static void failures_make_growing_pauses(void **state)
{
	const unsigned minutes[] = { 1, 2, 4, 8, 16, 32, 60, 60 };

	(void)state;
	new_ring(0, true, BYTES_MAX);
	for (size_t i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
		ask(0, "a.example");
		fetch_ends("a.example", ERR_TIMEOUT, STRL(""));
		assert_int_equal(was_told(0), ERR_TIMEOUT);
		memory_loop_pass(loop, minutes[i] * MINUTE_MS - 1);
		ask(1, "a.example");
		assert_int_equal(was_told(1), ERR_TIMEOUT);
		assert_int_equal(fetch_count, 0);
		memory_loop_pass(loop, 1);
	}
	/* until it works again */
	know("a.example");
	assert_int_equal(figures().failed, 0);
}

static void pauses_of_the_vouched_are_short(void **state)
{
	(void)state;
	new_ring(0, true, BYTES_MAX);
	know("a.example");
	keyring_vouch(ring, STRL("a.example"));
	memory_loop_pass(loop, 8 * DAY_MS);
	for (size_t i = 0; i < 9; i++) {
		ask(0, "a.example");
		fetch_ends("a.example", ERR_TIMEOUT, STRL(""));
		memory_loop_pass(loop, 5 * MINUTE_MS);
	}
	assert_int_equal(fetches_begun, 10);
}

static void nothing_is_known_without_a_clock(void **state)
{
	(void)state;
	know("a.example");
	clock_set = false;
	ask(0, "a.example");
	ask(1, "b.example");
	assert_int_equal(was_told(0), ERR_BUSY);
	assert_int_equal(was_told(1), ERR_BUSY);
	clock_set = true;
	memory_loop_set_unix(loop, 0);
	ask(2, "a.example");
	assert_int_equal(was_told(2), ERR_BUSY);
	memory_loop_set_unix(loop, UNIX_NOW);
	ask(3, "a.example");
	assert_true(told[3].found);
	assert_int_equal(metrics.counters[COUNT_key_refused_clock], 3);
}

/* ---- time ---- */

static void expired_keys_are_fetched_anew(void **state)
{
	(void)state;
	know("a.example");
	memory_loop_pass(loop, DAY_MS + 1);
	ask(0, "a.example");
	assert_int_equal(was_told(0), ERR_CANCELLED);
	fetch_ends("a.example", ERR_OK,
	           document("a.example", "ed25519:1", 1, 1, UNIX_NOW + 2 * DAY_MS, false));
	assert_true(told[0].found);
}

static void unknown_ids_are_looked_for_now_and_then(void **state)
{
	(void)state;
	know("a.example");
	for (unsigned minute = 0; minute < 60; minute++) {
		ask_as(0, "a.example", STRL("ed25519:invented"), 0);
		if (fetch_count > 0)
			fetch_ends("a.example", ERR_OK, good("a.example"));
		assert_int_equal(was_told(0), ERR_OK); /* what it lists, as it is */
		memory_loop_pass(loop, MINUTE_MS);
		ask(1, "a.example"); /* nobody else is disturbed */
		assert_true(told[1].found);
	}
	assert_int_equal(fetches_begun, 1 + 11);
}

static void new_ids_are_found(void **state)
{
	(void)state;
	know("a.example");
	memory_loop_pass(loop, 6 * MINUTE_MS);
	ask_as(0, "a.example", STRL("ed25519:2"), 0);
	fetch_ends("a.example", ERR_OK,
	           document("a.example", "ed25519:2", 2, 2, UNIX_NOW + DAY_MS, false));
	assert_int_equal(was_told(0), ERR_OK);
	assert_true(told[0].found); /* the one from before is good, too, while it lasts */
	assert_int_equal(metrics.counters[COUNT_key_changed], 0);
	memory_loop_pass(loop, 6 * MINUTE_MS);
	ask_as(1, "a.example", STRL("ed25519:3"), 0);
	fetch_ends("a.example", ERR_OK,
	           document("a.example", "ed25519:2", 3, 3, UNIX_NOW + DAY_MS, false));
	assert_int_equal(metrics.counters[COUNT_key_changed], 1);
}

static void keys_of_the_vouched_are_refreshed_in_time(void **state)
{
	(void)state;
	know("a.example");
	know("b.example");
	keyring_vouch(ring, STRL("a.example"));
	memory_loop_pass(loop, DAY_MS - HOUR_MS);
	ask(0, "a.example");
	ask(1, "b.example");
	ask(2, "a.example");
	assert_true(told[0].found && told[1].found && told[2].found);
	assert_int_equal(fetch_count, 1); /* in the background, once, for the one */
	fetch_ends("a.example", ERR_OK,
	           document("a.example", "ed25519:1", 1, 1, UNIX_NOW + 2 * DAY_MS, false));
	memory_loop_pass(loop, 2 * HOUR_MS);
	ask(3, "a.example");
	assert_true(told[3].found);
	assert_int_equal(fetch_count, 0);
}

/* ---- ceilings ---- */

static const char *name_of(unsigned n)
{
	static char text[32];

	(void)snprintf(text, sizeof(text), "s%u.example", n);
	return text;
}

static void places_are_limited_and_one_is_kept(void **state)
{
	(void)state;
	know("a.example");
	keyring_vouch(ring, STRL("a.example"));
	memory_loop_pass(loop, 2 * DAY_MS);
	for (unsigned i = 0; i < 9; i++)
		ask(i, name_of(i));
	assert_int_equal(fetch_count, 7);
	assert_int_equal(was_told(6), ERR_CANCELLED);
	assert_int_equal(was_told(7), ERR_BUSY);
	assert_int_equal(was_told(8), ERR_BUSY);
	ask(9, "a.example");
	assert_int_equal(fetch_count, 8);
	assert_int_equal(was_told(9), ERR_CANCELLED);
	assert_int_equal(metrics.counters[COUNT_key_refused_places], 2);
	/* to be refused is nothing that is remembered */
	fetch_ends("s0.example", ERR_OK, good("s0.example"));
	fetch_ends("s1.example", ERR_OK, good("s1.example"));
	ask(7, name_of(7));
	assert_int_equal(was_told(7), ERR_CANCELLED);
}

static void waiters_are_limited(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++)
		ask(i, "a.example");
	assert_int_equal(figures().waiting, 8);
	assert_int_equal(was_told(7), ERR_CANCELLED);
	assert_int_equal(was_told(8), ERR_BUSY);
	key_lookup_cancel(&told[3].lookup);
	ask(10, "a.example");
	assert_int_equal(was_told(10), ERR_CANCELLED);
	fetch_ends("a.example", ERR_OK, good("a.example"));
	assert_true(told[0].found && told[7].found && told[10].found);
	assert_int_equal(metrics.counters[COUNT_key_refused_waiters], 2);
}

static void clients_are_limited(void **state)
{
	(void)state;
	ask_as(0, name_of(0), ID, 1);
	ask_as(1, name_of(1), ID, 1);
	ask_as(2, name_of(2), ID, 1);
	ask_as(3, name_of(3), ID, 2);
	assert_int_equal(was_told(1), ERR_CANCELLED);
	assert_int_equal(was_told(2), ERR_BUSY);
	assert_int_equal(was_told(3), ERR_CANCELLED);
	/* to wait for what is under way costs nothing */
	ask_as(4, name_of(3), ID, 1);
	assert_int_equal(was_told(4), ERR_CANCELLED);
	assert_int_equal(metrics.counters[COUNT_key_refused_client], 1);
}

/* A proxy in front of us, or a homeserver of ours. */
static void our_own_are_not_limited(void **state)
{
	struct str     id = ID;
	struct address own[] = { address_v4(127, 0, 0, 1, 5), address_v4(192, 168, 1, 20, 5) };

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(key_lookup_start(&told[i].lookup, ring,
		                                  str_of(name_of((unsigned)i)), &id, 1, &own[i % 2],
		                                  on_told, &told[i]),
		                 ERR_OK);
	memory_loop_settle(loop);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(was_told(i), ERR_CANCELLED);
	assert_int_equal(metrics.counters[COUNT_key_refused_client], 0);
}

static void networks_are_one_client(void **state)
{
	struct str     id = ID;
	struct address near = { ADDRESS_V6, { 0x2a, 0, 0x14, 0x50, 0, 0, 0, 1 }, 1 }, far = near;

	(void)state;
	far.ip[7] = 2;
	for (size_t i = 0; i < 5; i++) {
		near.ip[15] = (uint8_t)i;
		assert_int_equal(key_lookup_start(&told[i].lookup, ring,
		                                  str_of(name_of((unsigned)i)), &id, 1,
		                                  i < 3 ? &near : &far, on_told, &told[i]),
		                 ERR_OK);
	}
	memory_loop_settle(loop);
	assert_int_equal(was_told(1), ERR_CANCELLED);
	assert_int_equal(was_told(2), ERR_BUSY);
	assert_int_equal(was_told(4), ERR_CANCELLED);
}

static void clients_have_a_pace(void **state)
{
	unsigned begun = 0;

	(void)state;
	new_ring(0, true, BYTES_MAX);
	for (unsigned i = 0; i < 1000; i++) {
		ask_as(0, name_of(i), ID, 1);
		if (fetch_count > 0)
			fetch_ends(name_of(i), ERR_REFUSED, STRL(""));
		else
			assert_int_equal(was_told(0), ERR_BUSY);
		memory_loop_pass(loop, 100);
	}
	begun = (unsigned)fetches_begun; /* in 100 seconds */
	print_message("  %u fetches in 100 s\n", begun);
	assert_in_range(begun, KEYRING_CLIENT_BURST + 95, KEYRING_CLIENT_BURST + 100);
}

/* ---- memory ---- */

static void only_vouched_keys_are_written(void **state)
{
	(void)state;
	know("a.example");
	know("b.example");
	assert_int_equal(puts_, 0);
	assert_false(keyring_is_vouched(ring, STRL("a.example")));
	keyring_vouch(ring, STRL("a.example"));
	keyring_vouch(ring, STRL("a.example"));
	keyring_vouch(ring, STRL("nobody.example"));
	assert_int_equal(puts_, 1);
	assert_true(keyring_is_vouched(ring, STRL("a.example")));
	memory_loop_pass(loop, 23 * HOUR_MS);
	keyring_vouch(ring, STRL("a.example"));
	assert_int_equal(puts_, 1);
	memory_loop_pass(loop, HOUR_MS);
	keyring_vouch(ring, STRL("a.example"));
	assert_int_equal(puts_, 2);
	/* what is fetched of them, at once */
	ask_as(0, "a.example", STRL("ed25519:2"), 0);
	fetch_ends("a.example", ERR_OK, good("a.example"));
	assert_int_equal(puts_, 3);
}

static void a_restart_forgets_nothing_vouched(void **state)
{
	(void)state;
	know("a.example");
	know("b.example");
	keyring_vouch(ring, STRL("a.example"));
	new_ring(1, true, BYTES_MAX);
	ask(0, "a.example");
	ask(1, "b.example");
	assert_true(told[0].found);
	assert_true(keyring_is_vouched(ring, STRL("a.example")));
	assert_int_equal(was_told(1), ERR_CANCELLED);
}

static void damage_is_ignorance(void **state)
{
	struct cached *c;

	(void)state;
	know("a.example");
	keyring_vouch(ring, STRL("a.example"));
	c = cached_of(STRL("keys/a.example"));
	assert_non_null(c);
	for (size_t len = 0; len < c->len; len++) {
		size_t whole = c->len;

		new_ring(0, true, BYTES_MAX);
		c->len = len;
		ask(0, "a.example");
		assert_int_equal(was_told(0), ERR_CANCELLED);
		key_lookup_cancel(&told[0].lookup);
		c->len = whole;
	}
}

static void strangers_do_not_drive_out_others(void **state)
{
	(void)state;
	new_ring(0, false, 16 * 1024);
	for (unsigned i = 0; i < 20; i++) {
		know(name_of(i));
		keyring_vouch(ring, str_of(name_of(i)));
	}
	for (unsigned i = 100; i < 600; i++) {
		know(name_of(i));
		assert_true(figures().known_bytes <= 16 * 1024);
	}
	assert_int_equal(figures().vouched, 20);
	for (unsigned i = 0; i < 20; i++) {
		ask(0, name_of(i));
		assert_true(told[0].found);
	}
	print_message("  16 KB hold 20 that were vouched for and %zu strangers\n",
	              figures().known - 20);
	assert_true(figures().known > 20);
}

static void memory_may_be_gone(void **state)
{
	(void)state;
	fetch_refusal = ERR_NOMEM;
	ask(0, "a.example");
	assert_int_equal(was_told(0), ERR_NOMEM);
	fetch_refusal = ERR_OK;
	ask(1, "a.example"); /* which says nothing about the name */
	assert_int_equal(was_told(1), ERR_CANCELLED);
	key_lookup_cancel(&told[1].lookup);
	/* no room at all: it works, and remembers nothing */
	new_ring(0, true, 10);
	know("b.example");
	assert_int_equal(figures().known, 0);
	ask(2, "b.example");
	assert_int_equal(was_told(2), ERR_CANCELLED);
}

/*
 * Ten thousand claims to be somebody, from 50 addresses, about names whose servers are slow, dead, or
 * theirs; and one who was here before.
 */
static void forged_origins_stay_within_bounds(void **state)
{
	struct keyring_figures most = { .known = 0 }, f;
	size_t                 refused = 0, served = 0;

	(void)state;
	new_ring(1, true, BYTES_MAX);
	know("friend.example");
	keyring_vouch(ring, STRL("friend.example"));
	puts_ = fetches_begun = fetch_peak = 0;
	for (unsigned i = 0; i < 10000; i++) {
		size_t n = i % 60;

		ask_as(n, name_of(i), ID, (uint8_t)(1 + i % 50));
		refused += was_told(n) == ERR_BUSY;
		if (i % 5 == 0 && fetch_count > 0) { /* the oldest ends somehow */
			const char *name = LIST_ENTRY(fetches.next, struct key_fetch, link)->name;
			char        copy[300];

			(void)snprintf(copy, sizeof(copy), "%s", name);
			if (strcmp(copy, "n.example") == 0)
				fetch_ends(copy, ERR_OK, STRL("{\"server_keys\":[]}"));
			else if (i % 3 == 0)
				fetch_ends(copy, ERR_TIMEOUT, STRL(""));
			else
				fetch_ends(copy, ERR_OK, good(copy));
		}
		memory_loop_pass(loop, 20);
		if (i % 10 == 0) {
			ask_as(70, "friend.example", ID, 99);
			served += told[70].is_told && told[70].found;
		}
		keyring_figures(ring, &f);
		most.known_bytes = f.known_bytes > most.known_bytes ? f.known_bytes
								    : most.known_bytes;
		most.failed = f.failed > most.failed ? f.failed : most.failed;
		most.failed_bytes = f.failed_bytes > most.failed_bytes ? f.failed_bytes
								       : most.failed_bytes;
		most.waiting = f.waiting > most.waiting ? f.waiting : most.waiting;
	}
	print_message(
		"  10000 forged origins in 200 s: %zu fetches, at most %zu at once, %zu refused at "
		"once,\n  %zu bytes of keys, %zu failures in %zu bytes, %zu clients, %zu waiting, "
		"%zu writes\n",
		fetches_begun, fetch_peak, refused, most.known_bytes, most.failed,
		most.failed_bytes, f.clients, most.waiting, puts_);
	print_message("  the friend was served %zu times of 1000\n", served);
	assert_true(fetch_peak <= KEYRING_FETCHES_MAX - KEYRING_FETCHES_RESERVED);
	assert_true(most.known_bytes <= BYTES_MAX);
	assert_true(most.failed <= KEYRING_FAILED_MAX);
	assert_true(f.clients <= KEYRING_CLIENTS_MAX);
	assert_true(refused > 5000);
	assert_int_equal(puts_, 0);
	assert_int_equal(served, 1000);
}

/* The same with servers that never answer: the friend, whose keys have ended, gets his place. */
static void slow_servers_block_themselves(void **state)
{
	(void)state;
	know("friend.example");
	keyring_vouch(ring, STRL("friend.example"));
	memory_loop_pass(loop, 2 * DAY_MS);
	for (unsigned i = 0; i < 500; i++)
		ask_as(i % 60, name_of(i), ID, (uint8_t)(1 + i % 100));
	assert_int_equal(fetch_count, 7);
	ask_as(70, "friend.example", ID, 200);
	fetch_ends("friend.example", ERR_OK,
	           document("friend.example", "ed25519:1", 1, 1, UNIX_NOW + 3 * DAY_MS, false));
	assert_true(told[70].found);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(fetches_once),
		TEST(names_are_told_apart),
		TEST(refuses_what_is_no_name),
		TEST(cancelled_lookups_are_not_told),
		TEST(forged_documents_are_refused),
		TEST(a_notary_is_second),
		TEST(literals_are_spelt_in_paths),
		TEST(failures_make_growing_pauses),
		TEST(pauses_of_the_vouched_are_short),
		TEST(nothing_is_known_without_a_clock),
		TEST(expired_keys_are_fetched_anew),
		TEST(unknown_ids_are_looked_for_now_and_then),
		TEST(new_ids_are_found),
		TEST(keys_of_the_vouched_are_refreshed_in_time),
		TEST(places_are_limited_and_one_is_kept),
		TEST(waiters_are_limited),
		TEST(clients_are_limited),
		TEST(our_own_are_not_limited),
		TEST(networks_are_one_client),
		TEST(clients_have_a_pace),
		TEST(only_vouched_keys_are_written),
		TEST(a_restart_forgets_nothing_vouched),
		TEST(damage_is_ignorance),
		TEST(strangers_do_not_drive_out_others),
		TEST(memory_may_be_gone),
		TEST(forged_origins_stay_within_bounds),
		TEST(slow_servers_block_themselves),
	};
#undef TEST

	check(signing_init() == ERR_OK);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
