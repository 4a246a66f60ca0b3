#include "app/config_document.h"

#include <stdarg.h>
#include <stdio.h>

#include "app/option_value.h"
#include "app/suggest.h"

/* A line of a report behind what is already there: "FILE:LINE:COLUMN: text". */
CONFIG_FORMAT(5, 0)
static void report_line(const struct config_document *d, struct uci_place place, char *at,
                        size_t size, const char *format, va_list args)
{
	int n = place.line == 0
		? snprintf(at, size, "%s: ", d->file)
		: snprintf(at, size, "%s:%u:%u: ", d->file, place.line, place.column);

	if (n >= 0 && (size_t)n < size)
		vsnprintf(at + n, size - (size_t)n, format, args);
}

CONFIG_FORMAT(3, 4)
static enum err refuse_at(const struct config_document *d, struct uci_place place,
                          const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report_line(d, place, d->report->error, sizeof(d->report->error), format, args);
	va_end(args);
	return ERR_CONFIG;
}

static enum err out_of_memory(const struct config_document *d)
{
	snprintf(d->report->error, sizeof(d->report->error),
	         "%s: no memory left for this configuration", d->file);
	return ERR_NOMEM;
}

struct uci_place config_place(const struct config_section *s, const char *option, size_t n)
{
	const struct uci_option *o;
	const struct uci_value  *v;

	if (s == NULL || s->uci == NULL)
		return (struct uci_place){ 0, 0 };
	o = option == NULL ? NULL : uci_option(s->uci, option);
	if (o == NULL)
		return s->uci->place;
	for (v = o->first; n > 0 && v->next != NULL; n--)
		v = v->next;
	return v->place;
}

enum err config_refuse(const struct config_document *d, const struct config_section *s,
                       const char *option, size_t n, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report_line(d, config_place(s, option, n), d->report->error, sizeof(d->report->error),
	            format, args);
	va_end(args);
	return ERR_CONFIG;
}

void config_warn(const struct config_document *d, const struct config_section *s,
                 const char *option, size_t n, const char *format, ...)
{
	char   *at = d->report->warnings;
	size_t  used = strlen(at), left = sizeof(d->report->warnings) - used;
	va_list args;

	if (left < 512)
		return;
	va_start(args, format);
	report_line(d, config_place(s, option, n), at + used, left - 1, format, args);
	va_end(args);
	strcat(at + used, "\n"); /* one byte was kept for it */
}

/* "config domain 'home'" without surprises in it. */
static const char *section_text(const struct uci_section *u, char out[96])
{
	int type = (int)str_head(u->type, 32).len, name = (int)str_head(u->name, 40).len;

	if (name > 0)
		snprintf(out, 96, "config %.*s '%.*s'", type, u->type.ptr, name, u->name.ptr);
	else
		snprintf(out, 96, "config %.*s", type, u->type.ptr);
	return out;
}

static enum err find_kind(const struct config_document *d, const struct uci_section *u,
                          enum option_section *kind)
{
	struct suggest s;
	char           near[80];

	suggest_init(&s, u->type);
	for (unsigned i = 0; i < SECTION_COUNT; i++) {
		if (str_is(u->type, option_sections[i].name)) {
			*kind = (enum option_section)i;
			if (*kind != SECTION_ROUTE)
				return ERR_OK;
			return refuse_at(d, u->place,
			                 "'config route' is reserved for a later version");
		}
		if (i != SECTION_ROUTE)
			suggest_offer(&s, option_sections[i].name);
	}
	return refuse_at(d, u->place, "unknown section type '%.*s'%s",
	                 (int)str_head(u->type, 60).len, u->type.ptr,
	                 suggest_text(&s, near, sizeof(near)));
}

static enum err refuse_option(const struct config_document *d, enum option_section kind,
                              const struct uci_section *u, const struct uci_option *uo)
{
	struct suggest s;
	char           near[80], where[96];

	suggest_init(&s, uo->name);
	for (size_t i = 0; i < option_count; i++)
		if (option_table[i].section == kind)
			suggest_offer(&s, option_table[i].name);
	return refuse_at(d, uo->place, "unknown option '%.*s' in \"%s\"%s",
	                 (int)str_head(uo->name, 60).len, uo->name.ptr, section_text(u, where),
	                 suggest_text(&s, near, sizeof(near)));
}

static enum err read_value(const struct config_document *d, const struct option *o, struct str text,
                           struct uci_place place, void *at)
{
	struct option_reason why;
	enum err             e = option_value_parse(o, text, d->arena, at, &why);

	if (e == ERR_CONFIG)
		return refuse_at(d, place, "%s: %s", o->name, why.text);
	return e;
}

/* A list option becomes an array of its items; one `option` line is a list of one. */
static enum err read_list(const struct config_document *d, const struct option *o,
                          const struct uci_option *uo, void *field)
{
	struct values           values = { .count = 0 };
	size_t                  size = option_value_size(o->type);
	const struct uci_value *v;
	enum err                e = ERR_OK;

	for (v = uo->first; v != NULL; v = v->next)
		values.count++;
	values.at = arena_alloc(d->arena, values.count * size);
	if (values.at == NULL)
		return ERR_NOMEM;
	memset(values.at, 0, values.count * size);
	values.count = 0;
	for (v = uo->first; v != NULL && e == ERR_OK; v = v->next)
		e = read_value(d, o, v->text, v->place, (char *)values.at + values.count++ * size);
	memcpy(field, &values, sizeof(values));
	return e;
}

static enum err read_option(const struct config_document *d, const struct option *o,
                            const struct uci_option *uo, void *field)
{
	enum err e = ERR_OK;

	if (o->type == OPTION_WORDS) {
		for (const struct uci_value *v = uo->first; v != NULL && e == ERR_OK; v = v->next)
			e = read_value(d, o, v->text, v->place, field);
		return e;
	}
	if (o->flags & OPTION_LIST)
		return read_list(d, o, uo, field);
	if (uo->first->next != NULL)
		return refuse_at(d, uo->first->next->place,
		                 "%s: takes one value, not a list; write 'option %s' once", o->name,
		                 o->name);
	return read_value(d, o, uo->first->text, uo->first->place, field);
}

static enum err read_default(const struct config_document *d, const struct config_section *s,
                             const struct option *o, void *field)
{
	char        scratch[OPTION_SCRATCH], where[96];
	const char *def = option_default(o, d->memory_class, scratch);

	if (def != NULL) {
		struct uci_value  one = { .text = str_of(def) };
		struct uci_option all = { .first = &one };

		return read_option(d, o, &all, field);
	}
	if ((o->flags & OPTION_REQUIRED) && s->uci != NULL)
		return refuse_at(d, s->uci->place, "\"%s\" needs an 'option %s'",
		                 section_text(s->uci, where), o->name);
	return ERR_OK;
}

static enum err read_options(const struct config_document *d, struct config_section *s)
{
	enum err e = ERR_OK;

	for (const struct uci_option *uo = s->uci == NULL ? NULL : s->uci->first; uo != NULL;
	     uo = uo->next)
		if (option_find(s->kind, uo->name) == NULL)
			return refuse_option(d, s->kind, s->uci, uo);
	for (size_t i = 0; i < option_count && e == ERR_OK; i++) {
		const struct option     *o = &option_table[i];
		const struct uci_option *uo;
		void                    *field = (char *)s->values + o->at;

		if (o->section != s->kind)
			continue;
		uo = s->uci == NULL ? NULL : uci_option(s->uci, o->name);
		e = uo == NULL ? read_default(d, s, o, field) : read_option(d, o, uo, field);
	}
	return e;
}

static enum err name_section(const struct config_document *d, struct config_section *s)
{
	char       text[80];
	struct str name = STR("");

	if (s->uci == NULL) {
		name = str_of(option_sections[s->kind].name);
	} else if (s->uci->name.len > 0) {
		name = s->uci->name;
	} else {
		snprintf(text, sizeof(text), "@%s[%zu]", option_sections[s->kind].name,
		         s->uci->index);
		name = str_of(text);
	}
	s->name = arena_copy(d->arena, name).ptr;
	return s->name == NULL ? ERR_NOMEM : ERR_OK;
}

/* uci NULL: the section is not in the file. */
static enum err add_section(struct config_document *d, enum option_section kind,
                            const struct uci_section *u, struct config_section **out)
{
	size_t                 size = option_sections[kind].size;
	struct config_section *s = arena_alloc(d->arena, sizeof(*s));
	void                  *values = arena_alloc(d->arena, size);
	enum err               e;

	if (s == NULL || values == NULL)
		return ERR_NOMEM;
	memset(values, 0, size);
	*s = (struct config_section){ .kind = kind, .uci = u, .values = values };
	e = name_section(d, s);
	if (e == ERR_OK)
		e = read_options(d, s);
	if (e != ERR_OK)
		return e;
	if (d->last == NULL)
		d->first = s;
	else
		d->last->next = s;
	d->last = s;
	*out = s;
	return ERR_OK;
}

/* Where the single section of this kind is kept; NULL for the others. */
static struct config_section **single_slot(struct config_document *d, enum option_section kind)
{
	return kind == SECTION_DOORSTEP   ? &d->main
		: kind == SECTION_LIMITS  ? &d->limits
		: kind == SECTION_POLICY  ? &d->policy
		: kind == SECTION_OPENWRT ? &d->openwrt
					  : NULL;
}

static enum err add_from_file(struct config_document *d, const struct uci_section *u)
{
	enum option_section     kind = SECTION_COUNT;
	enum err                e = find_kind(d, u, &kind);
	struct config_section **slot, *s;

	if (e != ERR_OK)
		return e;
	slot = single_slot(d, kind);
	if (slot != NULL && *slot != NULL && (*slot)->uci == u)
		return ERR_OK; /* the main section, read before the others */
	if (slot != NULL && *slot != NULL)
		return refuse_at(d, u->place, "there is a 'config %s' already (line %u); join them",
		                 option_sections[kind].name,
		                 (*slot)->uci == NULL ? 0 : (*slot)->uci->place.line);
	e = add_section(d, kind, u, &s);
	if (e == ERR_OK && slot != NULL)
		*slot = s;
	return e;
}

static uint64_t system_memory_kb(void)
{
	char          line[128];
	unsigned long kb = 0;
	FILE         *f = fopen("/proc/meminfo", "re");

	if (f == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "MemTotal: %lu kB", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

/* The main section comes first, wherever it stands: other defaults depend on its memory class. */
static enum err read_main(struct config_document *d, uint64_t memory_kb)
{
	const struct uci_section *u = d->uci.first;
	enum err                  e;

	while (u != NULL && !str_is(u->type, option_sections[SECTION_DOORSTEP].name))
		u = u->next;
	e = add_section(d, SECTION_DOORSTEP, u, &d->main);
	if (e != ERR_OK)
		return e;
	d->memory_class = config_main(d)->memory_class;
	if (d->memory_class == 0)
		d->memory_class = option_class_of(memory_kb == 0 ? system_memory_kb() : memory_kb);
	return ERR_OK;
}

static enum err read_sections(struct config_document *d, uint64_t memory_kb)
{
	enum err e = read_main(d, memory_kb);

	for (const struct uci_section *u = d->uci.first; u != NULL && e == ERR_OK; u = u->next)
		e = add_from_file(d, u);
	for (unsigned i = 0; i < SECTION_COUNT && e == ERR_OK; i++) {
		struct config_section **slot = single_slot(d, (enum option_section)i);

		if (slot != NULL && *slot == NULL)
			e = add_section(d, (enum option_section)i, NULL, slot);
	}
	return e;
}

enum err config_document_read(struct config_document *d, const struct config_source *source,
                              struct str text, struct arena *arena, struct config_report *report)
{
	struct uci_fault fault;
	enum err         e;

	*report = (struct config_report){ .error = "" };
	*d = (struct config_document){ .file = source->path, .arena = arena, .report = report };
	e = uci_parse(text, UCI_STRICT, arena, &d->uci, &fault);
	if (e == ERR_SYNTAX)
		return refuse_at(d, fault.place, "%s", fault.reason);
	if (e == ERR_OK)
		e = read_sections(d, source->memory_kb);
	return e == ERR_NOMEM ? out_of_memory(d) : e;
}

const struct config_section *config_next(const struct config_document *d,
                                         const struct config_section  *after,
                                         enum option_section           kind)
{
	const struct config_section *s = after == NULL ? d->first : after->next;

	while (s != NULL && s->kind != kind)
		s = s->next;
	return s;
}

const struct config_section *config_find(const struct config_document *d, enum option_section kind,
                                         const char *name)
{
	const struct config_section *s = config_next(d, NULL, kind);

	while (s != NULL && strcmp(s->name, name) != 0)
		s = config_next(d, s, kind);
	return s;
}

size_t config_count(const struct config_document *d, enum option_section kind)
{
	size_t n = 0;

	for (const struct config_section *s = config_next(d, NULL, kind); s != NULL;
	     s = config_next(d, s, kind))
		n++;
	return n;
}

bool config_is_set(const struct config_section *s, const char *option)
{
	return s->uci != NULL && uci_option(s->uci, option) != NULL;
}
