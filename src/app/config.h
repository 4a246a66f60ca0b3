/*
 * config.h - from the owner's file to what the roles are told.
 *
 * UCI text (codec/uci.h) is read through the option table (options.h) into sections, the sections are
 * checked against each other (config_check.h), and settings are built from them. Whatever is
 * wrong gives one line, "FILE:LINE:COLUMN: what and what to do", and no settings: so that a
 * reload with a bad file changes nothing.
 */
#ifndef APP_CONFIG_H
#define APP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "role/settings.h"

struct config_report {
	char error[768];     /* one line without newline, or "" */
	char warnings[2048]; /* lines, each with its newline; the last ones are dropped when full */
};

/* Where a configuration comes from. */
struct config_source {
	const char *path; /* the file; also its name in diagnostics */
	const char *
		credentials; /* directory of certificate, key and secret files; NULL: as configured */
	uint64_t memory_kb; /* for memory_class auto; 0: ask the system */
	bool     all;       /* look at all sections of a disabled configuration too */
};

/*
 * Reads and checks source->path, and reads the secret files. Certificates and keys are only looked
 * for: whether they fit is for whoever loads them. Of a disabled configuration only what
 * `config doorstep`, `config limits` and `config policy` say is filled in, and nothing is looked for.
 *   out  refs 1; drop with settings_drop()
 * ERR_IO: the file cannot be read.  ERR_CONFIG.  ERR_NOMEM.  report->error says why.
 */
enum err config_load(const struct config_source *source, struct settings **out,
                     struct config_report *report);

/* The same from text in memory; source->path is only its name. */
enum err config_read(const struct config_source *source, struct str text, struct settings **out,
                     struct config_report *report);

/*
 * Where a domain's certificate or key that is named in `fault` was configured, else the domain:
 * ":LINE:COLUMN". Settings must be of config_load() or config_read(). Returns out.
 */
enum { CONFIG_PLACE_MAX = 32 };
const char *config_credential_place(const struct settings *s, const struct domain_settings *d,
                                    const char *fault, char out[CONFIG_PLACE_MAX]);

/* The file's text, malloc'ed; at most CONFIG_FILE_MAX bytes. ERR_IO with report->error. */
enum { CONFIG_FILE_MAX = 256 * 1024 };
enum err config_read_file(const char *path, char **text, size_t *len, struct config_report *report);

#endif
