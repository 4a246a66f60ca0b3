#include "app/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/config_build.h"
#include "app/config_check.h"
#include "app/config_document.h"

enum { CONFIG_ARENA_MAX = 4 * 1024 * 1024 };

/* Settings and the memory they point into. */
struct config {
	struct settings        settings; /* first: the roles hold its address */
	struct arena           arena;
	struct config_document document;
};

static void config_free(struct settings *s)
{
	struct config *c = (struct config *)s;

	arena_fini(&c->arena);
	free(c);
}

static enum err config_fill(struct config *c, const struct config_source *source, struct str text,
                            struct config_report *report)
{
	bool     sections;
	enum err e = config_document_read(&c->document, source, text, &c->arena, report);

	if (e != ERR_OK)
		return e;
	sections = config_main(&c->document)->enabled || source->all;
	if (sections)
		e = config_check(&c->document);
	if (e == ERR_OK)
		e = config_build(&c->document, source->credentials, sections, &c->settings);
	return e;
}

enum err config_read(const struct config_source *source, struct str text, struct settings **out,
                     struct config_report *report)
{
	struct config *c = calloc(1, sizeof(*c));
	enum err       e = ERR_NOMEM;

	*report = (struct config_report){ .error = "" };
	if (c != NULL) {
		arena_init(&c->arena, CONFIG_ARENA_MAX);
		e = config_fill(c, source, text, report);
	}
	if (e == ERR_OK) {
		c->document.report = NULL; /* the caller's */
		c->settings.refs = 1;
		c->settings.free = config_free;
		*out = &c->settings;
		return ERR_OK;
	}
	if (report->error[0] == '\0')
		snprintf(report->error, sizeof(report->error),
		         "%s: no memory left for this configuration", source->path);
	if (c != NULL)
		config_free(&c->settings);
	return e;
}

static enum err refuse_file(struct config_report *report, const char *path, const char *why)
{
	snprintf(report->error, sizeof(report->error), "%s: %s", path, why);
	return ERR_IO;
}

/* All of fd, at most CONFIG_FILE_MAX bytes, into room. */
static enum err read_all(int fd, const char *path, char *room, size_t *len,
                         struct config_report *report)
{
	ssize_t n = 1;

	*len = 0;
	while (n > 0 && *len <= CONFIG_FILE_MAX) {
		n = read(fd, room + *len, CONFIG_FILE_MAX + 1 - *len);
		if (n > 0)
			*len += (size_t)n;
	}
	if (n < 0)
		return refuse_file(report, path, strerror(errno));
	if (*len > CONFIG_FILE_MAX)
		return refuse_file(report, path,
		                   "larger than 256 KiB, this is no doorstep configuration");
	return ERR_OK;
}

enum err config_read_file(const char *path, char **text, size_t *len, struct config_report *report)
{
	int      fd = open(path, O_RDONLY | O_CLOEXEC);
	char    *room;
	enum err e;

	*report = (struct config_report){ .error = "" };
	if (fd < 0)
		return refuse_file(report, path, strerror(errno));
	room = malloc(CONFIG_FILE_MAX + 1);
	e = room == NULL ? refuse_file(report, path, "no memory left")
			 : read_all(fd, path, room, len, report);
	close(fd);
	if (e == ERR_OK)
		*text = room;
	else
		free(room);
	return e;
}

enum err config_load(const struct config_source *source, struct settings **out,
                     struct config_report *report)
{
	char    *text;
	size_t   len;
	enum err e = config_read_file(source->path, &text, &len, report);

	if (e != ERR_OK)
		return e;
	e = config_read(source, str_span(text, len), out, report);
	free(text);
	return e;
}

/* The index of the path that occurs in text, or count. */
static size_t find_path(const char *const *paths, size_t count, const char *text)
{
	size_t i = 0;

	while (i < count && strstr(text, paths[i]) == NULL)
		i++;
	return i;
}

const char *config_credential_place(const struct settings *s, const struct domain_settings *d,
                                    const char *fault, char out[CONFIG_PLACE_MAX])
{
	const struct config         *c = (const struct config *)s;
	const struct config_section *section =
		config_find(&c->document, SECTION_DOMAIN, d->section);
	size_t           certificate = find_path(d->certificates, d->certificate_count, fault);
	size_t           key = find_path(d->keys, d->key_count, fault);
	struct uci_place place;

	if (certificate < d->certificate_count)
		place = config_place(section, "certificate", certificate);
	else if (key < d->key_count)
		place = config_place(section, "key", key);
	else
		place = config_place(section, "server_name", 0);
	snprintf(out, CONFIG_PLACE_MAX, ":%u:%u", place.line, place.column);
	return out;
}
