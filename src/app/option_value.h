/*
 * option_value.h - one option's text to its value, or the sentence that says why not.
 */
#ifndef APP_OPTION_VALUE_H
#define APP_OPTION_VALUE_H

#include "app/options.h"
#include "base/arena.h"
#include "base/cursor.h"

struct option_reason {
	char text[320];
};

/*
 * Reads text into *at, which has the size of one item of o's type (OPTION_WORDS: or-ed into it).
 * Strings are copied into arena. ERR_CONFIG: why says what is wrong and what would be right.
 * ERR_NOMEM.
 */
enum err option_value_parse(const struct option *o, struct str text, struct arena *arena, void *at,
                            struct option_reason *why);

/*
 * The default as text, NULL if there is none. Numbers above what this build can do (o->max) become
 * that. Returns scratch or static text.
 */
enum { OPTION_SCRATCH = 32 };
const char *option_default(const struct option *o, unsigned memory_class,
                           char scratch[OPTION_SCRATCH]);

/* Is it one of the types that are numbers with or without a unit? */
bool option_is_number(enum option_type type);

/* Bytes of one item of a list of this type. */
size_t option_value_size(enum option_type type);

/* What the manual calls values of this type, e.g. "time (10s, 500ms, 5m, 2h)". */
const char *option_type_text(enum option_type type);

/* As an owner would write it: "16K", "10s", "64". */
void option_write_number(struct writer *w, enum option_type type, uint64_t value);

#endif
