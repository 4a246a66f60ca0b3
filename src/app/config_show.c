#include "app/config_show.h"

#include "app/option_value.h"

/* An option's texts, from the file or the default. */
struct texts {
	const struct uci_value *next; /* NULL: no more */
	struct uci_value        def;
	struct str              rest; /* words of the one before that are still to come */
};

/* False: the option has no value. */
static bool texts_of(const struct config_document *d, const struct config_section *s,
                     const struct option *o, char scratch[OPTION_SCRATCH], struct texts *t)
{
	const char *def = option_default(o, d->memory_class, scratch);

	*t = (struct texts){ .next = NULL };
	if (config_is_set(s, o->name)) {
		t->next = uci_option(s->uci, o->name)->first;
		return true;
	}
	if (def == NULL)
		return false;
	t->def.text = str_of(def);
	t->next = &t->def;
	return true;
}

/* The next item: a value, or of values that are words one of them. False: no more. */
static bool next_text(const struct option *o, struct texts *t, struct str *out)
{
	if (t->rest.len == 0) {
		if (t->next == NULL)
			return false;
		t->rest = o->type == OPTION_WORDS ? str_trim(t->next->text) : t->next->text;
		t->next = t->next->next;
	}
	*out = t->rest;
	if (o->type == OPTION_WORDS)
		*out = str_head(t->rest, str_find(t->rest, ' '));
	t->rest = str_trim(str_from(t->rest, out->len));
	return true;
}

static void print_quoted(struct str s, FILE *out)
{
	fputc('\'', out);
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\'')
			fputs("'\\''", out);
		else
			fputc(s.ptr[i], out);
	fputc('\'', out);
}

static void show_option(const struct config_document *d, const struct config_section *s,
                        const struct option *o, FILE *out)
{
	char         scratch[OPTION_SCRATCH];
	struct texts t;
	struct str   text;

	if (!texts_of(d, s, o, scratch, &t))
		return;
	while (next_text(o, &t, &text)) {
		fprintf(out, "\t%s %s ", o->flags & OPTION_LIST ? "list" : "option", o->name);
		print_quoted(text, out);
		fputs(config_is_set(s, o->name) ? "\n" : " # default\n", out);
	}
}

void config_show(const struct config_document *d, FILE *out)
{
	fprintf(out, "# memory class %u\n", d->memory_class);
	for (const struct config_section *s = d->first; s != NULL; s = s->next) {
		fprintf(out, "\nconfig %s", option_sections[s->kind].name);
		if (s->name[0] != '@')
			fprintf(out, " '%s'", s->name);
		fputs("\n", out);
		for (size_t i = 0; i < option_count; i++)
			if (option_table[i].section == s->kind)
				show_option(d, s, &option_table[i], out);
	}
}

static void print_json(struct str s, FILE *out)
{
	char room[6 * 1024 + 8]; /* values are at most 1024 bytes, escaped at most sixfold */
	struct writer w = writer_over(room, sizeof(room));

	write_json_string(&w, s);
	fwrite(room, 1, writer_done(&w).len, out);
}

static void print_json_value(const struct option *o, struct str text, FILE *out)
{
	bool                 flag = false;
	struct option_reason why;

	if (o->type == OPTION_FLAG && option_value_parse(o, text, NULL, &flag, &why) == ERR_OK)
		fputs(flag ? "true" : "false", out);
	else if (o->type == OPTION_NUMBER || o->type == OPTION_PORT)
		fprintf(out, "%.*s", (int)text.len, text.ptr);
	else
		print_json(text, out);
}

static void json_option(const struct option *o, struct texts *t, FILE *out)
{
	const char *comma = "";
	struct str  text;

	print_json(str_of(o->name), out);
	fputs(o->flags & OPTION_LIST ? ":[" : ":", out);
	while (next_text(o, t, &text)) {
		fputs(comma, out);
		print_json_value(o, text, out);
		comma = ",";
	}
	fputs(o->flags & OPTION_LIST ? "]" : "", out);
}

static void json_section(const struct config_document *d, const struct config_section *s, FILE *out)
{
	char         scratch[OPTION_SCRATCH];
	struct texts t;
	const char  *comma = "";

	fprintf(out, "{\"type\":\"%s\",\"name\":", option_sections[s->kind].name);
	print_json(str_of(s->name), out);
	fputs(",\"options\":{", out);
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].section != s->kind ||
		    !texts_of(d, s, &option_table[i], scratch, &t))
			continue;
		fputs(comma, out);
		json_option(&option_table[i], &t, out);
		comma = ",";
	}
	fputs("},\"defaults\":[", out);
	comma = "";
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].section != s->kind || config_is_set(s, option_table[i].name) ||
		    !texts_of(d, s, &option_table[i], scratch, &t))
			continue;
		fprintf(out, "%s\"%s\"", comma, option_table[i].name);
		comma = ",";
	}
	fputs("]}", out);
}

void config_show_json(const struct config_document *d, FILE *out)
{
	fprintf(out, "{\"memory_class\":%u,\"sections\":[", d->memory_class);
	for (const struct config_section *s = d->first; s != NULL; s = s->next) {
		json_section(d, s, out);
		fputs(s->next == NULL ? "" : ",", out);
	}
	fputs("]}\n", out);
}

static void manual_type(const struct option *o, FILE *out)
{
	fputs(option_type_text(o->type), out);
	for (const struct option_word *w = o->words; w != NULL && w->word != NULL; w++)
		fprintf(out, "%s`%s`", w == o->words ? ": " : ", ", w->word);
	if (o->flags & OPTION_LIST)
		fputs(", list", out);
}

static void manual_default(const struct option *o, FILE *out)
{
	if (o->by_class[0] != NULL)
		fprintf(out, "`%s` / `%s` / `%s` / `%s`", o->by_class[0], o->by_class[1],
		        o->by_class[2], o->by_class[3]);
	else if (o->def != NULL)
		fprintf(out, "`%s`", o->def);
	else
		fputs(o->flags & OPTION_REQUIRED ? "**needed**" : "none", out);
}

static void manual_range(const struct option *o, FILE *out)
{
	char          text[64];
	struct writer w = writer_over(text, sizeof(text));

	if (!option_is_number(o->type))
		return;
	option_write_number(&w, o->type, o->min);
	write_text(&w, " to ");
	option_write_number(&w, o->type, o->max);
	fprintf(out, "%.*s", (int)writer_done(&w).len, text);
}

static void manual_section(enum option_section kind, FILE *out)
{
	fprintf(out, "### config %s\n\n%s\n\n", option_sections[kind].name,
	        option_sections[kind].help);
	fputs("| option | value | default | range | meaning |\n|---|---|---|---|---|\n", out);
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].section != kind)
			continue;
		fprintf(out, "| `%s` | ", option_table[i].name);
		manual_type(&option_table[i], out);
		fputs(" | ", out);
		manual_default(&option_table[i], out);
		fputs(" | ", out);
		manual_range(&option_table[i], out);
		fprintf(out, " | %s |\n", option_table[i].help);
	}
	fputs("\n", out);
}

void config_manual(FILE *out)
{
	for (unsigned i = 0; i < SECTION_COUNT; i++)
		if (i != SECTION_ROUTE)
			manual_section((enum option_section)i, out);
}
