#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "app/option_value.h"
#include "base/clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 16);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

/* An option that does not stand in the table. */
static struct option option_of(enum option_type type, uint64_t min, uint64_t max)
{
	return (struct option){
		.name = "x", .type = type, .size = sizeof(uint64_t), .min = min, .max = max
	};
}

static const struct number_row {
	enum option_type type;
	struct str       text;
	enum err         want;
	uint64_t         value;
} numbers[] = {
	{ OPTION_NUMBER, STR("0"), ERR_OK, 0 },
	{ OPTION_NUMBER, STR("12"), ERR_OK, 12 },
	{ OPTION_NUMBER, STR("012"), ERR_OK, 12 },
	{ OPTION_NUMBER, STR("12 "), ERR_CONFIG, 0 },
	{ OPTION_NUMBER, STR("-1"), ERR_CONFIG, 0 },
	{ OPTION_NUMBER, STR("+1"), ERR_CONFIG, 0 },
	{ OPTION_NUMBER, STR("1K"), ERR_CONFIG, 0 },
	{ OPTION_NUMBER, STR("0x10"), ERR_CONFIG, 0 },
	{ OPTION_NUMBER, STR("99999999999999999999999"), ERR_CONFIG, 0 },
	{ OPTION_BYTES, STR("0"), ERR_OK, 0 },
	{ OPTION_BYTES, STR("512B"), ERR_OK, 512 },
	{ OPTION_BYTES, STR("64K"), ERR_OK, 65536 },
	{ OPTION_BYTES, STR("13M"), ERR_OK, 13631488 },
	{ OPTION_BYTES, STR("2G"), ERR_OK, 2147483648u },
	{ OPTION_BYTES, STR("64"), ERR_CONFIG, 0 }, /* a bare number where a unit is possible */
	{ OPTION_BYTES, STR("64k"), ERR_CONFIG, 0 },
	{ OPTION_BYTES, STR("64KB"), ERR_CONFIG, 0 },
	{ OPTION_BYTES, STR("K"), ERR_CONFIG, 0 },
	{ OPTION_BYTES, STR("1.5M"), ERR_CONFIG, 0 },
	{ OPTION_BYTES, STR("4294967295G"), ERR_OK, 4294967295u * (1ull << 30) },
	{ OPTION_BYTES, STR("4294967296G"), ERR_CONFIG, 0 },
	{ OPTION_TIME, STR("500ms"), ERR_OK, 500 },
	{ OPTION_TIME, STR("10s"), ERR_OK, 10 * SECOND_MS },
	{ OPTION_TIME, STR("5m"), ERR_OK, 5 * MINUTE_MS },
	{ OPTION_TIME, STR("2h"), ERR_OK, 2 * HOUR_MS },
	{ OPTION_TIME, STR("0"), ERR_OK, 0 },
	{ OPTION_TIME, STR("10"), ERR_CONFIG, 0 },
	{ OPTION_TIME, STR("10 s"), ERR_CONFIG, 0 },
	{ OPTION_TIME, STR("10S"), ERR_CONFIG, 0 },
	{ OPTION_TIME, STR("s"), ERR_CONFIG, 0 },
	{ OPTION_PORT, STR("8448"), ERR_OK, 8448 },
};

static void reads_numbers(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(numbers); i++) {
		const struct number_row *r = &numbers[i];
		struct option            o = option_of(r->type, 0, UINT64_MAX);
		struct option_reason     why;
		uint64_t                 got = 7;

		print_message("  %.*s\n", (int)r->text.len, r->text.ptr);
		assert_int_equal(option_value_parse(&o, r->text, &arena, &got, &why), r->want);
		assert_true(got == (r->want == ERR_OK ? r->value : 7));
		assert_true((why.text[0] == '\0') == (r->want == ERR_OK));
	}
}

static void ranges_are_told_in_the_owners_words(void **state)
{
	struct option        bytes = option_of(OPTION_BYTES, 4096, 1 << 20);
	struct option        time = option_of(OPTION_TIME, 1500, 60000);
	struct option_reason why;
	uint64_t             got;

	(void)state;
	assert_int_equal(option_value_parse(&bytes, STRL("4K"), &arena, &got, &why), ERR_OK);
	assert_int_equal(option_value_parse(&bytes, STRL("1M"), &arena, &got, &why), ERR_OK);
	assert_int_equal(option_value_parse(&bytes, STRL("4095B"), &arena, &got, &why), ERR_CONFIG);
	assert_string_equal(why.text, "'4095B' is out of range: it must be 4K to 1M");
	assert_int_equal(option_value_parse(&time, STRL("2m"), &arena, &got, &why), ERR_CONFIG);
	assert_string_equal(why.text, "'2m' is out of range: it must be 1500ms to 1m");
	assert_int_equal(option_value_parse(&time, STRL("10"), &arena, &got, &why), ERR_CONFIG);
	assert_non_null(strstr(why.text, "as in 10s"));
}

/* The neighbours of a 32-bit field stay as they are. */
static void narrow_fields_stay_narrow(void **state)
{
	struct option        o = option_of(OPTION_NUMBER, 0, UINT32_MAX);
	struct option_reason why;
	unsigned             got[3] = { 1, 2, 3 };

	(void)state;
	o.size = sizeof(unsigned);
	assert_int_equal(option_value_parse(&o, STRL("77"), &arena, &got[1], &why), ERR_OK);
	assert_int_equal(got[0], 1);
	assert_int_equal(got[1], 77);
	assert_int_equal(got[2], 3);
}

static void reads_flags_as_the_scripts_do(void **state)
{
	static const char *const on[] = { "1", "yes", "on", "true", "enabled" };
	static const char *const off[] = { "0", "no", "off", "false", "disabled" };
	static const char *const bad[] = { "2", "YES", "y", "00" };
	struct option            o = option_of(OPTION_FLAG, 0, 0);
	struct option_reason     why;
	bool                     got;

	(void)state;
	for (size_t i = 0; i < COUNT(on); i++) {
		got = false;
		assert_int_equal(option_value_parse(&o, str_of(on[i]), &arena, &got, &why), ERR_OK);
		assert_true(got);
		assert_int_equal(option_value_parse(&o, str_of(off[i]), &arena, &got, &why),
		                 ERR_OK);
		assert_false(got);
	}
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(option_value_parse(&o, str_of(bad[i]), &arena, &got, &why),
		                 ERR_CONFIG);
}

static const struct text_row {
	enum option_type type;
	struct str       text;
	enum err         want;
} texts[] = {
	{ OPTION_TEXT, STR("any thing"), ERR_OK },
	{ OPTION_TEXT, STR("\xc3\xbc"), ERR_OK },
	{ OPTION_TEXT, STR(""), ERR_CONFIG },
	{ OPTION_TEXT, STR("two\nlines"), ERR_CONFIG },
	{ OPTION_TEXT, STR("\x7f"), ERR_CONFIG },
	{ OPTION_IP, STR("192.168.1.1"), ERR_OK },
	{ OPTION_IP, STR("::"), ERR_OK },
	{ OPTION_IP, STR("[::]"), ERR_CONFIG },
	{ OPTION_IP, STR("192.168.1.1:80"), ERR_CONFIG },
	{ OPTION_IP, STR("nas.lan"), ERR_CONFIG },
	{ OPTION_ADDRESS, STR("127.0.0.1:53"), ERR_OK },
	{ OPTION_ADDRESS, STR("[::1]:53"), ERR_OK },
	{ OPTION_ADDRESS, STR("127.0.0.1"), ERR_CONFIG },
	{ OPTION_ADDRESS, STR("::1"), ERR_CONFIG },
	{ OPTION_ADDRESS, STR("dns.lan:53"), ERR_CONFIG },
	{ OPTION_ADDRESS, STR("127.0.0.1:0"), ERR_CONFIG },
	{ OPTION_ENDPOINT, STR("127.0.0.1:8009"), ERR_OK },
	{ OPTION_ENDPOINT, STR("unix:/run/x.sock"), ERR_OK },
	{ OPTION_ENDPOINT, STR("unix:x.sock"), ERR_CONFIG },
	{ OPTION_ENDPOINT, STR("8009"), ERR_CONFIG },
	{ OPTION_ENDPOINT, STR("localhost:8009"), ERR_CONFIG },
	{ OPTION_RANGE, STR("192.168.0.0/16"), ERR_OK },
	{ OPTION_RANGE, STR("fd00::/8"), ERR_OK },
	{ OPTION_RANGE, STR("127.0.0.1"), ERR_OK },
	{ OPTION_RANGE, STR("10.0.0.1/8"), ERR_CONFIG },
	{ OPTION_RANGE, STR("10.0.0.0/33"), ERR_CONFIG },
	{ OPTION_RANGE, STR("10.0.0.0/"), ERR_CONFIG },
	{ OPTION_MAC, STR("00:11:22:33:44:55"), ERR_OK },
	{ OPTION_MAC, STR("00-1A-2b-33-44-55"), ERR_OK },
	{ OPTION_MAC, STR("00:11:22:33:44"), ERR_CONFIG },
	{ OPTION_MAC, STR("ff:ff:ff:ff:ff:ff"), ERR_CONFIG },
	{ OPTION_MAC, STR("001122334455"), ERR_CONFIG },
	{ OPTION_SERVER_NAME, STR("example.org"), ERR_OK },
	{ OPTION_SERVER_NAME, STR("example.org:8448"), ERR_OK },
	{ OPTION_SERVER_NAME, STR("[::1]:8448"), ERR_OK },
	{ OPTION_SERVER_NAME, STR("https://example.org"), ERR_CONFIG },
	{ OPTION_SERVER_NAME, STR("example.org:99999"), ERR_CONFIG },
	{ OPTION_SERVER_NAME, STR("@adam:example.org"), ERR_CONFIG },
	{ OPTION_PATTERN, STR("example.org"), ERR_OK },
	{ OPTION_PATTERN, STR("*.example.org"), ERR_OK },
	{ OPTION_PATTERN, STR("*example.org"), ERR_CONFIG },
	{ OPTION_PATTERN, STR("*"), ERR_CONFIG },
	{ OPTION_PATTERN, STR("*.*.org"), ERR_CONFIG },
	{ OPTION_URL, STR("https://matrix.example.org"), ERR_OK },
	{ OPTION_URL, STR("https://matrix.example.org:8448/path/x"), ERR_OK },
	{ OPTION_URL, STR("ftp://example.org"), ERR_CONFIG },
	{ OPTION_URL, STR("matrix.example.org"), ERR_CONFIG },
	{ OPTION_URL, STR("https://"), ERR_CONFIG },
	{ OPTION_URL, STR("https://exa mple.org"), ERR_CONFIG },
	{ OPTION_URL, STR("https://example.org/\""), ERR_CONFIG },
	{ OPTION_URL, STR("https://u@example.org"), ERR_CONFIG },
	{ OPTION_URL, STR("unix:/x"), ERR_CONFIG },
	{ OPTION_HOMESERVER_URL, STR("http://192.168.1.20:8008"), ERR_OK },
	{ OPTION_HOMESERVER_URL, STR("http://192.168.1.20:8008/"), ERR_OK },
	{ OPTION_HOMESERVER_URL, STR("https://nas.lan"), ERR_OK },
	{ OPTION_HOMESERVER_URL, STR("http://[fd00::1]:8008"), ERR_OK },
	{ OPTION_HOMESERVER_URL, STR("unix:/run/synapse.sock"), ERR_OK },
	{ OPTION_HOMESERVER_URL, STR("http://192.168.1.20:8008/path"), ERR_CONFIG },
	{ OPTION_HOMESERVER_URL, STR("http://192.168.1.20:80080"), ERR_CONFIG },
	{ OPTION_HOMESERVER_URL, STR("192.168.1.20:8008"), ERR_CONFIG },
	{ OPTION_HOMESERVER_URL, STR("unix:relative"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("role=m.role.admin matrix_id=@a:b.c"), ERR_OK },
	{ OPTION_CONTACT, STR("email=a@b.c  role=m.role.security"), ERR_OK },
	{ OPTION_NOTARY, STR("none"), ERR_OK },
	{ OPTION_NOTARY, STR("a.example ed25519:auto Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw"),
	  ERR_OK },
	{ OPTION_NOTARY, STR("a.example"), ERR_CONFIG },
	{ OPTION_NOTARY, STR("a.example ed25519:auto short"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("role=m.role.admin"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("matrix_id=@a:b.c"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("role=m.role.admin matrix_id=a:b.c"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("role=m.role.admin phone=1"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("role=x role=y email=a@b.c"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("role= email=a@b.c"), ERR_CONFIG },
	{ OPTION_CONTACT, STR("adam"), ERR_CONFIG },
};

static void reads_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		const struct text_row     *r = &texts[i];
		struct option              o = option_of(r->type, 0, 0);
		struct option_reason       why;
		_Alignas(max_align_t) char room[1024];

		print_message("  %.*s\n", (int)r->text.len, r->text.ptr);
		assert_true(option_value_size(r->type) <= sizeof(room));
		assert_int_equal(option_value_parse(&o, r->text, &arena, room, &why), r->want);
		assert_true((why.text[0] == '\0') == (r->want == ERR_OK));
	}
}

static void takes_urls_apart(void **state)
{
	struct option        o = option_of(OPTION_HOMESERVER_URL, 0, 0);
	struct option_reason why;
	struct url           u;

	(void)state;
	assert_int_equal(option_value_parse(&o, STRL("https://NAS.lan"), &arena, &u, &why), ERR_OK);
	assert_true(u.tls && u.is_name);
	assert_string_equal(u.host, "nas.lan");
	assert_int_equal(u.port, 443);
	assert_string_equal(u.text, "https://NAS.lan");
	assert_int_equal(option_value_parse(&o, STRL("http://[fd00::1]"), &arena, &u, &why),
	                 ERR_OK);
	assert_false(u.tls || u.is_name);
	assert_string_equal(u.host, "fd00::1");
	assert_int_equal(u.port, 80);
	assert_int_equal(u.address.family, ADDRESS_V6);
	assert_int_equal(u.address.port, 80);
	assert_int_equal(option_value_parse(&o, STRL("unix:/run/x"), &arena, &u, &why), ERR_OK);
	assert_string_equal(u.unix_path, "/run/x");
	assert_string_equal(u.host, "");
}

static void an_address_without_port_is_told_how(void **state)
{
	struct option        o = option_of(OPTION_ADDRESS, 0, 0);
	struct option_reason why;
	struct address       a;

	(void)state;
	assert_int_equal(option_value_parse(&o, STRL("::1"), &arena, &a, &why), ERR_CONFIG);
	assert_string_equal(why.text, "'::1' lacks a port: write [::1]:53");
}

static void long_values_are_refused_and_shown_short(void **state)
{
	static char          text[2000];
	struct option        o = option_of(OPTION_SERVER_NAME, 0, 0);
	struct option_reason why;
	const char          *got;

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(option_value_parse(&o, str_span(text, 1025), &arena, &got, &why),
	                 ERR_CONFIG);
	assert_non_null(strstr(why.text, "longer than 1024 bytes"));
	assert_int_equal(option_value_parse(&o, str_span(text, 1024), &arena, &got, &why),
	                 ERR_CONFIG);
	assert_non_null(strstr(why.text, "is not a server name"));
}

static void words_are_suggested(void **state)
{
	const struct option *o = option_find(SECTION_DOORSTEP, STRL("log_level"));
	struct option_reason why;
	unsigned             got;

	(void)state;
	assert_non_null(o);
	assert_int_equal(option_value_parse(o, STRL("debug"), &arena, &got, &why), ERR_OK);
	assert_int_equal(option_value_parse(o, STRL("wran"), &arena, &got, &why), ERR_CONFIG);
	assert_string_equal(why.text,
	                    "'wran' is not one of: error, warn, info, debug; did you mean 'warn'?");
}

/* --- the table itself --- */

static const unsigned classes[] = { 64, 128, 256, 512 };

/* Every default is what an owner could write, in every class. */
static void defaults_pass_their_own_parser(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++)
		for (size_t k = 0; k < COUNT(classes); k++) {
			const struct option       *o = &option_table[i];
			char                       scratch[OPTION_SCRATCH];
			_Alignas(max_align_t) char room[1024] = { 0 };
			const char                *def = option_default(o, classes[k], scratch);
			struct option_reason       why;

			print_message("  %s %u\n", o->name, classes[k]);
			if (def != NULL)
				assert_int_equal(
					option_value_parse(o, str_of(def), &arena, room, &why),
					ERR_OK);
			assert_true(def == NULL || !(o->flags & OPTION_REQUIRED));
		}
}

static void rows_are_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		size_t               size = option_value_size(o->type);

		print_message("  %s\n", o->name);
		assert_non_null(o->help);
		assert_true(o->at + o->size <= option_sections[o->section].size);
		assert_ptr_equal(option_find(o->section, str_of(o->name)), o); /* not twice */
		if (o->flags & OPTION_LIST && o->type != OPTION_WORDS)
			assert_int_equal(o->size, sizeof(struct values));
		else if (size != 0)
			assert_int_equal(o->size, size);
		else
			assert_true(o->size == 4 || o->size == 8);
		assert_true((o->type == OPTION_CHOICE || o->type == OPTION_WORDS) ==
		            (o->words != NULL));
		if (option_is_number(o->type))
			assert_true(o->min <= o->max);
		if (option_is_number(o->type) && o->size == 4)
			assert_true(o->max <= UINT32_MAX);
	}
}

static void classes_follow_the_memory(void **state)
{
	static const struct {
		uint64_t kb;
		unsigned class;
	} machines[] = { { 0, 64 },         { 57 << 10, 64 },   { 121 << 10, 128 },
		         { 118000, 128 },   { 243 << 10, 256 }, { 495 << 10, 512 },
		         { 24u << 20, 512 } };

	(void)state;
	for (size_t i = 0; i < COUNT(machines); i++)
		assert_int_equal(option_class_of(machines[i].kb), machines[i].class);
}

/* A build with small ceilings lowers what is above them instead of refusing its own defaults. */
static void defaults_bow_to_the_build(void **state)
{
	struct option o = {
		.name = "x", .type = OPTION_BYTES, .min = 0, .max = 3 << 20, .def = "48M"
	};
	char scratch[OPTION_SCRATCH];

	(void)state;
	assert_string_equal(option_default(&o, 512, scratch), "3M");
	o.max = 64 << 20;
	assert_string_equal(option_default(&o, 512, scratch), "48M");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_numbers),
		TEST(ranges_are_told_in_the_owners_words),
		TEST(narrow_fields_stay_narrow),
		TEST(reads_flags_as_the_scripts_do),
		TEST(reads_texts),
		TEST(takes_urls_apart),
		TEST(an_address_without_port_is_told_how),
		TEST(long_values_are_refused_and_shown_short),
		TEST(words_are_suggested),
		TEST(defaults_pass_their_own_parser),
		TEST(rows_are_whole),
		TEST(classes_follow_the_memory),
		TEST(defaults_bow_to_the_build),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
