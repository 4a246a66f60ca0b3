#include "role/keyring_inside.h"

#include <stdlib.h>

#define VOUCH_AGAIN_MS DAY_MS        /* how often that is written down */
#define KEEP_MS        (30 * DAY_MS) /* in the cache, after the last key has ended */

enum {
	RECORD_MAX = 8 + SERVER_KEYS_BYTES_MAX,
	CACHE_NAME_MAX = 5 + SERVER_NAME_TEXT_MAX, /* "keys/" */
};

struct str keyring_known_name(const struct known *kn)
{
	return str_span(kn->data, kn->name_len);
}

static size_t known_size(const struct known *kn)
{
	return sizeof(*kn) + kn->name_len + kn->bytes_len;
}

enum err keyring_known_keys(const struct known *kn, struct server_keys *out)
{
	return server_keys_read(str_span(kn->data + kn->name_len, kn->bytes_len),
	                        keyring_known_name(kn), out);
}

static struct known *find_in(struct link *list, struct str name, uint32_t hash)
{
	for (struct link *l = list->prev; l != list; l = l->prev) {
		struct known *kn = LIST_ENTRY(l, struct known, link);

		if (kn->hash == hash && str_eq(keyring_known_name(kn), name))
			return kn;
	}
	return NULL;
}

static void known_place(struct keyring *k, struct known *kn)
{
	list_push_back(kn->vouched_unix_ms != 0 ? &k->vouched : &k->strangers, &kn->link);
}

struct known *keyring_known_find(struct keyring *k, struct str name)
{
	uint32_t      hash = str_hash(name);
	struct known *kn = find_in(&k->vouched, name, hash);

	if (kn == NULL)
		kn = find_in(&k->strangers, name, hash);
	if (kn != NULL) {
		list_remove(&kn->link);
		known_place(k, kn);
	}
	return kn;
}

static size_t *known_count(struct keyring *k, const struct known *kn)
{
	return kn->vouched_unix_ms != 0 ? &k->vouched_count : &k->stranger_count;
}

void keyring_known_drop(struct keyring *k, struct known *kn)
{
	list_remove(&kn->link);
	--*known_count(k, kn);
	k->known_bytes -= known_size(kn);
	free(kn);
}

/* Strangers go first, so that they cannot drive out others. */
static bool make_room(struct keyring *k, size_t bytes)
{
	while (k->known_bytes + bytes > k->o.bytes_max) {
		struct link *oldest = k->strangers.next;

		if (oldest == &k->strangers)
			oldest = k->vouched.next;
		if (oldest == &k->vouched)
			return false;
		keyring_known_drop(k, LIST_ENTRY(oldest, struct known, link));
	}
	return true;
}

/* A new entry; NULL: memory. */
struct known *keyring_known_add(struct keyring *k, struct str name, struct str bytes,
                                uint64_t vouched_unix_ms)
{
	size_t        size = sizeof(struct known) + name.len + bytes.len;
	struct known *kn = make_room(k, size) ? malloc(size) : NULL;

	if (kn == NULL)
		return NULL;
	*kn = (struct known){ .hash = str_hash(name),
		              .vouched_unix_ms = vouched_unix_ms,
		              .name_len = name.len,
		              .bytes_len = bytes.len };
	memcpy(kn->data, name.ptr, name.len);
	memcpy(kn->data + name.len, bytes.ptr, bytes.len);
	k->known_bytes += size;
	++*known_count(k, kn);
	known_place(k, kn);
	return kn;
}

/* ---- the cache: when it was vouched for, then the keys ---- */

static struct str cache_key(struct str name, char room[CACHE_NAME_MAX])
{
	struct writer w = writer_over(room, CACHE_NAME_MAX);

	write_text(&w, "keys/");
	write_str(&w, name);
	return writer_done(&w);
}

static struct known *recall(struct keyring *k, struct str name)
{
	char               bytes[RECORD_MAX], room[CACHE_NAME_MAX];
	size_t             len;
	struct reader      r;
	uint64_t           vouched;
	struct server_keys keys;
	struct known      *kn;

	if (k->o.cache == NULL ||
	    !cache_get(k->o.cache, cache_key(name, room), bytes, sizeof(bytes), &len))
		return NULL;
	r = reader_over(str_span(bytes, len));
	vouched = read_u64(&r);
	if (r.failed || vouched == 0 ||
	    server_keys_read(str_from(str_span(bytes, len), 8), name, &keys) != ERR_OK)
		return NULL;
	kn = keyring_known_add(k, name, str_from(str_span(bytes, len), 8), vouched);
	if (kn != NULL)
		kn->is_saved = true;
	return kn;
}

struct known *keyring_known_get(struct keyring *k, struct str name)
{
	struct known *kn = keyring_known_find(k, name);

	return kn != NULL ? kn : recall(k, name);
}

void keyring_known_save(struct keyring *k, struct known *kn)
{
	char               bytes[RECORD_MAX], room[CACHE_NAME_MAX];
	struct writer      w = writer_over(bytes, sizeof(bytes));
	struct server_keys keys;

	if (k->o.cache == NULL || keyring_known_keys(kn, &keys) != ERR_OK)
		return;
	for (unsigned i = 8; i-- > 0;)
		write_char(&w, (char)(kn->vouched_unix_ms >> (8 * i) & 0xff));
	server_keys_write(&w, &keys);
	kn->is_saved = cache_put(k->o.cache, cache_key(keyring_known_name(kn), room),
	                         writer_done(&w), server_keys_until(&keys) + KEEP_MS) == ERR_OK;
}

void keyring_vouch(struct keyring *k, struct str origin)
{
	struct known *kn = keyring_known_find(k, origin);
	uint64_t      now = loop_unix_ms(k->o.loop);

	if (kn == NULL)
		return;
	if (kn->is_saved && now - kn->vouched_unix_ms < VOUCH_AGAIN_MS)
		return;
	list_remove(&kn->link);
	--*known_count(k, kn);
	kn->vouched_unix_ms = now;
	++*known_count(k, kn);
	known_place(k, kn);
	keyring_known_save(k, kn);
}

bool keyring_is_vouched(struct keyring *k, struct str origin)
{
	const struct known *kn = keyring_known_get(k, origin);

	return kn != NULL && kn->vouched_unix_ms != 0;
}
