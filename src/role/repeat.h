/*
 * repeat.h - a kept answer given to a peer, streamed with back-pressure.
 */
#ifndef ROLE_REPEAT_H
#define ROLE_REPEAT_H

#include "net/http_server.h"
#include "role/shelf.h"

/* ERR_OK: given completely. Otherwise the peer left. The request was ended either way. */
typedef void repeat_done_fn(void *arg, enum err e);

/* Operation. Owns the request until it is over. */
struct repeat;

/*
 * item: its hold is taken over, also on error.
 *   age_s  what the answer says about its age
 * ERR_NOMEM: nothing has begun, the request is still the caller's.
 */
enum err repeat_start(struct repeat **slot, struct loop *l, struct http_request *r,
                      struct shelf_item *item, uint64_t age_s, repeat_done_fn *done, void *arg);

#endif
