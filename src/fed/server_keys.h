/*
 * server_keys.h - the signing keys of another server: documents checked, notary answers, and the
 * question whether a key may authorise a request now.
 *
 * Source: Matrix specification, Server-Server API, "Retrieving server keys".
 * A key enters a struct server_keys in two ways only: from a document that names the server and is
 * signed by a key it lists, or from bytes that server_keys_write made of such. What a notary hands
 * over needs both, its own signature by a pinned key and the server's.
 *
 * The specification caps the life of an answer at seven days without saying from when; here it is
 * from when it was learnt. Old keys prove old events; they never authorise a request, and are only
 * noted so that an earlier answer does not keep them alive.
 *
 * Pure: no clock, no I/O. Texts of peers are borrowed during a call only. Memory while a document is
 * checked: some times its size, see canon.h.
 */
#ifndef FED_SERVER_KEYS_H
#define FED_SERVER_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "codec/matrix/key_id.h"
#include "codec/matrix/server_name.h"
#include "codec/matrix/signing.h"

enum {
	SERVER_KEYS_MAX = 32,                 /* of one server, retired ones included */
	SERVER_KEYS_DOCUMENT_MAX = 64 * 1024, /* bytes, also of a notary's answer */
	SERVER_KEYS_SIGNATURES_MAX = 4,       /* by listed keys that are looked at */
	SERVER_KEYS_ANSWERS_MAX = 8,          /* documents looked at in a notary's answer */
	SERVER_KEYS_PINS_MAX = 4,             /* keys of one notary */
};

#define SERVER_KEYS_LIFE_MAX_MS (7 * DAY_MS)

/* Wall-clock time, and whether it can be believed: without that no key is good or bad. */
struct server_keys_clock {
	uint64_t now_unix_ms;
	bool     is_set;
};

/* Not before this program was written. What else makes a clock believable is the system's business. */
bool server_keys_is_plausible(uint64_t now_unix_ms);

struct server_key {
	char               id[KEY_ID_TEXT_MAX + 1];
	struct signing_key key;           /* all zero when retired */
	uint64_t           until_unix_ms; /* end of the document's life, cap included */
	bool               retired;       /* listed as old */
};

struct server_keys {
	char              server_name[SERVER_NAME_TEXT_MAX + 1];
	uint64_t          learnt_unix_ms; /* the latest of what was merged */
	size_t            count;
	struct server_key key[SERVER_KEYS_MAX];
};

/*
 * The answer to GET /_matrix/key/v2/server, asked of server_name.
 *   out  set only on ERR_OK; the document may have expired already
 * ERR_BUSY: the clock is not set. ERR_TOO_LARGE: bytes. ERR_NOT_FOUND: it is about another server.
 * ERR_SYNTAX: not such a document, a key that is not 32 bytes, or repeated members. ERR_LIMIT: more
 * keys than SERVER_KEYS_MAX. ERR_UNSUPPORTED: no key that could be used. ERR_SIGNATURE: none of its
 * keys has signed it, or one of those looked at wrongly. ERR_NOMEM.
 */
enum err server_keys_parse(struct str document, struct str server_name,
                           struct server_keys_clock clock, struct server_keys *out);

/* Another server that is believed to have asked; its keys are pinned by configuration. */
struct server_keys_pin {
	char               id[KEY_ID_TEXT_MAX + 1];
	struct signing_key key;
};

struct server_keys_notary {
	char                   name[SERVER_NAME_TEXT_MAX + 1];
	struct server_keys_pin pin[SERVER_KEYS_PINS_MAX];
	size_t                 count; /* >= 1 */
};

/*
 * A notary as an owner writes it: "matrix.org ed25519:auto KEY [ed25519:other KEY ...]", by blanks.
 * ERR_SYNTAX: another form, or a name or key that is none. ERR_LIMIT: more than SERVER_KEYS_PINS_MAX.
 */
enum err server_keys_notary_parse(struct str text, struct server_keys_notary *out);

/* matrix.org, as other servers pin it. */
void server_keys_notary_default(struct server_keys_notary *out);

/*
 * A notary's answer about server_name: every document about it that both have signed, merged.
 * ERR_NOT_FOUND: there is none about it. ERR_SIGNATURE: not signed by a pinned key. Otherwise as
 * server_keys_parse, of the last document that was refused.
 */
enum err server_keys_parse_notary(struct str answer, struct str server_name,
                                  const struct server_keys_notary *notary,
                                  struct server_keys_clock clock, struct server_keys *out);

/*
 * May the key of that id authorise a request now?
 *   out  set only on ERR_OK; lives as long as k does
 * ERR_NOT_FOUND: not listed, or retired. ERR_RANGE: its time is over (or it was learnt in the
 * future: the clock was set back). ERR_BUSY: the clock is not set.
 */
enum err server_keys_find(const struct server_keys *k, struct str id,
                          struct server_keys_clock clock, const struct signing_key **out);

/* The key is good, but in the last fifth of its life. */
bool server_keys_wants_refresh(const struct server_keys *k, struct str id,
                               struct server_keys_clock clock);

/* When the last key that is not retired ends; 0: there is none. */
uint64_t server_keys_until(const struct server_keys *k);

/*
 * Adds what fresh says of the same server. Of two entries with one id that stays which ends later,
 * the fresh one when they end together; when there is no more place, those go that end first.
 * Returns how many ids now stand for another key than before, for the log.
 */
size_t server_keys_merge(struct server_keys *k, const struct server_keys *fresh);

/* Bytes for storage, with a version in front. */
#define SERVER_KEYS_BYTES_MAX                   \
	(1 + 2 + SERVER_NAME_TEXT_MAX + 8 + 1 + \
	 SERVER_KEYS_MAX * (1 + KEY_ID_TEXT_MAX + 1 + 8 + SIGNING_KEY_BYTES))

void server_keys_write(struct writer *w, const struct server_keys *k);

/* ERR_SYNTAX: not what this version wrote about server_name: treat as unknown. */
enum err server_keys_read(struct str bytes, struct str server_name, struct server_keys *out);

#endif
