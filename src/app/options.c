#include "app/options.h"

#include <config.h> /* made from Kconfig; in quotes it would be app/config.h */

#include "base/log.h"
#include "fed/awake.h"
#include "loop/stream.h"

#define FIELD(type, f) offsetof(struct type, f), sizeof(((struct type *)0)->f)

#define KB             1024ull
#define MB             (1024 * KB)

const struct option_section_row option_sections[SECTION_COUNT] = {
	[SECTION_DOORSTEP] = { "doorstep", true, sizeof(struct main_options),
	                       "The process itself; one section." },
	[SECTION_DOMAIN] = { "domain", false, sizeof(struct domain_options),
	                     "A Matrix domain at this door; one section for each." },
	[SECTION_HOMESERVER] = { "homeserver", false, sizeof(struct homeserver_options),
	                         "A homeserver behind the door; domains and outbound name it." },
	[SECTION_LISTEN] = { "listen", false, sizeof(struct listen_options),
	                     "A public TLS port for other servers and clients." },
	[SECTION_OUTBOUND] = { "outbound", false, sizeof(struct outbound_options),
	                       "A port on the home network where a homeserver hands over its requests "
	                       "to other servers." },
	[SECTION_LIMITS] = { "limits", true, sizeof(struct limit_settings),
	                     "Every ceiling and every time; one section. Defaults depend on "
	                     "memory_class where four are given (64 / 128 / 256 / 512)." },
	[SECTION_POLICY] = { "policy", true, sizeof(struct policy_options),
	                     "Whom to deal with; one section." },
	[SECTION_OPENWRT] = { "openwrt", true, sizeof(struct openwrt_options),
	                      "What the service of OpenWrt does around doorstep; one section. Means "
	                      "nothing elsewhere." },
	[SECTION_ROUTE] = { "route", false, 1, NULL },
};

static const struct option_word log_levels[] = { { "error", LOG_ERROR },
	                                         { "warn", LOG_WARN },
	                                         { "info", LOG_INFO },
	                                         { "debug", LOG_DEBUG },
	                                         { NULL, 0 } };
static const struct option_word memory_classes[] = { { "auto", 0 },  { "64", 64 },   { "128", 128 },
	                                             { "256", 256 }, { "512", 512 }, { NULL, 0 } };
static const struct option_word exposures[] = { { "federation", EXPOSE_FEDERATION },
	                                        { "media", EXPOSE_MEDIA },
	                                        { "client", EXPOSE_CLIENT },
	                                        { NULL, 0 } };
static const struct option_word inviters[] = { { "any", INVITES_FROM_ANY },
	                                       { "known", INVITES_FROM_KNOWN },
	                                       { "allowed", INVITES_FROM_ALLOWED },
	                                       { NULL, 0 } };
static const struct option_word modes[] = { { "matrix-federation", OUTBOUND_MATRIX_FEDERATION },
	                                    { "connect", OUTBOUND_CONNECT },
	                                    { NULL, 0 } };

/* as awake_kind_slug() calls them */
static const struct option_word wake_kinds[] = { { "message", 1u << AWAKE_MESSAGE },
	                                         { "to_device", 1u << AWAKE_TO_DEVICE },
	                                         { "invite", 1u << AWAKE_INVITE },
	                                         { "keys", 1u << AWAKE_KEYS },
	                                         { "client", 1u << AWAKE_CLIENT },
	                                         { "join", 1u << AWAKE_JOIN },
	                                         { "query", 1u << AWAKE_QUERY },
	                                         { "history", 1u << AWAKE_HISTORY },
	                                         { "media", 1u << AWAKE_MEDIA },
	                                         { "other", 1u << AWAKE_OTHER },
	                                         { "none", 0 },
	                                         { NULL, 0 } };

#define CONNECTIONS_MAX (CONFIG_DOORSTEP_MAX_CONNECTIONS / 2) /* in each direction */
#define HANDSHAKES_MAX  CONFIG_DOORSTEP_MAX_HANDSHAKES
/* a head is read as one piece, and a stream shows no more */
#define HEAD_MAX                                                        \
	(CONFIG_DOORSTEP_MAX_HEAD_BYTES > STREAM_RX_MAX ? STREAM_RX_MAX \
	                                                : CONFIG_DOORSTEP_MAX_HEAD_BYTES)
#define FIELDS_MAX  CONFIG_DOORSTEP_MAX_HEAD_FIELDS
#define TARGET_MAX  CONFIG_DOORSTEP_MAX_TARGET_BYTES
#define QUERIES_MAX CONFIG_DOORSTEP_MAX_DNS_QUERIES

/* Shorthands for the rows: section and the field's place. */
#define MAIN(f)       SECTION_DOORSTEP, #f
#define DOMAIN(f)     SECTION_DOMAIN, #f
#define HOMESERVER(f) SECTION_HOMESERVER, #f
#define LISTEN(f)     SECTION_LISTEN, #f
#define OUTBOUND(f)   SECTION_OUTBOUND, #f
#define LIMIT(f)      SECTION_LIMITS, #f
#define POLICY(f)     SECTION_POLICY, #f
#define OPENWRT(f)    SECTION_OPENWRT, #f

const struct option option_table[] = {
	{ MAIN(enabled), OPTION_FLAG, FIELD(main_options, enabled), .def = "0",
	  .help = "0: `serve` says so and ends at once with success." },
	{ MAIN(state_dir), OPTION_FILE, FIELD(main_options, state_dir),
	  .help = "Directory for what is kept across restarts. Absent: nothing is kept. Another one "
	          "counts from the next start on; what is in the earlier one does not move by itself." },
	{ MAIN(control), OPTION_FILE, FIELD(main_options, control), 0, 107,
	  .help = "Unix socket for `doorstep status`. Absent: none." },
	{ MAIN(log_level), OPTION_CHOICE, FIELD(main_options, log_level), .def = "info",
	  .words = log_levels, .help = "Least important lines that are logged." },
	{ MAIN(dns), OPTION_ADDRESS, FIELD(main_options, dns),
	  .help = "The DNS server to ask, address and port. Absent: as the system is set up." },
	{ MAIN(ca_file), OPTION_FILE, FIELD(main_options, ca_file),
	  .def = "/etc/ssl/certs/ca-certificates.crt",
	  .help = "Certificate authorities that other servers' certificates must come from (PEM)." },
	{ MAIN(memory_class), OPTION_CHOICE, FIELD(main_options, memory_class), .def = "auto",
	  .words = memory_classes,
	  .help = "Megabytes of RAM that the defaults of `config limits` are made for. auto: this "
	          "machine's." },
	{ MAIN(allow_range), OPTION_RANGE, FIELD(main_options, allow_range), .flags = OPTION_LIST,
	  .help = "Addresses of other servers that would be refused as private or reserved." },

	{ DOMAIN(server_name), OPTION_SERVER_NAME, FIELD(domain_options, server_name),
	  .flags = OPTION_REQUIRED, .help = "The part of user ids behind the colon." },
	{ DOMAIN(homeserver), OPTION_REFERENCE, FIELD(domain_options, homeserver),
	  .help = "Name of the `config homeserver` that requests go to. Absent: only .well-known is "
	          "answered." },
	{ DOMAIN(delegate), OPTION_SERVER_NAME, FIELD(domain_options, delegate),
	  .help = "m.server of /.well-known/matrix/server: where other servers shall connect. Absent: "
	          "that document is not served." },
	{ DOMAIN(client_url), OPTION_URL, FIELD(domain_options, client_url),
	  .help = "Base URL for clients, in /.well-known/matrix/client. Absent: that document is not "
	          "served." },
	{ DOMAIN(client_extra), OPTION_FILE, FIELD(domain_options, client_extra),
	  .help = "File with a JSON object whose members are added to /.well-known/matrix/client." },
	{ DOMAIN(support_page), OPTION_URL, FIELD(domain_options, support_page),
	  .help = "URL in /.well-known/matrix/support." },
	{ DOMAIN(support_contact), OPTION_CONTACT, FIELD(domain_options, support_contact),
	  .flags = OPTION_LIST,
	  .help = "A contact in /.well-known/matrix/support: `role=m.role.admin "
	          "matrix_id=@adam:example.org email=adam@example.org` (role, and one of the others)." },
	{ DOMAIN(expose), OPTION_WORDS, FIELD(domain_options, expose), .flags = OPTION_LIST,
	  .def = "federation", .words = exposures,
	  .help = "Paths that are passed to the homeserver. Administrative paths never are." },
	{ DOMAIN(certificate), OPTION_CREDENTIAL, FIELD(domain_options, certificate),
	  .flags = OPTION_LIST, .help = "Certificate chain (PEM, own certificate first)." },
	{ DOMAIN(key), OPTION_CREDENTIAL, FIELD(domain_options, key), .flags = OPTION_LIST,
	  .help = "Private key (PEM). Keys and certificates are paired by matching." },

	{ HOMESERVER(url), OPTION_HOMESERVER_URL, FIELD(homeserver_options, url), 0, 500,
	  .flags = OPTION_REQUIRED,
	  .help = "Where it listens: `http://192.168.1.20:8008`, `https://...` or `unix:/path`." },
	{ HOMESERVER(connection_limit), OPTION_NUMBER, FIELD(homeserver_options, connection_limit),
	  1, CONNECTIONS_MAX, .by_class = { "24", "64", "128", "256" },
	  .help = "Connections to it at once; further requests wait." },
	{ HOMESERVER(repeat_answers), OPTION_FLAG, FIELD(homeserver_options, repeat_answers),
	  .def = "1",
	  .help = "Its server keys, version, profiles, media and the like are given again without asking "
	          "it while they are fresh, as its Cache-Control allows." },
	{ HOMESERVER(sleeps), OPTION_FLAG, FIELD(homeserver_options, sleeps),
	  .help = "It is off at times: deliveries of other servers are acknowledged and kept in "
	          "state_dir while it is, and handed over when it is back; other requests are held "
	          "while it wakes. The options below count only then. Absent: 1 if there is a "
	          "state_dir." },
	{ HOMESERVER(queue_limit), OPTION_BYTES, FIELD(homeserver_options, queue_limit), 64 * KB,
	  16 * 1024 * MB, .by_class = { "8M", "32M", "64M", "256M" },
	  .help = "Deliveries of other servers that are kept while it is off; never more than half of "
	          "the free space in state_dir." },
	{ HOMESERVER(probe_interval), OPTION_TIME, FIELD(homeserver_options, probe_interval),
	  SECOND_MS, HOUR_MS, .def = "30s",
	  .help = "When nothing was heard of it for so long, a connection is opened and closed to see "
	          "whether it is there. While it is away: every 5 s for ten minutes and as long as its "
	          "machine refuses, otherwise as often as this; never after it said that it sleeps." },
	{ HOMESERVER(sleep_grace), OPTION_TIME, FIELD(homeserver_options, sleep_grace), 0, DAY_MS,
	  .def = "5m",
	  .help = "It is asked to stay up for so long after it sent events, because other servers "
	          "come back with questions." },
	{ HOMESERVER(wake_mac), OPTION_MAC, FIELD(homeserver_options, wake_mac),
	  .help = "Hardware address of its network card, for Wake-on-LAN: `00:11:22:33:44:55`. Absent: "
	          "it is not woken." },
	{ HOMESERVER(wake_address), OPTION_IP, FIELD(homeserver_options, wake_address),
	  .help = "Where magic packets are sent. Absent: to the broadcast address of the network that "
	          "it is on." },
	{ HOMESERVER(wake_on), OPTION_WORDS, FIELD(homeserver_options, wake_on),
	  .flags = OPTION_LIST, .def = "message to_device invite keys client join",
	  .words = wake_kinds,
	  .help = "Requests worth waking it for. message, to_device: deliveries that hold events or "
	          "messages for devices; keys: of devices; client: of clients that are logged in; "
	          "query: profiles, aliases, room lists; history: events and state of rooms." },

	{ LISTEN(address), OPTION_IP, FIELD(listen_options, address),
	  .help = "Local address. Absent: all, of both families; `::` is IPv6 only." },
	{ LISTEN(port), OPTION_PORT, FIELD(listen_options, port), 1, 65535, .def = "8448",
	  .help = "TCP port." },

	{ OUTBOUND(mode), OPTION_CHOICE, FIELD(outbound_options, mode), .def = "matrix-federation",
	  .words = modes,
	  .help = "matrix-federation: Synapse's `matrix-federation://` requests. connect: an HTTP "
	          "CONNECT proxy for other homeservers." },
	{ OUTBOUND(listen), OPTION_ENDPOINT, FIELD(outbound_options, listen),
	  .flags = OPTION_REQUIRED,
	  .help = "Address and port on the home network, or `unix:/path`." },
	{ OUTBOUND(homeserver), OPTION_REFERENCE, FIELD(outbound_options, homeserver),
	  .help = "Name of the `config homeserver` that uses it." },
	{ OUTBOUND(secret_file), OPTION_CREDENTIAL, FIELD(outbound_options, secret_file),
	  .help = "File with the shared secret (matrix-federation) or `user:password` (connect). "
	          "Needed unless listen is a unix socket." },
	{ OUTBOUND(connection_limit), OPTION_NUMBER, FIELD(outbound_options, connection_limit), 1,
	  CONNECTIONS_MAX, .by_class = { "32", "96", "128", "640" },
	  .help = "Connections of homeservers at once; further ones wait." },

	{ LIMIT(inbound_connections), OPTION_NUMBER, FIELD(limit_settings, inbound_connections), 1,
	  CONNECTIONS_MAX, .by_class = { "64", "128", "224", "768" },
	  .help = "Connections of other servers and clients at once." },
	{ LIMIT(outbound_connections), OPTION_NUMBER, FIELD(limit_settings, outbound_connections),
	  1, CONNECTIONS_MAX, .by_class = { "32", "96", "128", "640" },
	  .help = "Connections to other servers at once." },
	{ LIMIT(outbound_per_server), OPTION_NUMBER, FIELD(limit_settings, outbound_per_server), 1,
	  CONNECTIONS_MAX, .by_class = { "8", "16", "16", "32" },
	  .help = "Connections to one other server at once." },
	{ LIMIT(handshakes), OPTION_NUMBER, FIELD(limit_settings, handshakes), 1, HANDSHAKES_MAX,
	  .by_class = { "4", "8", "16", "32" },
	  .help = "TLS handshakes at once, in each direction." },
	{ LIMIT(dns_queries), OPTION_NUMBER, FIELD(limit_settings, dns_queries), 1, QUERIES_MAX,
	  .by_class = { "8", "16", "32", "64" }, .help = "DNS questions at once." },
	{ LIMIT(connections_per_address), OPTION_NUMBER,
	  FIELD(limit_settings, connections_per_address), 1, CONNECTIONS_MAX,
	  .by_class = { "8", "16", "32", "64" },
	  .help = "Connections from one address at once; not for loopback and private addresses." },
	{ LIMIT(origin_rate), OPTION_NUMBER, FIELD(limit_settings, origin_rate), 0, 100000,
	  .def = "50",
	  .help = "Requests a second of one other server whose signature was good; ten seconds' worth "
	          "may come at once. More wait for their turn. 0: no limit." },
	{ LIMIT(address_rate), OPTION_NUMBER, FIELD(limit_settings, address_rate), 0, 100000,
	  .def = "50",
	  .help = "The same for all other requests from one address (IPv6: /64); not for loopback and "
	          "private addresses, nor for clients that are logged in." },
	{ LIMIT(requests_per_connection), OPTION_NUMBER,
	  FIELD(limit_settings, requests_per_connection), 1, 1000000, .def = "1000",
	  .help = "Requests on one connection before it is closed in good order." },
	{ LIMIT(request_line_max), OPTION_BYTES, FIELD(limit_settings, request_line_max), 1 * KB,
	  TARGET_MAX, .def = "8K", .help = "Longest request line." },
	{ LIMIT(field_max), OPTION_BYTES, FIELD(limit_settings, field_max), 1 * KB, HEAD_MAX,
	  .def = "8K", .help = "Longest header field." },
	{ LIMIT(request_head_max), OPTION_BYTES, FIELD(limit_settings, request_head_max), 4 * KB,
	  HEAD_MAX, .def = "16K", .help = "Largest request head." },
	{ LIMIT(response_head_max), OPTION_BYTES, FIELD(limit_settings, response_head_max), 4 * KB,
	  HEAD_MAX, .def = "16K", .help = "Largest response head." },
	{ LIMIT(fields_max), OPTION_NUMBER, FIELD(limit_settings, fields_max), 16, FIELDS_MAX,
	  .def = "100", .help = "Header fields of one head." },
	{ LIMIT(send_body_max), OPTION_BYTES, FIELD(limit_settings, send_body_max), 1 * MB, 64 * MB,
	  .def = "13M", .help = "Largest body of a federation transaction (PUT .../send)." },
	{ LIMIT(body_max), OPTION_BYTES, FIELD(limit_settings, body_max), 64 * KB, 64 * MB,
	  .def = "1M", .help = "Largest body of another federation request." },
	{ LIMIT(upload_max), OPTION_BYTES, FIELD(limit_settings, upload_max), 0, 1024 * 1024 * MB,
	  .def = "0", .help = "Largest media or client body. 0: the homeserver decides." },
	{ LIMIT(handshake_timeout), OPTION_TIME, FIELD(limit_settings, handshake_ms), 1000, 60000,
	  .def = "10s", .help = "A TLS handshake." },
	{ LIMIT(head_timeout), OPTION_TIME, FIELD(limit_settings, head_ms), 1000, 300000,
	  .def = "10s", .help = "A peer sends a complete request head." },
	{ LIMIT(idle_timeout), OPTION_TIME, FIELD(limit_settings, idle_ms), 1000, 600000,
	  .def = "30s", .help = "A peer's connection without a request." },
	{ LIMIT(body_timeout), OPTION_TIME, FIELD(limit_settings, body_idle_ms), 1000, 600000,
	  .def = "30s", .help = "A body of which nothing arrives." },
	{ LIMIT(write_timeout), OPTION_TIME, FIELD(limit_settings, write_idle_ms), 1000, 600000,
	  .def = "30s", .help = "A peer that takes nothing of its response." },
	{ LIMIT(connect_timeout), OPTION_TIME, FIELD(limit_settings, connect_ms), 500, 60000,
	  .def = "5s", .help = "Connecting to the homeserver." },
	{ LIMIT(resolve_timeout), OPTION_TIME, FIELD(limit_settings, resolve_connect_ms), 1000,
	  60000, .def = "10s",
	  .help = "Finding another server, connecting and TLS, all together." },
	{ LIMIT(response_timeout), OPTION_TIME, FIELD(limit_settings, response_head_ms), 10000,
	  3600000, .def = "600s",
	  .help = "Waiting for a response to begin, in both directions; ditto for a free connection "
	          "where all are taken." },
	{ LIMIT(pool_timeout), OPTION_TIME, FIELD(limit_settings, pool_idle_ms), 1000, 600000,
	  .def = "60s", .help = "An unused connection to another server is kept." },
	{ LIMIT(homeserver_timeout), OPTION_TIME, FIELD(limit_settings, homeserver_idle_ms), 1000,
	  600000, .def = "30s",
	  .help = "An unused connection to the homeserver is kept; less than the homeserver's own "
	          "time." },
	{ LIMIT(cache_bytes), OPTION_BYTES, FIELD(limit_settings, cache_bytes), 256 * KB, 256 * MB,
	  .by_class = { "1M", "4M", "16M", "48M" },
	  .help = "The cache of lookups and kept answers: the file in state_dir. Without it, memory, "
	          "at most 8K for each megabyte of memory_class." },
	{ LIMIT(answers_bytes), OPTION_BYTES, FIELD(limit_settings, answers_bytes), 0, 256 * MB,
	  .by_class = { "1M", "4M", "16M", "48M" },
	  .help = "Answers of homeservers in memory, to be given again while they are away or the "
	          "answers are fresh. 0: none are kept." },

	{ POLICY(deny_server), OPTION_PATTERN, FIELD(policy_options, deny_server),
	  .flags = OPTION_LIST,
	  .help = "Servers that are refused in both directions: a name, or `*.example.org` for all "
	          "below it." },
	{ POLICY(allow_server), OPTION_PATTERN, FIELD(policy_options, allow_server),
	  .flags = OPTION_LIST,
	  .help = "The only servers that are dealt with, in both directions; deny_server counts all "
	          "the same. Absent: everybody." },
	{ POLICY(invites_from), OPTION_CHOICE, FIELD(policy_options, invites_from), .def = "any",
	  .words = inviters,
	  .help = "Whose invitations are taken. known: of servers that the homeserver wrote to before "
	          "through the matrix-federation listener, and of invite_server. allowed: of "
	          "invite_server alone." },
	{ POLICY(invite_server), OPTION_PATTERN, FIELD(policy_options, invite_server),
	  .flags = OPTION_LIST,
	  .help = "Servers whose invitations are always taken, unless denied." },
	{ POLICY(notary), OPTION_NOTARY, FIELD(policy_options, notary), .flags = OPTION_LIST,
	  .def = "matrix.org ed25519:auto Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw "
	         "ed25519:a_RXGa l8Hft5qXKn1vfHrg3p4+W8gELQVo8N13JkluMfmn2sQ",
	  .help = "Who is asked for the keys of a server that does not give them itself: a server name "
	          "and its own keys, which are not looked up. Up to four, in order; `none`: nobody." },

	{ OPENWRT(open_firewall), OPTION_FLAG, FIELD(openwrt_options, open_firewall), .def = "0",
	  .help = "1: the ports of `config listen` are open to the WAN zone while doorstep runs." },
	{ OPENWRT(jail), OPTION_FLAG, FIELD(openwrt_options, jail), .def = "1",
	  .help = "Run in a jail where the system has ujail. 0, or without it: doorstep opens its ports "
	          "as root and then gives all privileges up." },
	{ OPENWRT(interface), OPTION_TEXT, FIELD(openwrt_options, interface), 0, 64,
	  .flags = OPTION_LIST,
	  .help = "Networks (of /etc/config/network) after whose changes doorstep is reloaded. Absent: "
	          "wan, wan6 and lan." },
};

const size_t option_count = sizeof(option_table) / sizeof(option_table[0]);

unsigned option_class_index(unsigned memory_class)
{
	return memory_class >= 512 ? 3 : memory_class >= 256 ? 2 : memory_class >= 128 ? 1 : 0;
}

unsigned option_class_of(uint64_t memory_kb)
{
	/* three quarters of the nominal size: what firmware and GPU leave of it is never less */
	return memory_kb >= 384 * KB    ? 512
		: memory_kb >= 192 * KB ? 256
		: memory_kb >= 96 * KB  ? 128
					: 64;
}

const struct option *option_find(enum option_section section, struct str name)
{
	for (size_t i = 0; i < option_count; i++)
		if (option_table[i].section == section && str_is(name, option_table[i].name))
			return &option_table[i];
	return NULL;
}
