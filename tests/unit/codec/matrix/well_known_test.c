#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "codec/json/scan.h"
#include "codec/matrix/well_known.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct row {
	struct str  body;
	enum err    want;
	const char *name;
} rows[] = {
	/* Server-Server API, GET /.well-known/matrix/server */
	{ STR("{\"m.server\":\"a.example.org\"}"), ERR_OK, "a.example.org" },
	{ STR(" {\"m.server\" : \"a.example.org:443\" , \"x\":[{}]}\r\n"), ERR_OK,
	  "a.example.org:443" },
	{ STR("{\"m.server\":\"[2001:DB8::1]:8448\"}"), ERR_OK, "[2001:DB8::1]:8448" },
	{ STR("{\"m.server\":\"192.0.2.1\"}"), ERR_OK, "192.0.2.1" },
	{ STR("{\"m.server\":\"\\u0061.example.org\"}"), ERR_OK, "a.example.org" },
	{ STR("{\"\\u006d.server\":\"a.example.org\"}"), ERR_OK, "a.example.org" },
	{ STR("{\"m.server\":\"b\",\"m.server\":\"a.example.org\"}"), ERR_OK, "a.example.org" },
	{ STR("{\"x\":{\"m.server\":\"b\"},\"m.server\":\"a.example.org\"}"), ERR_OK,
	  "a.example.org" },
	{ STR("{\"m.server\":\"a.example.org\",\"x\":{\"m.server\":\"b\"}}"), ERR_OK,
	  "a.example.org" },
	{ STR("{\"x\":{\"m.server\":\"b\"}}"), ERR_NOT_FOUND, NULL },
	{ STR("{}"), ERR_NOT_FOUND, NULL },
	{ STR("{\"m.Server\":\"a.example.org\"}"), ERR_NOT_FOUND, NULL },
	{ STR("{\"m.server\":\"a.example.org:99999\"}"), ERR_RANGE, NULL },
	{ STR("{\"m.server\":\"a.example.org:0\"}"), ERR_RANGE, NULL },
	{ STR("{\"m.server\":\"1.2.3.256\"}"), ERR_RANGE, NULL },
	{ STR("{\"m.server\":\"\"}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":\"a.example.org\\u0000\"}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":\"a\\n\"}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":null}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":1}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":{}}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":\"a.example.org\",\"m.server\":null}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":\"a.example.org\"} x"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":\"a.example.org\"}\0"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":\"a.example.org\",}"), ERR_SYNTAX, NULL },
	{ STR("\xef\xbb\xbf{\"m.server\":\"a.example.org\"}"), ERR_SYNTAX, NULL },
	{ STR("{\"m.server\":\"a.example.org\",\"x\":\"\xff\"}"), ERR_SYNTAX, NULL },
	{ STR("[{\"m.server\":\"a.example.org\"}]"), ERR_SYNTAX, NULL },
	{ STR("null"), ERR_SYNTAX, NULL },
	{ STR(""), ERR_SYNTAX, NULL },
};

static void reads_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char name[SERVER_NAME_TEXT_MAX + 1] = "before";

		print_message("  %.*s\n", (int)rows[i].body.len, rows[i].body.ptr);
		assert_int_equal(well_known_read_server(rows[i].body, name), rows[i].want);
		assert_string_equal(name, rows[i].name == NULL ? "" : rows[i].name);
	}
}

/* A document of exactly n bytes, padded behind. */
static enum err read_padded(size_t n)
{
	static const struct str doc = STR("{\"m.server\":\"a.example.org\"}");
	char                    name[SERVER_NAME_TEXT_MAX + 1];
	char                   *block = malloc(n);
	enum err                e;

	assert_non_null(block);
	memset(block, ' ', n);
	memcpy(block, doc.ptr, doc.len);
	e = well_known_read_server(str_span(block, n), name);
	free(block);
	return e;
}

static void fifty_kibibytes_are_too_many(void **state)
{
	(void)state;
	assert_int_equal(read_padded(51199), ERR_OK);
	assert_int_equal(read_padded(51200), ERR_TOO_LARGE);
	assert_int_equal(read_padded(51201), ERR_TOO_LARGE);
}

/* The longest name fits, one byte more does not, and neither writes past the end. */
static void long_names_have_an_edge(void **state)
{
	char body[400], *at = body, name[SERVER_NAME_TEXT_MAX + 1];

	(void)state;
	at += sprintf(at, "{\"m.server\":\"");
	for (int i = 0; i < 255; i++)
		*at++ = i % 51 == 50 && i != 254 ? '.' : 'a';
	strcpy(at, ":65535\"}");
	assert_int_equal(well_known_read_server(str_of(body), name), ERR_OK);
	assert_int_equal(strlen(name), SERVER_NAME_TEXT_MAX);
	strcpy(at, "a:6553\"}");
	assert_int_equal(well_known_read_server(str_of(body), name), ERR_SYNTAX);
	strcpy(at, ":655350\"}");
	assert_int_equal(well_known_read_server(str_of(body), name), ERR_SYNTAX);
	assert_string_equal(name, "");
}

static void deep_documents_are_refused(void **state)
{
	char name[SERVER_NAME_TEXT_MAX + 1];
	char body[2000] = "{\"x\":";

	(void)state;
	memset(body + 5, '[', 900);
	memset(body + 905, ']', 900);
	strcpy(body + 1805, ",\"m.server\":\"a\"}");
	assert_int_equal(well_known_read_server(str_of(body), name), ERR_SYNTAX);
}

static void prefixes_are_refused(void **state)
{
	static const struct str doc = STR("{\"x\":[1,\"\\u00e4\"],\"m.server\":\"a.example.org\"}");

	(void)state;
	for (size_t n = 0; n < doc.len; n++) {
		char         name[SERVER_NAME_TEXT_MAX + 1];
		struct exact x;

		assert_int_not_equal(well_known_read_server(exact_copy(&x, str_head(doc, n)), name),
		                     ERR_OK);
		exact_free(&x);
	}
}

static char room[600];

static const char *done(struct writer *w)
{
	assert_false(w->failed);
	*w->at = '\0';
	assert_int_equal(json_check(str_of(room), NULL), ERR_OK);
	return room;
}

static void writes_the_server_document(void **state)
{
	struct writer w = writer_over(room, sizeof(room));
	char          name[SERVER_NAME_TEXT_MAX + 1];

	(void)state;
	well_known_write_server(&w, STRL("matrix.example.org:8448"));
	assert_string_equal(done(&w), "{\"m.server\":\"matrix.example.org:8448\"}");
	assert_int_equal(well_known_read_server(str_of(room), name), ERR_OK);
	assert_string_equal(name, "matrix.example.org:8448");
}

static void writes_the_client_document(void **state)
{
	struct writer w = writer_over(room, sizeof(room));

	(void)state;
	assert_int_equal(well_known_write_client(&w, STRL("https://m.example.org"), STRL("")),
	                 ERR_OK);
	assert_string_equal(done(&w),
	                    "{\"m.homeserver\":{\"base_url\":\"https://m.example.org\"}}");
	w = writer_over(room, sizeof(room));
	assert_int_equal(well_known_write_client(
				 &w, STRL("https://m.example.org"),
				 STRL(" { \"a\\n\": [1, {\"b\": \"\\u00e4\"}] ,\"m.homeserver\":7,"
	                              "\"c\":\"d\",\"e\":null}")),
	                 ERR_OK);
	assert_string_equal(done(&w),
	                    "{\"m.homeserver\":{\"base_url\":\"https://m.example.org\"},"
	                    "\"a\\n\":[1, {\"b\": \"\\u00e4\"}],\"c\":\"d\",\"e\":null}");
	w = writer_over(room, sizeof(room));
	assert_int_equal(well_known_write_client(&w, STRL("https://x"), STRL("[]")), ERR_SYNTAX);
	assert_int_equal(well_known_write_client(&w, STRL("https://x"), STRL("{\"a\":1}}")),
	                 ERR_SYNTAX);
}

static void writes_the_support_document(void **state)
{
	static const struct well_known_contact contacts[] = {
		{ STR("@admin:example.org"), STR("admin@example.org"), STR("m.role.admin") },
		{ STR(""), STR("sec@example.org"), STR("m.role.security") },
	};
	struct writer w = writer_over(room, sizeof(room));

	(void)state;
	well_known_write_support(&w, contacts, 2, STRL("https://example.org/help\""));
	assert_string_equal(done(&w),
	                    "{\"contacts\":[{\"matrix_id\":\"@admin:example.org\","
	                    "\"email_address\":\"admin@example.org\",\"role\":\"m.role.admin\"},"
	                    "{\"email_address\":\"sec@example.org\",\"role\":\"m.role.security\"}],"
	                    "\"support_page\":\"https://example.org/help\\\"\"}");
	w = writer_over(room, sizeof(room));
	well_known_write_support(&w, NULL, 0, STRL("https://example.org"));
	assert_string_equal(done(&w), "{\"support_page\":\"https://example.org\"}");
}

static void a_full_writer_says_so(void **state)
{
	struct writer w = writer_over(room, 20);

	(void)state;
	well_known_write_server(&w, STRL("matrix.example.org:8448"));
	assert_true(w.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_documents),
		cmocka_unit_test(fifty_kibibytes_are_too_many),
		cmocka_unit_test(long_names_have_an_edge),
		cmocka_unit_test(deep_documents_are_refused),
		cmocka_unit_test(prefixes_are_refused),
		cmocka_unit_test(writes_the_server_document),
		cmocka_unit_test(writes_the_client_document),
		cmocka_unit_test(writes_the_support_document),
		cmocka_unit_test(a_full_writer_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
