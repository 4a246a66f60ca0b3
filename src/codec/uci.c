#include "codec/uci.h"

/*
 * The text is read line by line into a window [at, limit); quotes and backslashes at the end of a
 * line pull the next line in. Arguments are decoded in place: decoding only ever removes bytes,
 * so what is written stays behind what is read.
 */
struct uci_reader {
	char               *text;
	size_t              size;
	size_t              at;    /* next byte to look at */
	size_t              limit; /* end of what has been pulled in, its newline included */
	size_t              next;  /* where the following line begins */
	size_t              line_start;
	unsigned            line; /* number of the line that line_start is the start of */
	enum uci_mode       mode;
	struct arena       *arena;
	struct uci         *out;
	struct uci_section *section;
	struct uci_fault   *fault;
};

struct argument {
	struct str       text;
	struct uci_place place;
};

static char current(const struct uci_reader *r)
{
	return r->at < r->limit ? r->text[r->at] : '\0';
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Pulls the next line into the window; false at the end of the text. */
static bool next_line(struct uci_reader *r)
{
	size_t from = r->next;
	size_t end = from;

	r->at = from;
	r->limit = from;
	if (from >= r->size)
		return false;
	while (end < r->size && r->text[end] != '\n')
		end++;
	if (end < r->size)
		end++;
	r->limit = end;
	r->next = end;
	r->line_start = from;
	r->line++;
	return true;
}

static struct uci_place place_of(const struct uci_reader *r)
{
	return (struct uci_place){ r->line, (unsigned)(r->at - r->line_start) + 1 };
}

static enum err refuse(struct uci_reader *r, struct uci_place place, const char *reason)
{
	if (r->fault->reason == NULL)
		*r->fault = (struct uci_fault){ place, reason };
	return ERR_SYNTAX;
}

static void skip_space(struct uci_reader *r)
{
	while (r->at < r->limit && is_space(r->text[r->at]))
		r->at++;
}

/* Behind a backslash: is there a character to take, or was it the end of the line? */
static bool is_escape(struct uci_reader *r)
{
	size_t left = r->limit - ++r->at;

	if (left == 0 || r->text[r->at] == '\n' ||
	    (left == 2 && r->text[r->at] == '\r' && r->text[r->at + 1] == '\n')) {
		next_line(r);
		return false;
	}
	return true;
}

static void keep(struct uci_reader *r, size_t *target)
{
	r->text[(*target)++] = r->text[r->at++];
}

/* A quoted piece; `at` is at its first quote and ends behind its last. */
static enum err read_quoted(struct uci_reader *r, size_t *target, char quote)
{
	struct uci_place place = place_of(r);

	r->at++;
	for (;;) {
		char c = current(r);

		if (r->at == r->limit) {
			if (!next_line(r))
				return refuse(r, place,
				              quote == '"' ? "EOF with unterminated \""
				                           : "EOF with unterminated '");
		} else if (c == quote) {
			r->at++;
			return ERR_OK;
		} else if (c != '\\' || quote == '\'' || is_escape(r)) {
			keep(r, target);
		}
	}
}

/* Pieces glued together up to white space, `#`, `;` or the end of the line. */
static enum err read_word(struct uci_reader *r, size_t *target)
{
	do {
		enum err e = ERR_OK;
		char     c = current(r);

		if (r->at == r->limit)
			return ERR_OK;
		if (c == '\'' || c == '"') {
			e = read_quoted(r, target, c);
		} else if (c == '#') {
			r->limit = r->at;
			return ERR_OK;
		} else if (c == ';') {
			if (*target ==
			    r->at) /* libuci ends the bare word here and loses the rest */
				r->limit = r->at;
			return ERR_OK;
		} else if (c != '\\' || is_escape(r)) {
			keep(r, target);
		}
		if (e != ERR_OK)
			return e;
	} while (r->at < r->limit && !is_space(r->text[r->at]));
	if (r->at < r->limit)
		r->at++;
	return ERR_OK;
}

static enum err read_argument(struct uci_reader *r, struct argument *out)
{
	size_t   start, target;
	enum err e = ERR_OK;

	skip_space(r);
	out->place = place_of(r);
	start = target = r->at;
	if (current(r) == ';')
		r->at++;
	else
		e = read_word(r, &target);
	out->text = str_span(r->text + start, target - start);
	return e;
}

/* Names of sections and options: no hyphen. Of packages: with. */
static bool is_name(struct str s, bool hyphen)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '_' || (hyphen && c == '-')))
			return false;
	}
	return true;
}

/* Section types: printable ASCII without blanks. */
static bool is_printable(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < 33 || s.ptr[i] > 126)
			return false;
	return true;
}

static enum err read_required(struct uci_reader *r, struct argument *out)
{
	enum err e = read_argument(r, out);

	if (e == ERR_OK && out->text.len == 0)
		return refuse(r, out->place, "insufficient arguments");
	return e;
}

static enum err read_end(struct uci_reader *r)
{
	struct argument surplus;
	enum err        e = read_argument(r, &surplus);

	if (e == ERR_OK && surplus.text.len > 0 && r->mode == UCI_STRICT)
		return refuse(r, surplus.place, "too many arguments");
	return e;
}

static enum err read_package(struct uci_reader *r)
{
	struct argument name;
	enum err        e = read_required(r, &name);

	if (e == ERR_OK && !is_name(name.text, true))
		return refuse(r, name.place, "invalid character in name field");
	return e == ERR_OK ? read_end(r) : e;
}

static struct uci_section *find_section(const struct uci *u, struct str name)
{
	for (struct uci_section *s = u->first; s != NULL; s = s->next)
		if (s->name.len > 0 && str_eq(s->name, name))
			return s;
	return NULL;
}

static enum err add_section(struct uci_reader *r, const struct argument *type, struct str name)
{
	struct uci_section *s = arena_alloc(r->arena, sizeof(*s));

	if (s == NULL)
		return ERR_NOMEM;
	*s = (struct uci_section){ .type = type->text, .name = name, .place = type->place };
	if (r->out->last == NULL)
		r->out->first = s;
	else
		r->out->last->next = s;
	r->out->last = s;
	r->section = s;
	return ERR_OK;
}

static enum err read_config(struct uci_reader *r)
{
	struct argument     type, name;
	struct uci_section *same;
	enum err            e = read_required(r, &type);

	if (e == ERR_OK && !is_printable(type.text))
		return refuse(r, type.place, "invalid character in type field");
	if (e == ERR_OK)
		e = read_argument(r, &name);
	if (e == ERR_OK && !is_name(name.text, false))
		return refuse(r, name.place, "invalid character in name field");
	if (e == ERR_OK)
		e = read_end(r);
	if (e != ERR_OK)
		return e;
	same = find_section(r->out, name.text);
	if (same == NULL)
		return add_section(r, &type, name.text);
	if (!str_eq(same->type, type.text) && r->mode == UCI_STRICT)
		return refuse(r, name.place,
		              "section of different type overwrites prior section with same name");
	same->type = type.text;
	r->section = same;
	return ERR_OK;
}

static struct uci_option *find_option(const struct uci_section *s, struct str name)
{
	for (struct uci_option *o = s->first; o != NULL; o = o->next)
		if (str_eq(o->name, name))
			return o;
	return NULL;
}

static struct uci_option *add_option(struct uci_reader *r, const struct argument *name)
{
	struct uci_option *o = arena_alloc(r->arena, sizeof(*o));

	if (o == NULL)
		return NULL;
	*o = (struct uci_option){ .name = name->text, .place = name->place };
	if (r->section->last == NULL)
		r->section->first = o;
	else
		r->section->last->next = o;
	r->section->last = o;
	return o;
}

static enum err set_value(struct uci_reader *r, const struct argument *name,
                          const struct argument *value, bool is_list)
{
	struct uci_option *o = find_option(r->section, name->text);
	struct uci_value  *v;

	if (!is_list && value->text.len == 0)
		return ERR_OK; /* neither creates nor clears */
	v = arena_alloc(r->arena, sizeof(*v));
	if (o == NULL)
		o = add_option(r, name);
	if (v == NULL || o == NULL)
		return ERR_NOMEM;
	*v = (struct uci_value){ .text = value->text, .place = value->place };
	if (!is_list || o->last == NULL)
		o->first = v;
	else
		o->last->next = v;
	o->last = v;
	o->is_list = is_list;
	return ERR_OK;
}

static enum err read_value(struct uci_reader *r, bool is_list)
{
	struct argument name, value;
	enum err        e = read_required(r, &name);

	if (e == ERR_OK && !is_name(name.text, false))
		return refuse(r, name.place, "invalid character in name field");
	if (e == ERR_OK)
		e = read_argument(r, &value);
	if (e == ERR_OK)
		e = read_end(r);
	return e == ERR_OK ? set_value(r, &name, &value, is_list) : e;
}

static enum err read_option(struct uci_reader *r)
{
	return read_value(r, false);
}

static enum err read_list(struct uci_reader *r)
{
	return read_value(r, true);
}

static const struct keyword {
	struct str  word, letter;
	bool        in_section;
	const char *alone; /* reason when the text ends right behind the keyword */
	enum err (*read)(struct uci_reader *r);
} keywords[] = {
	{ STR("package"), STR("p"), false, "package without name", read_package },
	{ STR("config"), STR("c"), false, "config without name", read_config },
	{ STR("option"), STR("o"), true, "option without name", read_option },
	{ STR("list"), STR("l"), true, "option without name", read_list },
};

static const struct keyword *find_keyword(struct str word)
{
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		if (str_eq(word, keywords[i].word) || str_eq(word, keywords[i].letter))
			return &keywords[i];
	return NULL;
}

/* One command; *more is false when the line holds no other. */
static enum err read_command(struct uci_reader *r, bool *more)
{
	const struct keyword *k;
	struct uci_place      place;
	size_t                start;

	while (current(r) == ' ' || current(r) == '\t')
		r->at++;
	place = place_of(r);
	start = r->at;
	*more = r->at < r->limit && r->text[r->at] != '#';
	if (!*more)
		return ERR_OK;
	while (r->at < r->limit && r->text[r->at] != ' ' && r->text[r->at] != '\t')
		r->at++;
	k = find_keyword(str_span(r->text + start, r->at - start));
	if (k == NULL)
		return refuse(r, place, "invalid command");
	if (k->in_section && r->section == NULL)
		return refuse(r, place, "option/list command found before the first section");
	if (r->at == r->limit)
		return refuse(r, place, k->alone);
	r->at++;
	return k->read(r);
}

static enum err read_line(struct uci_reader *r)
{
	bool     more = true;
	enum err e = ERR_OK;

	skip_space(r);
	while (e == ERR_OK && more)
		e = read_command(r, &more);
	return e;
}

/* At the end only: in lenient mode a later line may change a section's type. */
static void number_sections(struct uci *u)
{
	for (struct uci_section *s = u->first; s != NULL; s = s->next)
		for (const struct uci_section *o = u->first; o != s; o = o->next)
			s->index += str_eq(o->type, s->type);
}

static enum err refuse_nul(struct uci_reader *r)
{
	size_t nul = str_find(str_span(r->text, r->size), '\0');

	if (nul == r->size)
		return ERR_OK;
	while (r->next <= nul)
		next_line(r);
	r->at = nul;
	return refuse(r, place_of(r), "NUL byte");
}

enum err uci_parse(struct str text, enum uci_mode mode, struct arena *arena, struct uci *out,
                   struct uci_fault *fault)
{
	struct str        copy = arena_copy(arena, text);
	struct uci        result = { NULL, NULL };
	struct uci_reader r = {
		.size = text.len, .mode = mode, .arena = arena, .out = &result, .fault = fault
	};
	enum err e;

	*fault = (struct uci_fault){ .reason = NULL };
	if (copy.ptr == NULL)
		return ERR_NOMEM;
	r.text = (char *)(uintptr_t)copy.ptr; /* our own copy: decoded in place */
	e = refuse_nul(&r);
	while (e == ERR_OK && next_line(&r)) {
		e = read_line(&r);
		if (e == ERR_SYNTAX && mode == UCI_LENIENT)
			e = ERR_OK;
	}
	if (e == ERR_OK) {
		number_sections(&result);
		*out = result;
	}
	return e;
}

const struct uci_option *uci_option(const struct uci_section *s, const char *name)
{
	return find_option(s, str_of(name));
}
