/*
 * fetch.h - operation: GET one small document and hand it over whole.
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "net/http_client.h"

struct fetch;

struct fetch_options {
	struct http_target target;
	struct str         host;            /* Host to send */
	struct str         path;            /* request target */
	size_t             body_max;        /* beyond: ERR_TOO_LARGE */
	msec               deadline_ms;     /* for all of it */
	bool               self_delimiting; /* see http_client.h */
};

struct fetch_result {
	enum err           err;   /* ERR_OK: an answer, whatever its status */
	const char        *fault; /* a short text for the log */
	const struct head *head;  /* these two valid during the call, with ERR_OK */
	struct str         body;
};

typedef void fetch_done_fn(void *arg, const struct fetch_result *res);

/* Redirects are not followed, connections not kept. */
enum err fetch_start(struct fetch **slot, struct loop *l, struct http_pool *p,
                     const struct fetch_options *o, fetch_done_fn *done, void *arg);
void     fetch_cancel(struct fetch **slot);

#endif
