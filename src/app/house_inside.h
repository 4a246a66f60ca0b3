/*
 * house_inside.h - the house and its parts: what all share (house.c), the homeservers behind it
 * (house_neighbours.c), listeners (house_doorways.c), what is kept for sleepers and the keys of other servers
 * (house_keep.c). For these files only.
 */
#ifndef APP_HOUSE_INSIDE_H
#define APP_HOUSE_INSIDE_H

#include "app/house.h"
#include "base/list.h"
#include "role/answers.h"
#include "role/gate.h"
#include "role/inbound.h"
#include "role/outbound.h"
#include "role/reception.h"
#include "role/resolver.h"
#include "role/upstream.h"
#include "store/cache.h"
#include "store/deaths.h"

enum { OWN_ADDRESSES_MAX = 64 };

/* One homeserver of the present settings, or of earlier ones. */
struct neighbour {
	struct link       link;
	struct upstream  *upstream;
	struct reception *reception;
	char              url[512];
};

enum doorway_kind { DOORWAY_INBOUND, DOORWAY_OUTBOUND };

/* One listener and what is behind it. */
struct doorway {
	struct link       link;
	struct house     *house;
	enum doorway_kind kind;
	struct endpoint   endpoint;
	struct listener  *listener;
	struct outbound  *outbound; /* DOORWAY_OUTBOUND */
	bool              wanted;   /* by the settings being taken over */
};

struct house {
	struct loop          *loop;
	struct settings      *settings;
	struct tls_server    *tls_server;
	struct tls_client    *tls_client;
	struct dns           *dns;
	struct dns           *old_dns[16]; /* replaced by reloads; questions may be under way */
	size_t                old_dns_count;
	struct address        own[OWN_ADDRESSES_MAX];
	struct address_policy policy;
	struct limit          handshakes;
	struct http_pool     *pool;    /* connections to other servers */
	struct servers       *servers; /* places for them */
	struct cache         *cache;   /* of resolutions, across restarts */
	struct resolver      *resolver;
	struct dns           *key_dns; /* of key_resolver */
	struct limit          key_handshakes;
	struct resolver      *key_resolver; /* for names that strangers claim to have */
	struct key_fetcher   *key_fetcher;
	struct keyring       *keyring;
	struct verifier      *verifier;
	struct answers       *answers;
	struct queue         *queue;   /* NULL: nothing is acknowledged early */
	struct deaths        *deaths;  /* of earlier processes, by what is in state_dir */
	bool                  is_shut; /* there were too many: state_dir is left alone */
	msec                  opened_at;
	struct gate          *gate;
	struct inbound       *inbound;
	struct link           neighbours, doorways;
	bool                  draining;
};

/* ---- house.c ---- */

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void house_explain(struct house_fault *fault, const char *format, ...);

bool     house_has_sleeper(const struct settings *s);
enum err house_new_dns(struct house *h, const struct settings *s, size_t queries_max,
                       struct dns **out);
unsigned house_keys_share(unsigned all); /* of a ceiling, for lookups on behalf of strangers */
bool     house_load_resolution(void *house, struct str name, char *bytes, size_t *len);

/* ---- house_neighbours.c ---- */

struct upstream  *house_upstream(void *house, const struct homeserver_settings *hs);
struct reception *house_reception_for(void *house, const struct homeserver_settings *hs);

/* Those of the settings that are not there yet. */
enum err house_neighbours_add(struct house *h, const struct settings *s);
void     house_neighbours_tell(struct house *h, const struct settings *s);  /* a reload */
void     house_receptions_set(struct house *h, const struct settings *s);   /* ditto */
void     house_neighbours_prune(struct house *h, const struct settings *s); /* s NULL: all go */

/* ---- house_doorways.c ---- */

/* TCP ports alone; all listeners with what is behind them; what is no longer wanted goes. */
enum err house_doorways_bind(struct house *h, const struct settings *s, struct house_fault *fault);
enum err house_doorways_want(struct house *h, struct settings *s, struct house_fault *fault);
void     house_doorways_settle(struct house *h, const struct settings *s);
void     house_doorways_reload(struct house *h, struct settings *s);
void     house_doorway_close(struct doorway *d);
void     house_inbound_full(void *house, bool full);

/* ---- house_keep.c ---- */

void     house_look_back(struct house *h, const struct settings *s); /* what state_dir did */
enum err house_open_keys(struct house *h, const struct settings *s); /* and the queue */
void     house_follow_queue(struct house *h, const struct settings *s);
void     house_say_stranded(const struct house *h, const struct settings *s);

#endif
