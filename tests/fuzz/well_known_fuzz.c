/*
 * .well-known documents, and the header fields that come with them: what is read is a server name,
 * lives and dates stay in range, a redirect leads to a host that may be asked. The first byte says
 * which of them the rest is.
 */
#include <stddef.h>
#include <stdint.h>

#include "codec/http/cache_control.h"
#include "codec/http/location.h"
#include "codec/json/scan.h"
#include "codec/matrix/well_known.h"

#define NOW UINT64_C(1767225600000)

static void fuzz_document(struct str text)
{
	char               name[SERVER_NAME_TEXT_MAX + 1];
	struct server_name parsed;
	enum err           e = well_known_read_server(text, name);

	check((e == ERR_OK) == (name[0] != '\0'));
	if (e == ERR_OK) {
		check(server_name_parse(str_of(name), &parsed) == ERR_OK);
		check(json_check(text, NULL) == ERR_OK);
	}
}

static void fuzz_client(struct str text)
{
	char          room[8192];
	struct writer w = writer_over(room, sizeof(room));

	if (well_known_write_client(&w, STRL("https://example.org"), text) == ERR_OK && !w.failed)
		check(json_check(writer_done(&w), NULL) == ERR_OK);
}

/* Lines are fields, their first byte says which. */
static void fuzz_fields(struct str text)
{
	static const enum field_id ids[] = { FIELD_CACHE_CONTROL, FIELD_EXPIRES, FIELD_DATE,
		                             FIELD_AGE };
	struct cache_control       c = { 0 };
	msec                       life;

	while (text.len > 0) {
		size_t     end = str_find(text, '\n');
		struct str line = str_head(text, end);

		if (line.len > 0)
			cache_control_field(&c, ids[(uint8_t)line.ptr[0] % 4], str_from(line, 1),
			                    NOW);
		text = str_from(text, end + 1);
	}
	life = cache_control_lifetime(&c, NOW);
	check(life == MS_NEVER || life <= UINT64_C(2147483648) * SECOND_MS);
	check(!c.no_store || life == 0);
}

static void fuzz_date(struct str text)
{
	int64_t at;

	if (cache_control_date(text, NOW, &at))
		check(at >= INT64_C(-62198755200) && at < INT64_C(253402300801));
}

static void fuzz_location(struct str text)
{
	struct location    l = { "example.org", HOST_DNS, 443, "/b/c/d;p?q" };
	struct server_name name;
	const char        *why = NULL;

	while (text.len > 0) {
		size_t end = str_find(text, '\n');

		if (location_follow(&l, str_head(text, end), &why) != ERR_OK)
			check(why != NULL);
		check(l.path[0] == '/' && l.port != 0);
		for (const char *p = l.path; *p != '\0'; p++)
			check(*p > 0x20 && *p < 0x7f && *p != '#');
		if (l.kind != HOST_IPV6)
			check(server_name_parse(str_of(l.host), &name) == ERR_OK &&
			      name.kind == l.kind && name.port == 0);
		text = str_from(text, end + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(struct str) = { fuzz_document, fuzz_client, fuzz_fields,
		                                       fuzz_date, fuzz_location };

	if (size > 0)
		targets[data[0] % 5](str_span(data + 1, size - 1));
	return 0;
}
