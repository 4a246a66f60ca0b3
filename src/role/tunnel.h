/*
 * tunnel.h - two streams joined: what one says the other hears, until both have ended.
 */
#ifndef ROLE_TUNNEL_H
#define ROLE_TUNNEL_H

#include "loop/loop.h"
#include "loop/stream.h"

struct tunnel;

/* Both streams are the tunnel's from now on. ended: from the loop, when it is gone. Idle longer: cut. */
typedef void tunnel_ended_fn(void *arg, uint64_t up_bytes, uint64_t down_bytes);

enum err tunnel_start(struct loop *l, struct stream *near, struct stream *far, msec idle_ms,
                      tunnel_ended_fn *ended, void *arg, struct tunnel **out);
void     tunnel_cut(struct tunnel *t); /* at once; ended is not called */

#endif
