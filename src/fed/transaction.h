/*
 * transaction.h - a look at the body of PUT /send as it streams by: how much is in it, from whom, and
 * what kinds of things, so that it can be decided whether to keep it and whether to wake for it.
 *
 * Source: Matrix specification, Server-Server API, "Transactions", "PDUs", "EDUs"; Client-Server API,
 * "Size limits". Nothing is learnt here that would need the state of a room, and nothing is changed:
 * the body is signed and stays as it is.
 *
 * Pure, no allocation, a value of some 1 KB, whatever the body.
 *
 *	transaction_init(&t, bytes_max);
 *	on each piece:	transaction_feed(&t, piece, false)
 *	at its end:	transaction_feed(&t, STRL(""), true)
 */
#ifndef FED_TRANSACTION_H
#define FED_TRANSACTION_H

#include "codec/json/scan.h"
#include "codec/matrix/server_name.h"

enum {
	TRANSACTION_PDUS_MAX = 50,
	TRANSACTION_EDUS_MAX = 100,
	TRANSACTION_PDU_BYTES_MAX = 65536, /* as canonical JSON */
};

/* Kinds of what is in it, or-ed. */
enum transaction_part {
	TRANSACTION_MESSAGE =
		1 << 0, /* an event without state_key that somebody will want to read */
	TRANSACTION_QUIET =
		1 << 1, /* ditto, for which nobody is called: reactions, redactions ... */
	TRANSACTION_STATE = 1 << 2,       /* an event with state_key */
	TRANSACTION_TO_DEVICE = 1 << 3,   /* m.direct_to_device: exists nowhere else */
	TRANSACTION_DEVICE_LIST = 1 << 4, /* device lists and signing keys of users */
	TRANSACTION_RECEIPT = 1 << 5,
	TRANSACTION_TYPING = 1 << 6,
	TRANSACTION_PRESENCE = 1 << 7,
	TRANSACTION_OTHER = 1 << 8, /* EDUs of other types, or without one */
};

/* Worthless when they come late. */
#define TRANSACTION_FLEETING (TRANSACTION_TYPING | TRANSACTION_PRESENCE)

/* What a sleeping homeserver is woken for unless told otherwise. */
#define TRANSACTION_WAKING (TRANSACTION_MESSAGE | TRANSACTION_TO_DEVICE)

struct transaction {
	/* known when the end was fed without error; what grows can be looked at before */
	size_t   pdus, edus;
	unsigned parts;          /* enum transaction_part, or-ed */
	size_t   pdu_bytes_most; /* of the largest PDU, as canonical JSON */
	bool     has_origin;
	char     origin[SERVER_NAME_TEXT_MAX + 1]; /* "" also when it is too long for a name */

	/* private */
	struct json_scan scan;
	char             hold[320];
	enum err         err;
	bool             ended;
	unsigned         seen;     /* top-level members that came, bit per enum of the .c */
	unsigned         member;   /* of the top level, whose value this is */
	unsigned         field;    /* of the event or EDU, whose value comes */
	unsigned         fields;   /* seen in this one, bit per enum */
	unsigned         kind;     /* of this one, by its type; 0: not said */
	size_t at, blanks, spared; /* of this one: where it began, what is not canonical */
};

/* bytes_max: of the body, 0: 16 MiB. */
void transaction_init(struct transaction *t, size_t bytes_max);

/*
 * The next bytes; last: the body ends with them. Errors stay.
 * ERR_SYNTAX: no JSON object, or pdus, edus or what is in them are of the wrong kind, or a member that
 * is looked at occurs twice (400 M_NOT_JSON, M_BAD_JSON). ERR_LIMIT: too many PDUs or EDUs, or a PDU
 * is too large (400). ERR_TOO_LARGE: bytes_max (413). ERR_RANGE: see scan.h (400).
 */
enum err transaction_feed(struct transaction *t, struct str piece, bool last);

/* Nothing in it but what is worthless later: it may be acknowledged and dropped. */
bool transaction_is_fleeting(const struct transaction *t);

/* Is there any of these parts in it? */
static inline bool transaction_has(const struct transaction *t, unsigned parts)
{
	return (t->parts & parts) != 0;
}

#endif
