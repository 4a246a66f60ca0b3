#include "fed/server_keys.h"

#include "codec/json/canon.h"
#include "codec/matrix/signed_json.h"

#define WRITTEN_UNIX_MS ((uint64_t)1767225600 * 1000) /* 2026-01-01 */
#define SET_BACK_MS     HOUR_MS                       /* so much may a clock be corrected */

enum {
	KEY_TEXT_MAX = 64, /* base64 of a key, padding included */
	SIG_TEXT_MAX = 96,
};

bool server_keys_is_plausible(uint64_t now_unix_ms)
{
	return now_unix_ms >= WRITTEN_UNIX_MS;
}

/* ---- parts of a document ---- */

/* What stands between quotes, into room that is known to be enough for anything valid. */
static enum err read_text(struct str text, char *room, size_t size, struct str *out)
{
	struct writer w = writer_over(room, size);

	json_unescape(text, &w);
	*out = writer_done(&w);
	return w.failed ? ERR_SYNTAX : ERR_OK;
}

/* ERR_SYNTAX, ERR_UNSUPPORTED: a name of no use to us. */
static enum err read_id(struct str text, char out[KEY_ID_TEXT_MAX + 1])
{
	struct key_id id;
	struct str    plain;
	enum err      e = read_text(text, out, KEY_ID_TEXT_MAX, &plain);

	out[plain.len] = '\0';
	return e == ERR_OK ? key_id_parse(plain, &id) : e;
}

/* {"key": base64} */
static enum err read_key(const struct json_item *item, struct signing_key *out)
{
	struct json_member m = { .key = STR("key") };
	char               room[KEY_TEXT_MAX];
	struct str         base64;
	enum err           e;

	if (item->kind != JSON_OBJECT)
		return ERR_SYNTAX;
	e = json_find(item->value, JSON_REFUSE_REPEAT, &m, 1);
	if (e == ERR_OK && m.kind != JSON_STRING)
		e = ERR_SYNTAX;
	if (e == ERR_OK)
		e = read_text(m.value, room, sizeof(room), &base64);
	return e == ERR_OK ? signing_key_read(base64, out) : e;
}

static struct server_key *find(struct server_keys *k, struct str id)
{
	for (size_t i = 0; i < k->count; i++)
		if (str_is(id, k->key[i].id))
			return &k->key[i];
	return NULL;
}

static const struct server_key *find_const(const struct server_keys *k, struct str id)
{
	for (size_t i = 0; i < k->count; i++)
		if (str_is(id, k->key[i].id))
			return &k->key[i];
	return NULL;
}

/* Names of other algorithms and keys known to be bad are as if not there. */
static enum err take_key(struct server_keys *k, const struct json_item *item, uint64_t until)
{
	struct server_key key = { .until_unix_ms = until };
	enum err          e;

	if (read_id(item->key, key.id) != ERR_OK)
		return ERR_OK;
	e = read_key(item, &key.key);
	if (e == ERR_DENIED)
		return ERR_OK;
	if (e == ERR_OK && find(k, str_of(key.id)) != NULL)
		e = ERR_SYNTAX;
	if (e != ERR_OK)
		return e;
	if (k->count == SERVER_KEYS_MAX)
		return ERR_LIMIT;
	k->key[k->count++] = key;
	return ERR_OK;
}

/* What is listed as old, too, is old. Of the others as many are noted as there is place for. */
static enum err take_old(struct server_keys *k, const struct json_item *item, uint64_t until)
{
	struct server_key  old = { .until_unix_ms = until, .retired = true };
	struct server_key *known;

	if (read_id(item->key, old.id) != ERR_OK)
		return ERR_OK;
	known = find(k, str_of(old.id));
	if (known == NULL && k->count < SERVER_KEYS_MAX)
		known = &k->key[k->count++];
	if (known != NULL)
		*known = old;
	return ERR_OK;
}

typedef enum err take_fn(struct server_keys *k, const struct json_item *item, uint64_t until);

static enum err take_all(struct server_keys *k, const struct json_member *m, uint64_t until,
                         take_fn *take)
{
	struct json_items it;
	enum json_kind    kind;
	struct json_item  item;
	enum err          e;

	if (m->kind != JSON_OBJECT)
		return ERR_SYNTAX;
	e = json_items_begin(&it, m->value, NULL, &kind);
	while (e == ERR_OK) {
		e = json_items_next(&it, &item);
		if (e != ERR_OK || item.kind == JSON_END)
			break;
		e = take(k, &item, until);
	}
	return e;
}

static bool is_digits(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	return s.len > 0;
}

/* valid_until_ts, capped; some servers say "never" with as many digits as fit. */
static enum err read_until(const struct json_member *m, uint64_t now, uint64_t *out)
{
	int64_t  published = 0;
	uint64_t cap = now + SERVER_KEYS_LIFE_MAX_MS;

	if (m->kind != JSON_NUMBER)
		return ERR_SYNTAX;
	if (json_to_integer(m->value, &published) != ERR_OK) {
		if (!is_digits(m->value))
			return ERR_SYNTAX;
		published = INT64_MAX;
	}
	if (published < 0)
		return ERR_SYNTAX;
	*out = (uint64_t)published < cap ? (uint64_t)published : cap;
	return ERR_OK;
}

/* ---- the signature of the server itself ---- */

/* The document as it was signed, in both readings of its numbers; see canon.h. */
struct signed_form {
	struct canon canon;
	struct buf   received, integers;
	bool         has_integers;
};

static enum err form_open(struct signed_form *f, struct str document)
{
	const struct canon_options options = { .for_signature = true };
	enum err                   e = canon_open(&f->canon, document, &options);

	f->has_integers = false;
	buf_init(&f->received, document.len);
	buf_init(&f->integers, document.len * 8);
	if (e != ERR_OK)
		return e == ERR_NOMEM ? ERR_NOMEM : ERR_SYNTAX;
	e = canon_emit_buf(&f->canon, CANON_AS_RECEIVED, &f->received);
	if (e == ERR_OK && f->canon.odd_numbers) {
		e = canon_emit_buf(&f->canon, CANON_INTEGERS, &f->integers);
		f->has_integers = e == ERR_OK;
		e = e == ERR_RANGE ? ERR_OK : e;
	}
	canon_close(&f->canon);
	return e;
}

static void form_close(struct signed_form *f)
{
	buf_fini(&f->received);
	buf_fini(&f->integers);
}

static enum err form_verify(const struct signed_form *f, struct str base64,
                            const struct signing_key *key)
{
	char               room[SIG_TEXT_MAX];
	struct str         text;
	struct signing_sig sig;
	enum err           e;

	if (read_text(base64, room, sizeof(room), &text) != ERR_OK ||
	    signing_sig_read(text, &sig) != ERR_OK)
		return ERR_SIGNATURE;
	e = signing_verify(key, &sig, buf_str(&f->received));
	if (e == ERR_SIGNATURE && f->has_integers)
		e = signing_verify(key, &sig, buf_str(&f->integers));
	return e;
}

/* The member of an object that is an object itself. */
static enum err descend(struct str *object, struct str key)
{
	struct json_member m = { .key = key };
	enum err           e = json_find(*object, JSON_REFUSE_REPEAT, &m, 1);

	if (e == ERR_OK && m.kind != JSON_OBJECT)
		e = ERR_SIGNATURE;
	*object = m.value;
	return e;
}

/* By id -> base64, the signatures of listed keys: at least one, and no wrong one. */
static enum err check_signatures(const struct signed_form *f, struct str signatures,
                                 const struct server_keys *k)
{
	size_t   seen = 0;
	enum err e = ERR_OK;

	for (size_t i = 0; i < k->count && e == ERR_OK && seen < SERVER_KEYS_SIGNATURES_MAX; i++) {
		struct json_member m = { .key = str_of(k->key[i].id) };

		if (k->key[i].retired)
			continue;
		e = json_find(signatures, JSON_REFUSE_REPEAT, &m, 1);
		if (e != ERR_OK || m.kind == JSON_NONE)
			continue;
		seen++;
		e = m.kind == JSON_STRING ? form_verify(f, m.value, &k->key[i].key) : ERR_SIGNATURE;
	}
	return e == ERR_OK && seen == 0 ? ERR_SIGNATURE : e;
}

static enum err check_self(struct str document, const struct json_member *signatures,
                           const struct server_keys *k)
{
	struct signed_form f;
	struct str         own = signatures->value;
	enum err           e;

	if (signatures->kind != JSON_OBJECT)
		return ERR_SIGNATURE;
	e = descend(&own, str_of(k->server_name));
	if (e != ERR_OK)
		return e;
	e = form_open(&f, document);
	if (e == ERR_OK)
		e = check_signatures(&f, own, k);
	form_close(&f);
	return e;
}

/* ---- documents ---- */

enum { DOC_NAME, DOC_KEYS, DOC_OLD, DOC_UNTIL, DOC_SIGNATURES, DOC_COUNT };

static bool has_usable(const struct server_keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		if (!k->key[i].retired)
			return true;
	return false;
}

static enum err read_members(struct str document, struct json_member m[DOC_COUNT])
{
	static const char *const names[DOC_COUNT] = { "server_name", "verify_keys",
		                                      "old_verify_keys", "valid_until_ts",
		                                      "signatures" };

	for (size_t i = 0; i < DOC_COUNT; i++)
		m[i] = (struct json_member){ .key = str_of(names[i]) };
	/* its limits are those of any document of a peer: past them it is no such document */
	return json_find(document, JSON_REFUSE_REPEAT, m, DOC_COUNT) == ERR_OK ? ERR_OK
									       : ERR_SYNTAX;
}

static enum err take_keys(struct server_keys *k, const struct json_member m[DOC_COUNT])
{
	uint64_t until = 0;
	enum err e = read_until(&m[DOC_UNTIL], k->learnt_unix_ms, &until);

	if (e == ERR_OK)
		e = take_all(k, &m[DOC_KEYS], until, take_key);
	if (e == ERR_OK && m[DOC_OLD].kind != JSON_NONE)
		e = take_all(k, &m[DOC_OLD], until, take_old);
	return e == ERR_OK && !has_usable(k) ? ERR_UNSUPPORTED : e;
}

enum err server_keys_parse(struct str document, struct str server_name,
                           struct server_keys_clock clock, struct server_keys *out)
{
	struct server_keys got = { .learnt_unix_ms = clock.now_unix_ms };
	struct json_member m[DOC_COUNT];
	enum err           e;

	if (!clock.is_set)
		return ERR_BUSY;
	if (document.len > SERVER_KEYS_DOCUMENT_MAX)
		return ERR_TOO_LARGE;
	e = read_members(document, m);
	if (e != ERR_OK)
		return e;
	if (m[DOC_NAME].kind != JSON_STRING || !json_text_eq(m[DOC_NAME].value, server_name) ||
	    !str_copy(server_name, got.server_name, sizeof(got.server_name)))
		return ERR_NOT_FOUND;
	e = take_keys(&got, m);
	if (e == ERR_OK)
		e = check_self(document, &m[DOC_SIGNATURES], &got);
	if (e == ERR_OK)
		*out = got;
	return e;
}

/* ---- notaries ---- */

static struct str take_word(struct str *text)
{
	struct str rest = str_trim(*text), word = str_head(rest, 0);

	while (word.len < rest.len && rest.ptr[word.len] != ' ' && rest.ptr[word.len] != '\t')
		word.len++;
	*text = str_from(rest, word.len);
	return word;
}

static enum err parse_pin(struct str *text, struct server_keys_notary *n)
{
	struct str              id_text = take_word(text), base64 = take_word(text);
	struct server_keys_pin *pin = &n->pin[n->count];
	struct key_id           id;

	if (n->count == SERVER_KEYS_PINS_MAX)
		return ERR_LIMIT;
	if (key_id_parse(id_text, &id) != ERR_OK || signing_key_read(base64, &pin->key) != ERR_OK ||
	    !str_copy(id_text, pin->id, sizeof(pin->id)))
		return ERR_SYNTAX;
	n->count++;
	return ERR_OK;
}

enum err server_keys_notary_parse(struct str text, struct server_keys_notary *out)
{
	struct server_keys_notary n = { .count = 0 };
	struct str                name = take_word(&text);
	struct server_name        parsed;
	enum err                  e = ERR_OK;

	if (server_name_parse(name, &parsed) != ERR_OK || !str_copy(name, n.name, sizeof(n.name)))
		return ERR_SYNTAX;
	while (e == ERR_OK && str_trim(text).len > 0)
		e = parse_pin(&text, &n);
	if (e == ERR_OK && n.count == 0)
		e = ERR_SYNTAX;
	if (e == ERR_OK)
		*out = n;
	return e;
}

void server_keys_notary_default(struct server_keys_notary *out)
{
	/* as in the sample configurations of Dendrite and of Synapse (the second) */
	check(server_keys_notary_parse(
		      STRL("matrix.org ed25519:auto Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw "
	                   "ed25519:a_RXGa l8Hft5qXKn1vfHrg3p4+W8gELQVo8N13JkluMfmn2sQ"),
		      out) == ERR_OK);
}

static enum err check_notary(struct str document, const struct server_keys_notary *n)
{
	enum err e = ERR_NOT_FOUND;

	for (size_t i = 0; i < n->count && e == ERR_NOT_FOUND; i++)
		e = signed_json_verify(document, str_of(n->name), str_of(n->pin[i].id),
		                       &n->pin[i].key);
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_SIGNATURE;
}

/* Adds a document, or says why not. */
static enum err take_document(struct str document, const struct server_keys_notary *n,
                              struct str server_name, struct server_keys_clock clock,
                              struct server_keys *all)
{
	struct server_keys got;
	enum err           e = server_keys_parse(document, server_name, clock, &got);

	if (e == ERR_OK)
		e = check_notary(document, n);
	if (e != ERR_OK)
		return e;
	if (all->count == 0)
		*all = got;
	else
		(void)server_keys_merge(all, &got);
	return ERR_OK;
}

static enum err open_answer(struct str answer, struct json_items *it)
{
	struct json_member m = { .key = STR("server_keys") };
	enum json_kind     kind;

	if (answer.len > SERVER_KEYS_DOCUMENT_MAX)
		return ERR_TOO_LARGE;
	if (json_find(answer, JSON_REFUSE_REPEAT, &m, 1) != ERR_OK || m.kind != JSON_ARRAY)
		return ERR_SYNTAX;
	return json_items_begin(it, m.value, NULL, &kind);
}

enum err server_keys_parse_notary(struct str answer, struct str server_name,
                                  const struct server_keys_notary *notary,
                                  struct server_keys_clock clock, struct server_keys *out)
{
	struct server_keys all = { .count = 0 };
	struct json_items  it;
	struct json_item   item;
	enum err           e = open_answer(answer, &it), last = ERR_NOT_FOUND;

	for (unsigned left = SERVER_KEYS_ANSWERS_MAX; e == ERR_OK && left > 0;) {
		e = json_items_next(&it, &item);
		if (e != ERR_OK || item.kind == JSON_END)
			break;
		if (item.kind != JSON_OBJECT)
			return ERR_SYNTAX;
		e = take_document(item.value, notary, server_name, clock, &all);
		if (e == ERR_BUSY || e == ERR_NOMEM)
			return e;
		if (e == ERR_NOT_FOUND) { /* about another server */
			e = ERR_OK;
			continue;
		}
		last = e;
		e = ERR_OK;
		left--;
	}
	if (e != ERR_OK)
		return e;
	if (all.count == 0)
		return last;
	*out = all;
	return ERR_OK;
}

/* ---- questions ---- */

enum err server_keys_find(const struct server_keys *k, struct str id,
                          struct server_keys_clock clock, const struct signing_key **out)
{
	const struct server_key *key = find_const(k, id);

	if (!clock.is_set)
		return ERR_BUSY;
	if (key == NULL || key->retired)
		return ERR_NOT_FOUND;
	if (clock.now_unix_ms > key->until_unix_ms ||
	    clock.now_unix_ms + SET_BACK_MS < k->learnt_unix_ms)
		return ERR_RANGE;
	*out = &key->key;
	return ERR_OK;
}

bool server_keys_wants_refresh(const struct server_keys *k, struct str id,
                               struct server_keys_clock clock)
{
	const struct server_key  *key = find_const(k, id);
	const struct signing_key *good;
	uint64_t                  life;

	if (server_keys_find(k, id, clock, &good) != ERR_OK)
		return false;
	life = key->until_unix_ms > k->learnt_unix_ms ? key->until_unix_ms - k->learnt_unix_ms : 0;
	return key->until_unix_ms - clock.now_unix_ms <= life / 5;
}

uint64_t server_keys_until(const struct server_keys *k)
{
	uint64_t last = 0;

	for (size_t i = 0; i < k->count; i++)
		if (!k->key[i].retired && k->key[i].until_unix_ms > last)
			last = k->key[i].until_unix_ms;
	return last;
}

/* ---- merging ---- */

/* Where a new entry goes; NULL: everything there ends later. */
static struct server_key *place_for(struct server_keys *k, uint64_t until)
{
	struct server_key *first = &k->key[0];

	if (k->count < SERVER_KEYS_MAX)
		return &k->key[k->count++];
	for (size_t i = 1; i < k->count; i++)
		if (k->key[i].until_unix_ms < first->until_unix_ms)
			first = &k->key[i];
	return first->until_unix_ms < until ? first : NULL;
}

size_t server_keys_merge(struct server_keys *k, const struct server_keys *fresh)
{
	size_t changed = 0;

	check(strcmp(k->server_name, fresh->server_name) == 0);
	for (size_t i = 0; i < fresh->count; i++) {
		const struct server_key *from = &fresh->key[i];
		struct server_key       *to = find(k, str_of(from->id));

		if (to == NULL)
			to = place_for(k, from->until_unix_ms);
		else if (from->until_unix_ms < to->until_unix_ms)
			continue;
		else if (!to->retired && !from->retired && !signing_key_eq(&to->key, &from->key))
			changed++;
		if (to != NULL)
			*to = *from;
	}
	if (fresh->learnt_unix_ms > k->learnt_unix_ms)
		k->learnt_unix_ms = fresh->learnt_unix_ms;
	return changed;
}

/* ---- bytes ---- */

enum { VERSION = 1 };

static void write_key(struct writer *w, const struct server_key *key)
{
	size_t n = strlen(key->id);

	write_be(w, n, 1);
	write_bytes(w, key->id, n);
	write_be(w, key->retired, 1);
	write_be(w, key->until_unix_ms, 8);
	write_bytes(w, key->key.bytes, sizeof(key->key.bytes));
}

void server_keys_write(struct writer *w, const struct server_keys *k)
{
	size_t n = strlen(k->server_name);

	write_be(w, VERSION, 1);
	write_be(w, n, 2);
	write_bytes(w, k->server_name, n);
	write_be(w, k->learnt_unix_ms, 8);
	write_be(w, k->count, 1);
	for (size_t i = 0; i < k->count; i++)
		write_key(w, &k->key[i]);
}

static void read_one(struct reader *r, struct server_key *key)
{
	struct str    text = read_bytes(r, read_u8(r)), bytes;
	struct key_id id;
	uint8_t       retired = read_u8(r);

	key->until_unix_ms = read_u64(r);
	bytes = read_bytes(r, sizeof(key->key.bytes));
	key->retired = retired == 1;
	if (r->failed || retired > 1 || key_id_parse(text, &id) != ERR_OK ||
	    !str_copy(text, key->id, sizeof(key->id))) {
		r->failed = true;
		return;
	}
	memcpy(key->key.bytes, bytes.ptr, bytes.len);
}

enum err server_keys_read(struct str bytes, struct str server_name, struct server_keys *out)
{
	struct reader      r = reader_over(bytes);
	struct server_keys got = { .count = 0 };
	size_t             count;

	if (read_u8(&r) != VERSION || !str_eq(read_bytes(&r, read_u16(&r)), server_name) ||
	    !str_copy(server_name, got.server_name, sizeof(got.server_name)))
		return ERR_SYNTAX;
	got.learnt_unix_ms = read_u64(&r);
	count = read_u8(&r);
	if (count > SERVER_KEYS_MAX)
		return ERR_SYNTAX;
	for (; got.count < count && !r.failed; got.count++) {
		struct server_key *key = &got.key[got.count];

		read_one(&r, key);
		if (!r.failed && find(&got, str_of(key->id)) != NULL)
			r.failed = true;
	}
	if (r.failed || r.at != r.end)
		return ERR_SYNTAX;
	*out = got;
	return ERR_OK;
}
