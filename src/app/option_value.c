#include "app/option_value.h"

#include <stdarg.h>
#include <stdio.h>

#include "app/suggest.h"
#include "codec/http/authority.h"
#include "codec/matrix/server_name.h"
#include "codec/matrix/well_known.h"
#include "fed/server_keys.h"

enum { TEXT_MAX = 1024 };

/* What a parser works on. */
struct value {
	const struct option  *option;
	struct str            text;
	struct arena         *arena;
	struct option_reason *why;
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static enum err
refuse(const struct value *v, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(v->why->text, sizeof(v->why->text), format, args);
	va_end(args);
	return ERR_CONFIG;
}

/* The value as an argument of "%.*s", cut so that the sentence behind it still fits. */
#define SHOWN(s) (int)((s).len > 100 ? 100 : (s).len), (s).ptr

static enum err keep_text(const struct value *v, struct str text, const char **at)
{
	struct str copy = arena_copy(v->arena, text);

	if (copy.ptr == NULL)
		return ERR_NOMEM;
	*at = copy.ptr;
	return ERR_OK;
}

static enum err parse_text(const struct value *v, void *at)
{
	return keep_text(v, v->text, at);
}

/* The spellings that OpenWrt's scripts accept (config_get_bool). */
static const struct option_word flag_words[] = {
	{ "1", 1 },  { "yes", 1 }, { "on", 1 },    { "true", 1 },     { "enabled", 1 }, { "0", 0 },
	{ "no", 0 }, { "off", 0 }, { "false", 0 }, { "disabled", 0 }, { NULL, 0 },
};

static const struct option_word *find_word(const struct option_word *words, struct str text)
{
	for (; words->word != NULL; words++)
		if (str_is(text, words->word))
			return words;
	return NULL;
}

static enum err parse_flag(const struct value *v, void *at)
{
	const struct option_word *word = find_word(flag_words, v->text);

	if (word == NULL)
		return refuse(
			v,
			"'%.*s' is neither 1 nor 0 (yes, on, true, no, off, false are understood too)",
			SHOWN(v->text));
	*(bool *)at = word->value != 0;
	return ERR_OK;
}

/* "one of: a, b, c", with the nearest of them in front when one is near. */
static enum err refuse_word(const struct value *v)
{
	char           list[200], near[80];
	struct writer  w = writer_over(list, sizeof(list) - 1);
	struct suggest s;

	suggest_init(&s, v->text);
	for (const struct option_word *o = v->option->words; o->word != NULL; o++) {
		write_text(&w, o == v->option->words ? "" : ", ");
		write_text(&w, o->word);
		suggest_offer(&s, o->word);
	}
	*w.at = '\0';
	return refuse(v, "'%.*s' is not one of: %s%s", SHOWN(v->text), list,
	              suggest_text(&s, near, sizeof(near)));
}

static enum err parse_choice(const struct value *v, void *at)
{
	const struct option_word *word = find_word(v->option->words, v->text);

	if (word == NULL)
		return refuse_word(v);
	*(unsigned *)at = word->value;
	return ERR_OK;
}

static enum err parse_words(const struct value *v, void *at)
{
	struct str rest = str_trim(v->text);

	if (rest.len == 0)
		return refuse_word(v);
	while (rest.len > 0) {
		struct value              one = *v;
		const struct option_word *word;

		one.text = str_head(rest, str_find(rest, ' '));
		word = find_word(v->option->words, one.text);
		if (word == NULL)
			return refuse_word(&one);
		*(unsigned *)at |= word->value;
		rest = str_trim(str_from(rest, one.text.len));
	}
	return ERR_OK;
}

struct unit {
	struct str name;
	uint64_t   factor;
};

static const struct unit byte_units[] = {
	/* largest first, for writing */
	{ STR("G"), 1u << 30 }, { STR("M"), 1u << 20 }, { STR("K"), 1u << 10 },
	{ STR("B"), 1 },        { { NULL, 0 }, 0 },
};
static const struct unit time_units[] = {
	{ STR("h"), HOUR_MS }, { STR("m"), MINUTE_MS }, { STR("s"), SECOND_MS },
	{ STR("ms"), 1 },      { { NULL, 0 }, 0 },
};
static const struct unit no_units[] = { { STR(""), 1 }, { { NULL, 0 }, 0 } };

static const struct unit *units_of(enum option_type type)
{
	return type == OPTION_BYTES ? byte_units : type == OPTION_TIME ? time_units : no_units;
}

void option_write_number(struct writer *w, enum option_type type, uint64_t value)
{
	const struct unit *u = units_of(type);

	while (u->factor > 1 && (value == 0 || value % u->factor != 0))
		u++;
	write_u64(w, value / u->factor);
	if (value != 0)
		write_str(w, u->name);
}

static const char *number_text(const struct value *v, uint64_t value, char out[32])
{
	struct writer w = writer_over(out, 31);

	option_write_number(&w, v->option->type, value);
	*w.at = '\0';
	return out;
}

static void store_number(void *at, size_t size, uint64_t value)
{
	uint32_t narrow = (uint32_t)value;

	if (size == sizeof(narrow))
		memcpy(at, &narrow, sizeof(narrow));
	else
		memcpy(at, &value, sizeof(value));
}

static enum err refuse_number(const struct value *v)
{
	static const char *const wanted[OPTION_TYPE_COUNT] = {
		[OPTION_NUMBER] = "a number",
		[OPTION_PORT] = "a port number",
		[OPTION_BYTES] = "a size: write a number with its unit B, K, M or G, as in 64K",
		[OPTION_TIME] = "a time: write a number with its unit ms, s, m or h, as in 10s",
	};

	return refuse(v, "'%.*s' is not %s", SHOWN(v->text), wanted[v->option->type]);
}

/* Digits and one of the type's units; 0 needs no unit. */
static bool read_number(enum option_type type, struct str text, uint64_t *out)
{
	const struct unit *u = units_of(type);
	size_t             digits = 0;
	uint64_t           n;

	while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
		digits++;
	if (!str_to_u64(str_head(text, digits), UINT64_MAX >> 32, &n))
		return false;
	while (u->factor != 0 && !str_eq(str_from(text, digits), u->name))
		u++;
	if (u->factor == 0 && (n != 0 || digits != text.len))
		return false;
	*out = u->factor == 0 ? 0 : n * u->factor; /* below 2^32 times 2^30 */
	return true;
}

static enum err parse_number(const struct value *v, void *at)
{
	const struct option *o = v->option;
	uint64_t             n;
	char                 min[32], max[32];

	if (!read_number(o->type, v->text, &n))
		return refuse_number(v);
	if (n < o->min || n > o->max)
		return refuse(v, "'%.*s' is out of range: it must be %s to %s", SHOWN(v->text),
		              number_text(v, o->min, min), number_text(v, o->max, max));
	store_number(at, o->size, n);
	return ERR_OK;
}

static enum err parse_ip(const struct value *v, void *at)
{
	if (address_parse_ip(v->text, at) == ERR_OK)
		return ERR_OK;
	return refuse(v, "'%.*s' is not an IP address, such as 192.168.1.1 or 2001:db8::1",
	              SHOWN(v->text));
}

static enum err parse_address(const struct value *v, void *at)
{
	struct address ip;

	if (address_parse(v->text, at) == ERR_OK)
		return ERR_OK;
	if (address_parse_ip(v->text, &ip) == ERR_OK)
		return refuse(v, "'%.*s' lacks a port: write %s%.*s%s:53", SHOWN(v->text),
		              ip.family == ADDRESS_V6 ? "[" : "", SHOWN(v->text),
		              ip.family == ADDRESS_V6 ? "]" : "");
	return refuse(v, "'%.*s' is not an address with a port, such as 127.0.0.1:53 or [::1]:53",
	              SHOWN(v->text));
}

static enum err parse_endpoint(const struct value *v, void *at)
{
	if (endpoint_parse(v->text, at) == ERR_OK)
		return ERR_OK;
	return refuse(
		v,
		"'%.*s' is neither an address with a port, such as 192.168.1.1:8009, nor a unix "
		"socket, such as unix:/run/doorstep/outbound.sock (path of at most 107 bytes)",
		SHOWN(v->text));
}

static enum err parse_range(const struct value *v, void *at)
{
	enum err e = address_parse_cidr(v->text, at);

	if (e == ERR_RANGE)
		return refuse(
			v,
			"'%.*s' is not a range: the prefix is too long, or address bits are set "
			"behind it (10.0.0.0/8 is right, 10.0.0.1/8 is not)",
			SHOWN(v->text));
	if (e != ERR_OK)
		return refuse(v,
		              "'%.*s' is not an address range, such as 192.168.0.0/16 or fd00::/8",
		              SHOWN(v->text));
	return ERR_OK;
}

static enum err parse_mac(const struct value *v, void *at)
{
	enum err e = wol_mac_parse(v->text, at);

	if (e == ERR_RANGE)
		return refuse(v, "'%.*s' is not the address of one network card", SHOWN(v->text));
	if (e != ERR_OK)
		return refuse(
			v,
			"'%.*s' is not a hardware address: write six pairs of hexadecimal digits, as "
			"in 00:11:22:33:44:55",
			SHOWN(v->text));
	return ERR_OK;
}

static enum err parse_server_name(const struct value *v, void *at)
{
	struct server_name name;
	enum err           e = server_name_parse(v->text, &name);

	if (e == ERR_RANGE)
		return refuse(v, "'%.*s' is not a server name: its port or address is out of range",
		              SHOWN(v->text));
	if (e != ERR_OK)
		return refuse(
			v,
			"'%.*s' is not a server name: it is a host with an optional port, such as "
			"example.org or matrix.example.org:8448",
			SHOWN(v->text));
	return keep_text(v, v->text, at);
}

static enum err parse_pattern(const struct value *v, void *at)
{
	static const struct str below = STR("*.");
	struct server_name      name;
	struct str              plain = str_starts(v->text, below) ? str_from(v->text, 2) : v->text;

	if (server_name_parse(plain, &name) != ERR_OK)
		return refuse(v, "'%.*s' is neither a server name nor '*.' and a domain",
		              SHOWN(v->text));
	return keep_text(v, v->text, at);
}

static enum err parse_notary(const struct value *v, void *at)
{
	struct server_keys_notary *to = at;
	enum err                   e;

	if (str_is(v->text, "none")) {
		to->count = 0;
		return ERR_OK;
	}
	e = server_keys_notary_parse(v->text, to);
	if (e == ERR_OK)
		return ERR_OK;
	return refuse(v,
	              e == ERR_LIMIT
	                      ? "'%.*s' has more than four keys"
	                      : "'%.*s' is not 'none' or like 'example.org ed25519:KEYID KEY'",
	              SHOWN(v->text));
}

static enum err parse_name(const struct value *v, void *at)
{
	return keep_text(v, v->text, at);
}

static struct str lower_copy(struct arena *arena, struct str s)
{
	struct str copy = arena_copy(arena, s);
	char      *p = (char *)(uintptr_t)copy.ptr; /* our own copy */

	for (size_t i = 0; p != NULL && i < copy.len; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] - 'A' + 'a');
	return copy;
}

static enum err refuse_url(const struct value *v)
{
	if (v->option->type == OPTION_HOMESERVER_URL)
		return refuse(
			v,
			"'%.*s' is not where a homeserver can be: write http://192.168.1.20:8008, "
			"https://nas.lan:8448 or unix:/run/synapse.sock, without a path behind the port",
			SHOWN(v->text));
	return refuse(v, "'%.*s' is not a URL, such as https://matrix.example.org", SHOWN(v->text));
}

static enum err parse_unix_url(const struct value *v, struct url *url)
{
	struct endpoint e;

	if (endpoint_parse(v->text, &e) != ERR_OK)
		return refuse_url(v);
	url->host = "";
	return keep_text(v, str_from(v->text, 5), &url->unix_path);
}

/* host[:port] behind the scheme. */
static enum err parse_authority(const struct value *v, struct str text, struct url *url)
{
	struct str host;

	if (!authority_split(text, &host, &url->port))
		return refuse_url(v);
	if (url->port == 0)
		url->port = url->tls ? 443 : 80;
	url->is_name = address_parse_ip(host, &url->address) != ERR_OK;
	url->address.port = url->port;
	host = lower_copy(v->arena, host);
	if (host.ptr == NULL)
		return ERR_NOMEM;
	url->host = host.ptr;
	return ERR_OK;
}

static bool is_url_text(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= 0x20 || s.ptr[i] > 0x7e || strchr("\"<>\\^`{|}", s.ptr[i]) != NULL)
			return false;
	return true;
}

static enum err parse_url(const struct value *v, void *at)
{
	static const struct str plain = STR("http://"), tls = STR("https://"), path = STR("unix:");
	struct url              url = { .unix_path = NULL };
	struct str              rest;
	size_t                  slash;
	enum err                e;

	if (!is_url_text(v->text))
		return refuse_url(v);
	if (v->option->type == OPTION_HOMESERVER_URL && str_starts(v->text, path)) {
		e = parse_unix_url(v, &url);
	} else {
		url.tls = str_starts(v->text, tls);
		if (!url.tls && !str_starts(v->text, plain))
			return refuse_url(v);
		rest = str_from(v->text, url.tls ? tls.len : plain.len);
		slash = str_find(rest, '/');
		if (v->option->type == OPTION_HOMESERVER_URL && slash + 1 < rest.len)
			return refuse_url(v);
		e = parse_authority(v, str_head(rest, slash), &url);
	}
	if (e == ERR_OK)
		e = keep_text(v, v->text, &url.text);
	if (e == ERR_OK)
		*(struct url *)at = url;
	return e;
}

static enum err refuse_contact(const struct value *v)
{
	return refuse(
		v,
		"'%.*s' is not a contact: write role=m.role.admin and matrix_id=@adam:example.org "
		"or email=adam@example.org, parted by blanks",
		SHOWN(v->text));
}

static enum err parse_contact_part(const struct value *v, struct str part, struct contact *c)
{
	const struct {
		struct str  name;
		struct str *at;
	} parts[] = { { STR("role"), &c->role },
		      { STR("matrix_id"), &c->matrix_id },
		      { STR("email"), &c->email } };
	size_t equals = str_find(part, '=');

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (str_eq(parts[i].name, str_head(part, equals)) && parts[i].at->len == 0 &&
		    equals + 1 < part.len) {
			*parts[i].at = arena_copy(v->arena, str_from(part, equals + 1));
			return parts[i].at->ptr == NULL ? ERR_NOMEM : ERR_OK;
		}
	return refuse_contact(v);
}

static enum err parse_contact(const struct value *v, void *at)
{
	struct contact c = { .role = STR("") };
	struct str     rest = str_trim(v->text);
	enum err       e = ERR_OK;

	while (e == ERR_OK && rest.len > 0) {
		size_t blank = str_find(rest, ' ');

		e = parse_contact_part(v, str_head(rest, blank), &c);
		rest = str_trim(str_from(rest, blank));
	}
	if (e == ERR_OK &&
	    (c.role.len == 0 || (c.matrix_id.len == 0 && c.email.len == 0) ||
	     (c.matrix_id.len > 0 && c.matrix_id.ptr[0] != '@')))
		return refuse_contact(v);
	if (e == ERR_OK)
		*(struct contact *)at = c;
	return e;
}

static const struct {
	enum err (*parse)(const struct value *v, void *at);
	size_t      size;
	const char *text;
} types[OPTION_TYPE_COUNT] = {
	[OPTION_TEXT] = { parse_text, sizeof(const char *), "text" },
	[OPTION_FLAG] = { parse_flag, sizeof(bool), "0 or 1" },
	[OPTION_CHOICE] = { parse_choice, sizeof(unsigned), "word" },
	[OPTION_WORDS] = { parse_words, sizeof(unsigned), "word" },
	[OPTION_NUMBER] = { parse_number, 0, "number" },
	[OPTION_BYTES] = { parse_number, 0, "size" },
	[OPTION_TIME] = { parse_number, 0, "time" },
	[OPTION_PORT] = { parse_number, 0, "port" },
	[OPTION_IP] = { parse_ip, sizeof(struct address), "IP address" },
	[OPTION_ADDRESS] = { parse_address, sizeof(struct address), "address:port" },
	[OPTION_ENDPOINT] = { parse_endpoint, sizeof(struct endpoint),
	                      "address:port or unix:/path" },
	[OPTION_RANGE] = { parse_range, sizeof(struct cidr), "address range" },
	[OPTION_MAC] = { parse_mac, sizeof(struct wol_mac), "MAC address" },
	[OPTION_SERVER_NAME] = { parse_server_name, sizeof(const char *), "server name" },
	[OPTION_PATTERN] = { parse_pattern, sizeof(const char *), "server name or *.domain" },
	[OPTION_URL] = { parse_url, sizeof(struct url), "URL" },
	[OPTION_HOMESERVER_URL] = { parse_url, sizeof(struct url), "URL or unix:/path" },
	[OPTION_CONTACT] = { parse_contact, sizeof(struct contact), "contact" },
	[OPTION_NOTARY] = { parse_notary, sizeof(struct server_keys_notary), "notary" },
	[OPTION_REFERENCE] = { parse_name, sizeof(const char *), "section name" },
	[OPTION_FILE] = { parse_text, sizeof(const char *), "path" },
	[OPTION_CREDENTIAL] = { parse_text, sizeof(const char *), "path" },
};

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			return true;
	return false;
}

bool option_is_number(enum option_type t)
{
	return t == OPTION_NUMBER || t == OPTION_BYTES || t == OPTION_TIME || t == OPTION_PORT;
}

enum err option_value_parse(const struct option *o, struct str text, struct arena *arena, void *at,
                            struct option_reason *why)
{
	struct value v = { o, text, arena, why };
	uint64_t     longest = option_is_number(o->type) || o->max == 0 ? TEXT_MAX : o->max;

	why->text[0] = '\0';
	if (text.len == 0)
		return refuse(&v, "an empty value; leave the line out instead");
	if (has_control(text))
		return refuse(&v, "the value contains a control character such as a line break");
	if (text.len > longest)
		return refuse(&v, "the value is longer than %u bytes", (unsigned)longest);
	return types[o->type].parse(&v, at);
}

size_t option_value_size(enum option_type type)
{
	return types[type].size;
}

const char *option_type_text(enum option_type type)
{
	return types[type].text;
}

const char *option_default(const struct option *o, unsigned memory_class,
                           char scratch[OPTION_SCRATCH])
{
	const char   *text = o->by_class[0] == NULL ? o->def
						    : o->by_class[option_class_index(memory_class)];
	struct writer w = writer_over(scratch, OPTION_SCRATCH - 1);
	uint64_t      n;

	if (text == NULL || !option_is_number(o->type) || !read_number(o->type, str_of(text), &n) ||
	    n <= o->max)
		return text;
	option_write_number(&w, o->type, o->max);
	*w.at = '\0';
	return scratch;
}
