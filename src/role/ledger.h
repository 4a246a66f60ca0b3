/*
 * ledger.h - a bounded set of things seen lately, kept as salted hashes: access tokens that were good,
 * servers that our own homeserver wrote to.
 *
 * The hash is SHA-256 over a random salt and the texts, cut to 16 bytes: nobody who gets hold of the file
 * learns a token from it, and nobody who can choose texts can choose where they land. Eight
 * places share a row; the one not seen for longest gives way. So neither memory nor the time to find
 * something depends on what comes.
 *
 * It outlives the process through store/cache, a record for each 1024 places (20 bytes each), written
 * a minute after a change. Having been seen again is a change once a day only: flash wears. Losing the
 * records costs their being learnt anew, nothing else.
 */
#ifndef ROLE_LEDGER_H
#define ROLE_LEDGER_H

#include "loop/loop.h"
#include "store/cache.h"

enum { LEDGER_MARK_BYTES = 16, LEDGER_ROW = 8, LEDGER_RECORD_PLACES = 1024 };

/* What is kept of the texts. */
struct ledger_mark {
	uint8_t bytes[LEDGER_MARK_BYTES];
};

struct ledger;

struct ledger_options {
	struct loop  *loop;
	struct cache *cache;   /* NULL: nothing outlives the process */
	const char   *name;    /* of its records, at most 32 bytes; borrowed */
	size_t        places;  /* rounded up to whole rows */
	msec          keep_ms; /* since last seen */
};

/* ERR_NOMEM. */
enum err ledger_new(const struct ledger_options *o, struct ledger **out);
void     ledger_free(struct ledger *l); /* writes what waits; NULL is fine */

void ledger_mark(const struct ledger *l, const struct str *texts, size_t count,
                 struct ledger_mark *out);

bool ledger_has(const struct ledger *l, const struct ledger_mark *m);
bool ledger_is_empty(const struct ledger *l); /* nothing was ever noted, as far as is remembered */

/* Seen now. True: it was not there before. */
bool ledger_note(struct ledger *l, const struct ledger_mark *m);
void ledger_forget(struct ledger *l, const struct ledger_mark *m);

#endif
