/*
 * tls.h - TLS 1.2 and 1.3 over any stream, by mbedtls (3.6 or newer).
 *
 * All of mbedtls is behind this header; so is all that depends on its version, and the place where
 * an idle connection can be made to hold less.  Both sides give back an ordinary stream.
 *
 * Policy: AEAD with ECDHE only, no renegotiation (who keeps asking for it is left, ERR_TLS), no early
 * data; the peer's certificate must chain to the given authorities and carry the expected name as a
 * subjectAltName (RFC 9525: the common name is not looked at); IP addresses need an iPAddress SAN.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/address.h"
#include "loop/loop.h"
#include "loop/stream.h"

/* A failure with a sentence: what is wrong and what to do. */
struct tls_fault {
	char text[320];
};

/*
 * Server side: certificates chosen by SNI against their SANs (exact, then one-label wildcard,
 * case ignored); the first one when none fits or no SNI was sent: the handshake always completes.
 * Immutable once built, counted by reference: connections keep the one they began with.
 */
struct tls_server;

struct tls_server_files {
	const char *const *certificates; /* paths, PEM, leaf first */
	size_t             certificate_count;
	const char *const *keys; /* paths, PEM; paired with certificates by matching */
	size_t             key_count;
	msec               ticket_life_ms; /* 0: no resumption */
};

/*
 * ERR_IO: a file cannot be read.  ERR_SYNTAX: not PEM.  ERR_CERTIFICATE: a certificate without
 * key, a key without certificate, an expired certificate is only warned about in *warning
 * (may be NULL; text "" if none).  ERR_NOMEM. fault says which file and why.
 */
enum err tls_server_load(struct loop *l, const struct tls_server_files *f, struct tls_server **out,
                         struct tls_fault *fault, struct tls_fault *warning);
struct tls_server *tls_server_keep(struct tls_server *t);
void               tls_server_drop(struct tls_server *t); /* NULL is fine */

/* Does some certificate cover this host name? */
bool tls_server_covers(const struct tls_server *t, struct str name);

/* When the last certificate that covers this host name ends, in seconds since 1970. False: none covers it. */
bool tls_server_until(const struct tls_server *t, struct str name, int64_t *unix_s);

/* Client side: the trusted authorities and a bounded memory of sessions for resumption. */
struct tls_client;

/* ca_file PEM; parsed now. sessions_max: tickets remembered, oldest goes first. */
enum err           tls_client_load(struct loop *l, const char *ca_file, size_t sessions_max,
                                   struct tls_client **out, struct tls_fault *fault);
struct tls_client *tls_client_keep(struct tls_client *t);
void               tls_client_drop(struct tls_client *t);

/*
 * Operation: the handshake. Takes over `lower` from the start: on success it lives inside the
 * secure stream, on failure or cancel it is closed. When x_start itself fails, it is still the caller's.
 *   done  ERR_OK with the secure stream; ERR_TIMEOUT, ERR_TLS, ERR_CERTIFICATE, ERR_EOF, ERR_RESET
 *         ...; detail: a short text for the log, valid during the call
 */
struct tls_handshake;
typedef void tls_done_fn(void *arg, enum err e, struct stream *secure, const char *detail);

enum err tls_accept_start(struct tls_handshake **slot, struct loop *l, struct tls_server *t,
                          struct stream *lower, msec deadline_ms, tls_done_fn *done, void *arg);

/*
 *   name      what the certificate must cover: a DNS name (sent as SNI) or, with is_address, the text
 *             of an IP address without brackets (no SNI)
 *   session_key  what sessions are remembered by, e.g. "name|ip:port"; "" for no resumption
 */
enum err tls_connect_start(struct tls_handshake **slot, struct loop *l, struct tls_client *t,
                           struct stream *lower, struct str name, bool is_address,
                           struct str session_key, msec deadline_ms, tls_done_fn *done, void *arg);
void     tls_handshake_cancel(struct tls_handshake **slot);

/* Of a stream that tls_accept_start or tls_connect_start gave. */
struct tls_info {
	const char *version; /* "TLSv1.3" */
	const char *suite;
	bool        resumed;
	char        sni[256]; /* server side: what the client asked for, "" if nothing */
};
void tls_stream_info(const struct stream *secure, struct tls_info *out);

/*
 * The owner expects nothing for a while (a kept connection between two requests): whatever can be given
 * back until bytes move again, is. Optional, at any time.
 */
void tls_idle(struct stream *secure);

/* Library and version for --version and logs; start-up check of the floor. */
const char *tls_library(void);

#endif
