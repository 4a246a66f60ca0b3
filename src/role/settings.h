/*
 * settings.h - what the roles are told: the checked configuration as plain values.
 *
 * Built by app/config from UCI text, immutable once built, replaced as a whole on reload. Counted by
 * reference, so that what began under one configuration ends under it.
 */
#ifndef ROLE_SETTINGS_H
#define ROLE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/str.h"
#include "loop/socket.h"
#include "net/wol.h"

enum expose {
	EXPOSE_FEDERATION = 1 << 0,
	EXPOSE_MEDIA = 1 << 1,
	EXPOSE_CLIENT = 1 << 2,
};

/* Lists as fed/server_list.h reads them. */
struct server_names {
	const char *const *at;
	size_t             count;
};

/* Whose invitations are taken, beside those in invite_servers. */
enum invites_from { INVITES_FROM_ANY, INVITES_FROM_KNOWN, INVITES_FROM_ALLOWED };

struct homeserver_settings {
	const char     *section; /* UCI section name */
	const char     *url;     /* as configured */
	bool            tls;
	struct endpoint endpoint; /* numeric address or unix path; for a DNS name: see host */
	const char     *host;     /* host of the url; for TLS the name its certificate must carry */
	bool            host_is_name; /* endpoint.address is not set: resolve host on connecting */
	uint16_t        port;
	unsigned        connections_max; /* kept-alive pool and ceiling towards this homeserver */
	bool            repeats;  /* answers of its own are given again while they are fresh */
	bool            sleeps;   /* deliveries are kept while it is off, requests held */
	bool            can_wake; /* wake_mac is set */
	struct wol_mac  wake_mac;
	struct address  wake_address; /* family 0: everybody on its network; port 0: 9 and 7 */
	unsigned        wake_on; /* kinds of request it is woken for: 1 << enum awake_kind, or-ed */
	msec            probe_ms; /* between probes while nothing is heard of it */
	msec     sleep_grace_ms; /* it does not sleep so soon after sending what others ask about */
	uint64_t queue_bytes;    /* of deliveries kept for it */
};

struct domain_settings {
	const char                       *section;
	const char                       *server_name;
	const struct homeserver_settings *homeserver; /* NULL: .well-known only */
	unsigned                          expose;     /* enum expose, or-ed */
	const char *well_known_server;                /* finished JSON documents, NULL: 404 */
	const char *well_known_client;
	const char *well_known_support;
	const char *const
		*hosts; /* what Host may say (lower case, no port): name, delegate, client_url */
	size_t   host_count;
	const char *const *certificates;
	size_t             certificate_count;
	const char *const *keys;
	size_t             key_count;
};

struct listen_settings {
	const char     *section;
	struct endpoint endpoint;
};

enum outbound_mode { OUTBOUND_MATRIX_FEDERATION, OUTBOUND_CONNECT };

struct outbound_settings {
	const char        *section;
	enum outbound_mode mode;
	struct endpoint    endpoint;
	const char
		*secret; /* trimmed content of secret_file; connect: "user:password"; NULL: none */
	const struct homeserver_settings *homeserver; /* may be NULL */
	unsigned                          connection_limit;
};

/* Ceilings and times; defaults by memory class, each an option of `config limits`. */
struct limit_settings {
	unsigned inbound_connections;
	unsigned outbound_connections; /* to other servers, in all */
	unsigned outbound_per_server;
	unsigned handshakes;              /* at once, each direction */
	unsigned dns_queries;             /* at once */
	unsigned connections_per_address; /* not for loopback and private addresses */
	unsigned requests_per_connection;
	size_t   request_line_max, field_max, request_head_max, response_head_max; /* bytes */
	unsigned fields_max;
	uint64_t send_body_max; /* PUT /send */
	uint64_t body_max;      /* other federation requests */
	uint64_t upload_max;    /* media and client bodies; 0: the homeserver decides */
	msec     handshake_ms, head_ms, idle_ms, body_idle_ms, write_idle_ms;
	msec     connect_ms;         /* to the homeserver */
	msec     resolve_connect_ms; /* discovery + connect + TLS to another server */
	msec     response_head_ms;   /* waiting for a response head, both directions */
	msec     pool_idle_ms;       /* kept-alive to other servers */
	msec     homeserver_idle_ms; /* kept-alive to the homeserver: below its own 60 s */
	size_t   cache_bytes;   /* store/cache: the map of its file, or memory without state_dir */
	size_t   answers_bytes; /* of kept answers of homeservers, in memory; 0: none */
	unsigned origin_rate, address_rate; /* requests a second, see gate.h; 0: as many as come */
	unsigned memory_class;              /* 64, 128, 256, 512 */
};

struct settings {
	unsigned refs; /* begins at 1, the builder's; changed through keep and drop only */
	void (*free)(struct settings *s); /* set by the builder */
	bool                              enabled;
	const char                       *state_dir; /* NULL: nothing is kept across restarts */
	const char                       *control;   /* control socket path; NULL: none */
	const char                       *ca_file;
	bool                              has_dns;
	struct address                    dns;       /* when has_dns */
	int                               log_level; /* enum log_level */
	const struct cidr                *allow_ranges;
	size_t                            allow_range_count;
	struct server_names               deny_servers, allow_servers, invite_servers;
	const struct server_keys_notary  *notaries; /* one without keys is none */
	size_t                            notary_count;
	enum invites_from                 invites_from;
	const struct domain_settings     *domains;
	size_t                            domain_count;
	const struct homeserver_settings *homeservers;
	size_t                            homeserver_count;
	const struct listen_settings     *listens;
	size_t                            listen_count;
	const struct outbound_settings   *outbounds;
	size_t                            outbound_count;
	struct limit_settings             limits;
};

struct settings *settings_keep(struct settings *s);
void             settings_drop(struct settings *s); /* the last one frees; NULL is fine */

/* The domain with that server name (byte for byte), or whose hosts hold that host (ASCII case and port ignored). */
const struct domain_settings *settings_domain(const struct settings *s, struct str server_name);
const struct domain_settings *settings_domain_by_host(const struct settings *s, struct str host);

#endif
