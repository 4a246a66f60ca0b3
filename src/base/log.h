/*
 * log.h - one event, one line: "level event key=value ...".
 *
 * Text chosen by a peer is passed as a slice and escaped here, always: a newline in a server name
 * must not forge a line. Never log tokens, signatures, bodies or query strings. error: the
 * operator must act; warn: we coped; info: life cycle and one line for each
 * finished request (off by default on small boards); debug: for us.
 *
 *     log_begin(LOG_INFO, "inbound.request") && log_str("peer", peer) && log_num("status", 200) && log_end();
 *
 * reads as a sentence: log_begin() is false when the level is off, so nothing else is evaluated.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
/* From now on to the system's log (RFC 5424 levels) instead of standard error, without the level's word. */
void log_to_system(void);

bool log_start(enum log_level level, const char *event); /* use log_begin() */
/* Levels above the one of Kconfig are not even compiled in. */
static inline bool log_begin(enum log_level level, const char *event)
{
	return level <= CONFIG_DOORSTEP_LOG_LEVEL && log_start(level, event);
}

bool log_str(const char *key, struct str value);   /* escaped, cut at 200 bytes */
bool log_text(const char *key, const char *value); /* ditto; NULL is written as - */
bool log_num(const char *key, int64_t value);
bool log_err(const char *key, enum err e); /* its slug */
bool log_end(void);                        /* one write(2) to standard error, or one syslog(3) */

/* A line of its own for the operator: "error event: sentence". */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void log_say(enum log_level level, const char *event, const char *format, ...);

#endif
