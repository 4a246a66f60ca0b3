/*
 * Key documents as they come, and the same with a good signature by a key that they may list: what is
 * accepted is signed, bounded, ends within a week and survives storage.
 *
 * Input: a document without signatures, or one with, or bytes of storage.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "codec/matrix/signed_json.h"
#include "fed/server_keys.h"

#define NAME     "a.example"
#define ID       "ed25519:1"
#define NOW      1800000000000ull
#define ROOM_MAX (SERVER_KEYS_DOCUMENT_MAX + 1024)

static const struct server_keys_clock now = { NOW, true };

static struct signing_pair pair;

static void check_stored(const struct server_keys *k)
{
	static char   bytes[SERVER_KEYS_BYTES_MAX], again[SERVER_KEYS_BYTES_MAX];
	struct writer w = writer_over(bytes, sizeof(bytes)), v = writer_over(again, sizeof(again));
	struct server_keys back;

	server_keys_write(&w, k);
	check(!w.failed);
	check(server_keys_read(writer_done(&w), str_of(k->server_name), &back) == ERR_OK);
	server_keys_write(&v, &back);
	check(str_eq(writer_done(&w), writer_done(&v)));
}

/* That some key which may authorise has signed it, seen by another reader. */
static void check_signed(const struct server_keys *k, struct str document)
{
	bool is_signed = false;

	for (size_t i = 0; i < k->count; i++) {
		const struct server_key  *key = &k->key[i];
		const struct signing_key *good;
		struct server_keys_clock  later = { key->until_unix_ms + 1, true };

		check(key->until_unix_ms <= NOW + SERVER_KEYS_LIFE_MAX_MS);
		check(server_keys_find(k, str_of(key->id), later, &good) != ERR_OK);
		if (!key->retired)
			is_signed = is_signed ||
				signed_json_verify(document, STRL(NAME), str_of(key->id),
			                           &key->key) == ERR_OK;
	}
	check(is_signed);
}

static void check_document(struct str document)
{
	struct server_keys k, twice;

	if (server_keys_parse(document, STRL(NAME), now, &k) != ERR_OK)
		return;
	check(k.count > 0 && k.count <= SERVER_KEYS_MAX);
	check_signed(&k, document);
	check_stored(&k);
	twice = k;
	check(server_keys_merge(&twice, &k) == 0);
	check(twice.count == k.count);
}

/* Appends {"server_keys":[document]}, as a notary that signs nothing. */
static void check_answer(struct str document)
{
	static char               room[ROOM_MAX];
	struct writer             w = writer_over(room, sizeof(room));
	struct server_keys_notary notary;
	struct server_keys        k;

	server_keys_notary_default(&notary);
	write_text(&w, "{\"server_keys\":[");
	write_str(&w, document);
	write_text(&w, "]}");
	if (!w.failed)
		check(server_keys_parse_notary(writer_done(&w), STRL(NAME), &notary, now, &k) !=
		      ERR_OK);
}

static void check_with_signature(struct str document)
{
	static char        room[ROOM_MAX];
	struct writer      w = writer_over(room, sizeof(room));
	struct signing_sig sig;

	if (document.len < 2 || document.ptr[0] != '{' ||
	    signed_json_sign(document, &pair, &sig) != ERR_OK)
		return;
	write_text(&w, "{\"signatures\":{\"" NAME "\":{\"" ID "\":\"");
	signing_sig_write(&w, &sig);
	write_text(&w, "\"}},");
	write_str(&w, str_from(document, 1));
	if (w.failed)
		return;
	check_document(writer_done(&w));
	check_answer(writer_done(&w));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t      seed[SIGNING_SEED_BYTES] = { 1 };
	struct str         all = str_span(data, size);
	struct server_keys k;

	check(signing_init() == ERR_OK);
	signing_pair_from_seed(seed, &pair);
	check_document(all);
	check_with_signature(all);
	check_answer(all);
	if (server_keys_read(all, STRL(NAME), &k) == ERR_OK)
		check_stored(&k);
	return 0;
}
