/*
 * crossing_inside.h - a request of a homeserver on its way to another server: what its parts share. The
 * listener (outbound.c), the request (crossing.c), CONNECT (crossing_connect.c), names served here
 * (crossing_local.c), and the homeserver's own sleep (crossing_orders.c). For these files only.
 */
#ifndef ROLE_CROSSING_INSIDE_H
#define ROLE_CROSSING_INSIDE_H

#include "fed/device_watch.h"
#include "role/outbound.h"
#include "role/relay.h"
#include "role/tunnel.h"

struct outbound {
	struct outbound_options o;
	struct http_server     *server;
	struct link             tunnels;
	size_t                  tunnel_count;
	outbound_full_fn       *full;
	void                   *full_arg;
	bool                    is_full;
	struct soon             make_room;
};

/* What a request is waiting for. */
enum crossing_state {
	CROSSING_RESOLVING, /* the lookup */
	CROSSING_QUEUING,   /* a place below the ceiling */
	CROSSING_DIALING,   /* CONNECT: the connection */
	CROSSING_RELAYING,  /* the relay has the request */
};

/* One request under way. */
struct crossing {
	struct outbound     *ob;
	struct settings     *settings;
	enum crossing_state  state;
	struct http_request *request;
	struct str           name; /* server name asked for; in the request's arena */
	struct lookup       *lookup;
	struct resolution    found;
	struct servers_place place; /* for a connection to the other server */
	struct deadline      place_limit;
	struct dial         *dial;
	struct relay        *relay;
	struct device_watch *watch; /* of a transaction of a homeserver that sleeps */
	msec                 began_at;
	bool                 makes_known;                    /* the server, once it took this */
	char                 method[16], to[264], path[208]; /* for the log; cut to fit */
};

struct crossing_tunnel {
	struct outbound     *ob;
	struct link          link;
	struct tunnel       *tunnel;
	struct servers_place place;
};

/* ---- crossing.c ---- */

/* Takes the request over; it ends by itself. */
void crossing_begin(void *outbound, struct http_request *r);

void crossing_log(const struct crossing *x, int status, const struct relay_result *res);
void crossing_free(struct crossing *x); /* answered, or given away */
void crossing_fail(struct crossing *x, enum err e);
void crossing_refuse(struct crossing *x, int status, const char *errcode, const char *kind,
                     const char *text);

/* Where the server was found to be; returns how many. */
size_t crossing_endpoints(const struct resolution *found, struct endpoint *to);
msec   crossing_patience(
	  const struct crossing *x); /* of discovery, connecting and TLS: what is left */

/* True: there is a place for a connection. Otherwise it goes on when there is. */
bool crossing_enter(struct crossing *x, struct str to);

bool              crossing_is_denied(const struct settings *s, struct str name);
struct reception *crossing_reception(const struct outbound *ob); /* of its homeserver; or NULL */

/* The homeserver sent something: it is awake. hidden: what goes through is not seen. */
void crossing_sent(struct crossing *x, enum awake_sent what, bool hidden);

/* ---- crossing_connect.c ---- */

void crossing_connect(struct crossing *x);
void crossing_dial(struct crossing *x); /* there is a place */
void crossing_tunnel_ended(void *tunnel, uint64_t up, uint64_t down);

/* ---- crossing_local.c ---- */

void crossing_local(struct crossing *x, const struct domain_settings *d);

/* ---- crossing_orders.c ---- */

bool crossing_is_order(const struct head *h);
void crossing_order(struct crossing *x, struct str path);

#endif
