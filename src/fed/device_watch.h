/*
 * device_watch.h - whose devices changed? Told from what the homeserver sends to other servers.
 *
 * Source: Matrix specification, Server-Server API, "Device Management" (m.device_list_update) and "End-to-End
 * Encryption" (m.signing_key_update): whoever shares a room with a user is told of every change to his
 * devices and keys. So an answer about them is good until such an update is seen, provided that all the
 * homeserver sends is seen. What cannot be understood, or not be seen to its end, may have been an update
 * for anybody.
 *
 * Pure, no allocation; looks at the body of PUT /send as it streams by.
 *
 *	device_watch_init(&d, changed, arg);
 *	on each piece:	device_watch_feed(&d, piece);
 *	at its end:	device_watch_end(&d);		also when it was cut
 */
#ifndef FED_DEVICE_WATCH_H
#define FED_DEVICE_WATCH_H

#include "codec/json/scan.h"

enum { DEVICE_WATCH_USER_MAX = 255 };

/* user: valid during the call; empty: of any user */
typedef void device_watch_fn(void *arg, struct str user);

struct device_watch {
	/* private */
	struct json_scan scan;
	char             hold[6 * DEVICE_WATCH_USER_MAX + 2]; /* every byte escaped, and quotes */
	device_watch_fn *changed;
	void            *arg;
	bool             blind, ended;
	unsigned         place;               /* enum of device_watch.c */
	bool             is_update, has_type; /* of this EDU */
	bool             has_user;
	size_t           user_len;
	char             user[DEVICE_WATCH_USER_MAX];
};

void device_watch_init(struct device_watch *d, device_watch_fn *changed, void *arg);
void device_watch_feed(struct device_watch *d, struct str piece);
void device_watch_end(struct device_watch *d); /* a second call does nothing */

#endif
