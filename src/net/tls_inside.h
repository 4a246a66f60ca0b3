/*
 * tls_inside.h - what the files net/tls*.c share. Nobody else may see mbedtls.
 */
#ifndef NET_TLS_INSIDE_H
#define NET_TLS_INSIDE_H

#include <mbedtls/oid.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include "base/buf.h"
#include "net/tls.h"

#if MBEDTLS_VERSION_NUMBER < 0x03060000
#error "mbedtls 3.6 or newer is needed"
#endif

struct secure;

/*
 * What a server and a client have in common, the first member of both. The two buffers are lent
 * to the streams for the length of a call, so that streams at rest hold none.
 */
struct tls_ground {
	struct loop       *loop;
	unsigned           refs;
	mbedtls_ssl_config config;
	struct buf         gather; /* records on their way to the stream below, within one call */
	char              *spare;  /* a block of STREAM_RX_MAX for plaintext, or NULL */
	unsigned char *spare_in, *spare_out; /* record buffers of mbedtls, or NULL; tls_rest.c */
	struct secure *at_work;              /* whose handshake is being stepped */
	void (*free)(struct tls_ground *g);
};

/* A connection between two records of a direction: what is needed to go on. */
struct tls_rest {
	bool      in_rests, out_rests; /* the record buffer is given back */
	uint8_t   count[8];            /* records received */
	uintptr_t in_was, out_was;     /* where it was, for the pointers into it */
};

/* A secure stream, from the first byte of its handshake. */
struct secure {
	struct stream         base;
	struct tls_ground    *ground;
	struct stream        *lower;
	struct tls_handshake *handshake; /* NULL once it is over */
	mbedtls_ssl_context   ssl;
	struct soon           look;  /* steps a handshake, or tells the owner to look again */
	char                 *block; /* opened plaintext is block[at..end); NULL: none waits */
	struct tls_rest       rest;
	size_t                at, end;
	size_t                answered; /* bytes that mbedtls sent by itself */
	char                 *name;     /* client: who must be there; server: the SNI; maybe NULL */
	char                 *session_key; /* client: NULL when nothing is to be remembered */
	bool                  is_address;
	bool                  full;     /* the owner waits for room, or for the last to be sent */
	bool                  ended;    /* close_notify sent */
	bool                  verified; /* client: a certificate chain was looked at */
	bool                  ticket;   /* server: the client's ticket was good */
};

enum err           tls_ground_init(struct tls_ground *g, struct loop *l, int endpoint,
                                   void (*free)(struct tls_ground *g));
void               tls_ground_fini(struct tls_ground *g);
struct tls_ground *tls_ground_keep(struct tls_ground *g);
void               tls_ground_drop(struct tls_ground *g);

/* Begins a handshake; `prepare` (may be NULL) has done what the role needs on s->ssl. */
struct secure *tls_secure_new(struct tls_ground *g, struct stream *lower);
void           tls_secure_free(struct secure *s); /* leaves lower alone */
enum err       tls_handshake_begin(struct tls_handshake **slot, struct secure *s, msec deadline_ms,
                                   tls_done_fn *done, void *arg);

/*
 * Record buffers: tls_rest_end() before mbedtls is to read or write (false: no memory),
 * tls_rest_begin() after, any number of times; it does nothing while a record is under way.
 */
bool tls_rest_end(struct secure *s);
void tls_rest_begin(struct secure *s);
void tls_rest_fini(struct tls_ground *g);
void tls_rest_after_handshake(struct secure *s);

/* Client: looks whether the session can be remembered, and does so. */
void tls_session_store(struct secure *s);

/* Whether the certificate carries the name as a subjectAltName (RFC 9525, section 6). */
bool tls_names_cover(const mbedtls_x509_crt *crt, struct str name);
bool tls_names_cover_exactly(const mbedtls_x509_crt *crt, struct str name); /* no wildcards */
bool tls_names_cover_ip(const mbedtls_x509_crt *crt, const struct address *a);
bool tls_names_first(const mbedtls_x509_crt *crt, struct str *out); /* first dNSName */

/* A whole file with a NUL behind, malloc'ed; wipe and free it with tls_file_free(). */
struct tls_file {
	unsigned char *bytes;
	size_t         size; /* with the NUL */
};
enum err tls_file_read(const char *path, struct tls_file *out, struct tls_fault *fault);
void     tls_file_free(struct tls_file *f);

/* ERR_SYNTAX with a sentence, ERR_IO, ERR_NOMEM. The results are initialised in any case. */
enum err tls_file_certificates(const char *path, bool all_must_parse, mbedtls_x509_crt *out,
                               struct tls_fault *fault);
enum err tls_file_key(const char *path, mbedtls_pk_context *out, struct tls_fault *fault);

void tls_fault_set(struct tls_fault *fault, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
