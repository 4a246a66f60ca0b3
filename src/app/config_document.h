/*
 * config_document.h - the sections of a configuration, each option read and ranged, defaults filled in.
 *
 * Used by the other config files only.
 */
#ifndef APP_CONFIG_DOCUMENT_H
#define APP_CONFIG_DOCUMENT_H

#include "app/config.h"
#include "app/options.h"
#include "base/arena.h"
#include "codec/uci.h"

struct config_section {
	struct config_section    *next;
	enum option_section       kind;
	const char               *name;   /* "nas"; anonymous: "@listen[0]" */
	const struct uci_section *uci;    /* NULL: absent from the file, all defaults */
	void                     *values; /* the struct of options.h that belongs to kind */
};

struct config_document {
	const char            *file;
	struct arena          *arena;
	struct config_report  *report;
	struct uci             uci;
	unsigned               memory_class;
	struct config_section *first, *last;
	struct config_section *main, *limits, *policy, *openwrt; /* always there */
};

/* Everything that stays of text is copied into d->arena. ERR_CONFIG, ERR_NOMEM: report->error is set. */
enum err config_document_read(struct config_document *d, const struct config_source *source,
                              struct str text, struct arena *arena, struct config_report *report);

/* The next section of that kind behind `after` (NULL: the first); NULL: none. */
const struct config_section *config_next(const struct config_document *d,
                                         const struct config_section  *after,
                                         enum option_section           kind);
const struct config_section *config_find(const struct config_document *d, enum option_section kind,
                                         const char *name);
size_t config_count(const struct config_document *d, enum option_section kind);

static inline const struct main_options *config_main(const struct config_document *d)
{
	return d->main->values;
}

/* Is the option in the file (not a default)? */
bool config_is_set(const struct config_section *s, const char *option);

/* Of the option's n-th value; of the section when option is NULL or not in the file; or line 0. */
struct uci_place config_place(const struct config_section *s, const char *option, size_t n);

/* Diagnostics at such a place. config_refuse returns ERR_CONFIG. */
#if defined(__GNUC__)
#define CONFIG_FORMAT(f, a) __attribute__((format(printf, f, a)))
#else
#define CONFIG_FORMAT(f, a)
#endif
enum err config_refuse(const struct config_document *d, const struct config_section *s,
                       const char *option, size_t n, const char *format, ...) CONFIG_FORMAT(5, 6);
void     config_warn(const struct config_document *d, const struct config_section *s,
                     const char *option, size_t n, const char *format, ...) CONFIG_FORMAT(5, 6);

#endif
