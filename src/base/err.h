/*
 * err.h - every failure doorstep can report, in one table.
 *
 * A peer's fault is data: an enum err travels back to whoever knows where it happened and logs it
 * once. Our own fault is a broken invariant: check() prints and aborts, in release builds too.
 * Nothing a peer can send may reach a check().
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

/*      symbol            slug                  retry  status */
#define ERR_TABLE(X)                                        \
	X(ERR_OK, "ok", false, 200)                         \
	X(ERR_NOMEM, "no-memory", true, 503)                \
	X(ERR_SYNTAX, "bad-syntax", false, 400)             \
	X(ERR_RANGE, "out-of-range", false, 400)            \
	X(ERR_LIMIT, "limit", true, 503)                    \
	X(ERR_TOO_LARGE, "too-large", false, 413)           \
	X(ERR_UNSUPPORTED, "unsupported", false, 501)       \
	X(ERR_DENIED, "denied", false, 403)                 \
	X(ERR_BLOCKED, "blocked", false, 403)               \
	X(ERR_TIMEOUT, "timed-out", true, 504)              \
	X(ERR_SLOW_PEER, "slow-peer", false, 408)           \
	X(ERR_BAD_ANSWER, "bad-answer", true, 502)          \
	X(ERR_CANCELLED, "cancelled", true, 503)            \
	X(ERR_EOF, "ended", true, 502)                      \
	X(ERR_TRUNCATED, "truncated", true, 502)            \
	X(ERR_REFUSED, "refused", true, 502)                \
	X(ERR_UNREACHABLE, "unreachable", true, 502)        \
	X(ERR_RESET, "reset", true, 502)                    \
	X(ERR_NO_RECORD, "no-record", false, 502)           \
	X(ERR_DNS, "dns-failure", true, 502)                \
	X(ERR_SERVICE_ABSENT, "service-absent", false, 502) \
	X(ERR_TLS, "tls-failure", true, 502)                \
	X(ERR_CERTIFICATE, "bad-certificate", false, 502)   \
	X(ERR_SIGNATURE, "bad-signature", false, 401)       \
	X(ERR_NOT_FOUND, "not-found", false, 404)           \
	X(ERR_EXISTS, "exists", false, 409)                 \
	X(ERR_BUSY, "busy", true, 503)                      \
	X(ERR_IO, "io-failure", true, 500)                  \
	X(ERR_CONFIG, "bad-configuration", false, 500)

enum err {
#define X(sym, slug, retry, status) sym,
	ERR_TABLE(X)
#undef X
		ERR_COUNT
};

const char *err_slug(enum err e);      /* stable text for logs and metric labels */
bool        err_retryable(enum err e); /* may the same request succeed later? */
int         err_status(enum err e);    /* HTTP status shown to the peer */

/* check(): an invariant of ours. Prints place and condition, then aborts. */
#define check(cond) ((cond) ? (void)0 : err_check_failed(__FILE__, __LINE__, #cond))
_Noreturn void err_check_failed(const char *file, int line, const char *cond);

#endif
