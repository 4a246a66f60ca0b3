/*
 * The keyring in every order of events: lookups by several clients, cancelled or not, fetches that end
 * well, badly or with forgeries, time that passes, memory that is short. Its bounds hold after every
 * step, every lookup is told once, and in the end nothing is left.
 *
 * Input: a script, two bytes a step: what, and of what.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "codec/matrix/signed_json.h"
#include "role/keyring.h"
#include "support/memory_loop.h"

#define UNIX_NOW  1800000000000ull
#define BYTES_MAX ((size_t)1500)

enum { NAMES = 24, LOOKUPS_MAX = 64, STEPS_MAX = 400 };

static char *name_of(unsigned n)
{
	static char text[] = "x.example";

	text[0] = (char)('a' + n % NAMES);
	return text;
}

/* ---- fetches ---- */

struct key_fetch {
	struct link        link;
	struct key_fetch **slot;
	key_fetch_done_fn *done;
	void              *arg;
	char               name[16];
	char               about; /* whose keys, by its first letter */
};

static struct link fetches;
static size_t      fetch_count;

enum err key_fetch_start(struct key_fetch **slot, struct key_fetcher *f, struct str server_name,
                         struct str path, key_fetch_done_fn *done, void *arg)
{
	struct key_fetch *k = calloc(1, sizeof(*k));
	bool              is_notary = str_is(server_name, "n1.example");

	(void)f;
	check(k != NULL);
	*k = (struct key_fetch){ .slot = slot, .done = done, .arg = arg };
	check(str_copy(server_name, k->name, sizeof(k->name)));
	k->about = is_notary ? path.ptr[str_find(path, 'q') + strlen("query/")]
			     : server_name.ptr[0];
	list_push_back(&fetches, &k->link);
	fetch_count++;
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

/* ---- a cache of one entry for each name ---- */

static struct {
	size_t len;
	char   bytes[8 + SERVER_KEYS_BYTES_MAX];
} cached[26];

static int a_cache;

bool cache_get(struct cache *c, struct str key, void *room, size_t size, size_t *len)
{
	size_t i = (size_t)(key.ptr[strlen("keys/")] - 'a');

	(void)c;
	if (cached[i].len == 0)
		return false;
	check(cached[i].len <= size);
	memcpy(room, cached[i].bytes, cached[i].len);
	*len = cached[i].len;
	return true;
}

enum err cache_put(struct cache *c, struct str key, struct str value, uint64_t until_unix_ms)
{
	size_t i = (size_t)(key.ptr[strlen("keys/")] - 'a');

	(void)c, (void)until_unix_ms;
	memcpy(cached[i].bytes, value.ptr, value.len);
	cached[i].len = value.len;
	return ERR_OK;
}

/* ---- the play ---- */

struct play {
	struct loop    *loop;
	struct keyring *ring;
	bool            clock_set;
	uint64_t        until_ms; /* how long the documents of now are good */
	struct asked {
		struct play       *play;
		struct key_lookup *lookup;
		bool               is_open;
		char               name;
	} asked[LOOKUPS_MAX];
};

static struct signing_pair pair;

static bool is_clock_set(void *arg)
{
	return ((struct play *)arg)->clock_set;
}

static void on_told(void *arg, enum err e, const struct server_keys *keys)
{
	struct asked *a = arg;

	check(a->is_open && a->lookup == NULL);
	check((e == ERR_OK) == (keys != NULL));
	if (keys != NULL) {
		check(keys->server_name[0] == a->name);
		keyring_vouch(a->play->ring, str_of(keys->server_name));
	}
	a->is_open = false;
}

static void look_up(struct play *p, uint8_t what)
{
	struct address client = address_v4(8, 8, 8, what / NAMES, 1);
	struct str     ids[2] = { STR("ed25519:1"), STR("ed25519:other") };

	for (size_t i = 0; i < LOOKUPS_MAX; i++) {
		struct asked *a = &p->asked[i];

		if (a->is_open)
			continue;
		*a = (struct asked){ p, NULL, true, name_of(what)[0] };
		if (key_lookup_start(&a->lookup, p->ring, str_of(name_of(what)), ids + (what & 1),
		                     1, what % 7 == 0 ? NULL : &client, on_told, a) != ERR_OK)
			a->is_open = false;
		return;
	}
}

static void cancel(struct play *p, uint8_t what)
{
	struct asked *a = &p->asked[what % LOOKUPS_MAX];

	key_lookup_cancel(&a->lookup);
	a->is_open = false;
}

static void write_members(struct writer *w, char name, uint64_t until)
{
	write_text(w, "{\"server_name\":\"");
	write_char(w, name);
	write_text(w, ".example\",\"valid_until_ts\":");
	write_u64(w, until);
	write_text(w, ",\"verify_keys\":{\"ed25519:1\":{\"key\":\"");
	signing_key_write(w, &pair.key);
	write_text(w, "\"}}");
}

static void write_document(struct writer *w, char name, uint64_t until)
{
	char               plain[400];
	struct writer      p = writer_over(plain, sizeof(plain));
	struct signing_sig sig;

	write_members(&p, name, until);
	write_char(&p, '}');
	check(signed_json_sign(writer_done(&p), &pair, &sig) == ERR_OK);
	write_members(w, name, until);
	write_text(w, ",\"signatures\":{\"");
	write_char(w, name);
	write_text(w, ".example\":{\"ed25519:1\":\"");
	signing_sig_write(w, &sig);
	write_text(w, "\"},\"n1.example\":{\"ed25519:1\":\"");
	signing_sig_write(w, &sig);
	write_text(w, "\"}}}");
}

static struct str document(const struct play *p, const struct key_fetch *k, char about)
{
	static char   room[1000];
	struct writer w = writer_over(room, sizeof(room));
	bool          is_notary = str_is(str_of(k->name), "n1.example");

	write_text(&w, is_notary ? "{\"server_keys\":[" : "");
	write_document(&w, about, loop_unix_ms(p->loop) + p->until_ms);
	write_text(&w, is_notary ? "]}" : "");
	check(!w.failed);
	return writer_done(&w);
}

static void end_fetch(struct play *p, uint8_t what)
{
	static const enum err bad[] = { ERR_TIMEOUT, ERR_REFUSED, ERR_BLOCKED, ERR_NOMEM };
	size_t                n = what % 8;
	struct link          *l = fetches.next;
	struct key_fetch      k;

	for (; n > 0 && l != &fetches; n--)
		l = l->next;
	if (l == &fetches)
		return;
	k = *LIST_ENTRY(l, struct key_fetch, link);
	key_fetch_cancel(k.slot);
	if (what < 128)
		k.done(k.arg, ERR_OK, document(p, &k, k.about));
	else if (what < 160)
		k.done(k.arg, ERR_OK, document(p, &k, 'a'));
	else
		k.done(k.arg, bad[what / 8 % 4], STRL(""));
}

static void check_bounds(const struct play *p)
{
	struct keyring_figures f;
	size_t                 waiting = 0;

	keyring_figures(p->ring, &f);
	for (size_t i = 0; i < LOOKUPS_MAX; i++) {
		check(p->asked[i].is_open == (p->asked[i].lookup != NULL));
		waiting += p->asked[i].is_open;
	}
	check(f.waiting ==
	      waiting); /* after the loop has turned, whoever waits waits for a fetch */
	check(f.fetches == fetch_count && fetch_count <= KEYRING_FETCHES_MAX);
	check(f.waiting <= f.fetches * KEYRING_WAITERS_MAX);
	check(f.known_bytes <= BYTES_MAX && f.vouched <= f.known);
	check(f.failed <= KEYRING_FAILED_MAX && f.clients <= KEYRING_CLIENTS_MAX);
	check(metrics.gauges[GAUGE_key_fetches_open].used == f.fetches);
	check(metrics.gauges[GAUGE_key_lookups_waiting].used == f.waiting);
}

static void new_ring(struct play *p)
{
	char                      text[100];
	struct writer             w = writer_over(text, sizeof(text));
	struct server_keys_notary notary;
	struct keyring_options    o = {
		   .loop = p->loop,
		   .cache = (struct cache *)(void *)&a_cache,
		   .bytes_max = BYTES_MAX,
		   .notaries = &notary,
		   .notary_count = 1,
		   .clock_is_set = is_clock_set,
		   .arg = p,
	};

	write_text(&w, "n1.example ed25519:1 ");
	signing_key_write(&w, &pair.key);
	check(server_keys_notary_parse(writer_done(&w), &notary) == ERR_OK);
	keyring_free(p->ring);
	check(keyring_new(&o, &p->ring) == ERR_OK);
}

static void step(struct play *p, uint8_t kind, uint8_t what)
{
	switch (kind % 8) {
	case 0:
	case 1:
	case 2:
		look_up(p, what);
		break;
	case 3:
	case 4:
		end_fetch(p, what);
		break;
	case 5:
		cancel(p, what);
		break;
	case 6:
		memory_loop_pass(p->loop, (msec)what * what * what * 40); /* up to a week */
		break;
	default:
		p->clock_set = what != 0;
		p->until_ms = (uint64_t)what * HOUR_MS;
		break;
	}
}

static void play_end(struct play *p)
{
	struct keyring_figures f;

	while (!list_empty(&fetches))
		end_fetch(p, 0);
	memory_loop_settle(p->loop);
	for (size_t i = 0; i < LOOKUPS_MAX; i++)
		check(!p->asked[i].is_open);
	keyring_figures(p->ring, &f);
	check(f.fetches == 0 && f.waiting == 0);
	keyring_free(p->ring);
	memory_loop_free(p->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t seed[SIGNING_SEED_BYTES] = { 1 };
	struct play   p = { .clock_set = true, .until_ms = DAY_MS };

	check(signing_init() == ERR_OK);
	signing_pair_from_seed(seed, &pair);
	log_set_level(LOG_ERROR);
	list_init(&fetches);
	memset(cached, 0, sizeof(cached));
	p.loop = memory_loop_new();
	memory_loop_set_unix(p.loop, UNIX_NOW);
	new_ring(&p);
	for (size_t i = 0; i + 1 < size && i < STEPS_MAX * 2; i += 2) {
		step(&p, data[i], data[i + 1]);
		if ((data[i] & 0x80) != 0)
			continue; /* more happens before the loop turns */
		memory_loop_settle(p.loop);
		check_bounds(&p);
	}
	play_end(&p);
	return 0;
}
