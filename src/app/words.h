/*
 * words.h - times and sizes as people say them.
 */
#ifndef APP_WORDS_H
#define APP_WORDS_H

#include <stddef.h>

#include "base/clock.h"

enum { WORDS_SIZE = 32 };

/* "3 days 4 hours", "12 minutes", "1 second", "under a second": two units at most, rounded down. */
const char *words_duration(msec ms, char out[WORDS_SIZE]);

/* "512 B", "1.5 KiB", "12 MiB": units of 1024, two digits or more. */
const char *words_bytes(uint64_t bytes, char out[WORDS_SIZE]);

/* "1 item", "3 items" */
const char *words_count(uint64_t n, const char *what, char out[WORDS_SIZE]);

#endif
