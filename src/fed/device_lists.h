/*
 * device_lists.h - the answer to POST user/keys/query taken apart by user, and put together again.
 *
 * Source: Matrix specification, Server-Server API, "End-to-End Encryption", POST
 * /_matrix/federation/v1/user/keys/query. Each user's keys are signed for themselves, so an answer about
 * some users may be made of earlier answers about each. What is signed is copied byte for byte.
 *
 * The normal case:
 *
 *	device_lists_asked(body, &lists)	whom the question is about
 *	taking in:	device_lists_answered(answer, &lists), then for each user that was asked for
 *			with all devices device_lists_write_part(&lists.user[i], &w)
 *	giving:		device_lists_read_part(part, &lists.user[i]) for each, then
 *			device_lists_write(&lists, &w)
 *
 * Pure, no allocation; everything borrows from the texts.
 */
#ifndef FED_DEVICE_LISTS_H
#define FED_DEVICE_LISTS_H

#include "base/cursor.h"
#include "codec/json/scan.h"

enum {
	DEVICE_LISTS_USERS_MAX = 64, /* of one question that is looked at */
	DEVICE_LISTS_ID_MAX = 255,
};

/* Members of the answer, each an object by user. */
enum device_lists_member {
	DEVICE_LISTS_DEVICES, /* device_keys */
	DEVICE_LISTS_MASTER,  /* master_keys */
	DEVICE_LISTS_SELF,    /* self_signing_keys */
	DEVICE_LISTS_MEMBER_COUNT
};

struct device_lists_user {
	struct str id;      /* as in the question: see json_text_eq */
	struct str devices; /* the array of device ids asked for; NULL: all of them */
	struct str part[DEVICE_LISTS_MEMBER_COUNT]; /* objects as they stand; NULL: absent */
};

struct device_lists {
	size_t                   count;
	struct device_lists_user user[DEVICE_LISTS_USERS_MAX];
};

/* ERR_SYNTAX: not such a question, or a user occurs twice. ERR_LIMIT: too many users. */
enum err device_lists_asked(struct str question, struct device_lists *out);

/* Fills in the parts. ERR_SYNTAX: not such an answer. */
enum err device_lists_answered(struct str answer, struct device_lists *lists);

/* The user id in plain text, at most DEVICE_LISTS_ID_MAX bytes. False: it is longer. */
bool device_lists_id(const struct device_lists_user *u, struct writer *w);

/* What is kept of one user. False: the answer said nothing about him. */
bool device_lists_write_part(const struct device_lists_user *u, struct writer *w);

/* ERR_SYNTAX: not what device_lists_write_part wrote. */
enum err device_lists_read_part(struct str part, struct device_lists_user *u);

/* The answer; all parts must be there. At most as long as the parts with 64 bytes for each user. */
void device_lists_write(const struct device_lists *lists, struct writer *w);

#endif
