#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/dns_answer.h"
#include "unit/net/dns_message.h"

static char              bytes[4096];
static struct writer     w;
static struct dns_answer got;

static void begin(unsigned flags, const char *name, unsigned type, unsigned answers,
                  unsigned authorities)
{
	w = writer_over(bytes, sizeof(bytes));
	put_head(&w, flags, answers, authorities);
	put_question(&w, name, type);
}

/* From a block of exactly its size, so that reading past the end is seen. */
static void read_exactly(struct str message, const char *name, enum dns_type type)
{
	char *copy = malloc(message.len + (message.len == 0));

	memcpy(copy, message.ptr, message.len);
	memset(&got, 0x55, sizeof(got));
	dns_answer_read(str_span(copy, message.len), name, type, &got);
	free(copy);
}

static void read_it(const char *name, enum dns_type type)
{
	assert_false(w.failed);
	read_exactly(writer_done(&w), name, type);
}

static void assert_failed(const char *why)
{
	assert_int_equal(got.outcome, DNS_FAILED);
	assert_int_equal(got.count, 0);
	assert_int_equal(got.ttl_s, 0);
	assert_string_equal(got.why, why);
}

static void addresses(void **state)
{
	static const char v6[16] = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07";

	(void)state;
	begin(IS_ANSWER, "host.example", T_A, 3, 0);
	put_a(&w, "host.example", 300, 1);
	put_a(&w, "HOST.example", 200, 2);
	put_a(&w, "other.example", 1, 3); /* not asked for */
	read_it("host.EXAMPLE", DNS_A);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.ttl_s, 200);
	assert_int_equal(got.count, 2);
	assert_int_equal(got.records.address[0].family, ADDRESS_V4);
	assert_memory_equal(got.records.address[1].ip, "\xc0\0\x02\x02\0\0\0\0\0\0\0\0\0\0\0\0",
	                    16);
	assert_int_equal(got.records.address[1].port, 0);
	begin(IS_ANSWER, "host.example", T_AAAA, 1, 0);
	put_record(&w, "host.example", T_AAAA, 60, v6, 16);
	read_it("host.example", DNS_AAAA);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.records.address[0].family, ADDRESS_V6);
	assert_memory_equal(got.records.address[0].ip, v6, 16);
}

static void services(void **state)
{
	(void)state;
	begin(IS_ANSWER, "_matrix._tcp.example", T_SRV, 2, 0);
	put_srv(&w, "_matrix._tcp.example", 100, 10, 20, 8448, "M.Example");
	put_srv(&w, "_matrix._tcp.example", 100, 1, 2, 443, "");
	read_it("_matrix._tcp.example", DNS_SRV);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.count, 2);
	assert_int_equal(got.records.srv[0].priority, 10);
	assert_int_equal(got.records.srv[0].weight, 20);
	assert_int_equal(got.records.srv[0].port, 8448);
	assert_string_equal(got.records.srv[0].target, "m.example");
	assert_string_equal(got.records.srv[1].target, "");
}

static void too_many_records_are_left_out(void **state)
{
	(void)state;
	begin(IS_ANSWER, "h.example", T_A, 20, 0);
	for (unsigned i = 0; i < 20; i++)
		put_a(&w, "h.example", 60, i);
	read_it("h.example", DNS_A);
	assert_int_equal(got.count, DNS_RECORDS_MAX);
	assert_int_equal(got.records.address[DNS_RECORDS_MAX - 1].ip[3], DNS_RECORDS_MAX - 1);
}

static void of_many_services_the_best_stay(void **state)
{
	(void)state;
	begin(IS_ANSWER, "s.example", T_SRV, 40, 0);
	for (unsigned i = 0; i < 40; i++)
		put_srv(&w, "s.example", 60, 40 - i, 0, 8448, "h.example");
	read_it("s.example", DNS_SRV);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.count, DNS_RECORDS_MAX);
	for (size_t i = 0; i < got.count; i++)
		assert_in_range(got.records.srv[i].priority, 1, DNS_RECORDS_MAX);
}

static void aliases_are_followed_in_any_order(void **state)
{
	(void)state;
	begin(IS_ANSWER, "a.example", T_A, 4, 0);
	put_a(&w, "c.example", 300, 9);
	put_alias(&w, "b.example", 50, "c.example");
	put_alias(&w, "x.example", 1, "c.example");
	put_alias(&w, "a.example", 400, "b.example");
	read_it("a.example", DNS_A);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.ttl_s, 50);
}

static void chain_of(unsigned aliases)
{
	char from[32], to[32];

	begin(IS_ANSWER, "n0.example", T_A, aliases + 1, 0);
	for (unsigned i = 0; i < aliases; i++) {
		snprintf(from, sizeof(from), "n%u.example", i);
		snprintf(to, sizeof(to), "n%u.example", i + 1);
		put_alias(&w, from, 60, to);
	}
	snprintf(to, sizeof(to), "n%u.example", aliases);
	put_a(&w, to, 60, 1);
	read_it("n0.example", DNS_A);
}

static void chains_are_bounded(void **state)
{
	(void)state;
	chain_of(8);
	assert_int_equal(got.outcome, DNS_FOUND);
	chain_of(9);
	assert_failed("long chain of aliases");
	begin(IS_ANSWER, "a.example", T_A, 2, 0);
	put_alias(&w, "a.example", 60, "b.example");
	put_alias(&w, "b.example", 60, "a.example");
	read_it("a.example", DNS_A);
	assert_failed("long chain of aliases");
	begin(IS_ANSWER, "a.example", T_A, 2, 0);
	put_alias(&w, "a.example", 60, "b.example");
	put_alias(&w, "a.example", 60, "c.example");
	read_it("a.example", DNS_A);
	assert_failed("bad name");
}

/* A server that knows its own zones only says where the name leads to, and no more. */
static void unfinished_chains(void **state)
{
	(void)state;
	begin(IS_ANSWER, "a.example", T_A, 2, 0);
	put_alias(&w, "b.example", 30, "C.elsewhere.test");
	put_alias(&w, "a.example", 60, "b.example");
	read_it("a.example", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_DATA);
	assert_string_equal(got.alias, "c.elsewhere.test");
	assert_int_equal(got.ttl_s, 30);
	begin(IS_ANSWER, "a.example", T_A, 1, 1); /* the end has no address: RFC 2308, 2.2 */
	put_alias(&w, "a.example", 60, "b.example");
	put_soa(&w, "example", 50, 300);
	read_it("a.example", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_DATA);
	assert_string_equal(got.alias, "");
	begin(IS_ANSWER | NXDOMAIN, "a.example", T_A, 1, 0);
	put_alias(&w, "a.example", 60, "b.example");
	read_it("a.example", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_NAME);
	assert_string_equal(got.alias, "");
}

/* RFC 2308 */
static void absence(void **state)
{
	(void)state;
	begin(IS_ANSWER | NXDOMAIN, "no.example", T_A, 0, 1);
	put_soa(&w, "example", 900, 300);
	read_it("no.example", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_NAME);
	assert_int_equal(got.ttl_s, 300);
	begin(IS_ANSWER, "h.example", T_SRV, 0, 1);
	put_soa(&w, "example", 200, 300);
	read_it("h.example", DNS_SRV);
	assert_int_equal(got.outcome, DNS_NO_DATA);
	assert_int_equal(got.ttl_s, 200);
	begin(IS_ANSWER | NXDOMAIN, "a.example", T_A, 1, 2);
	put_alias(&w, "a.example", 30, "gone.test");
	put_soa(&w, "example", 10, 10); /* not about gone.test */
	put_soa(&w, "", 900, 300);
	read_it("a.example", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_NAME);
	assert_int_equal(got.ttl_s, 30);
	begin(IS_ANSWER | NXDOMAIN, "notexample", T_A, 0, 1);
	put_soa(&w, "example", 900, 300);
	read_it("notexample", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_NAME);
	assert_int_equal(got.ttl_s, 0);
	begin(IS_ANSWER, "h.example", T_A, 0, 0);
	read_it("h.example", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_DATA);
	assert_int_equal(got.ttl_s, 0);
}

static void a_referral_is_no_answer(void **state)
{
	(void)state;
	begin(IS_ANSWER, "h.example", T_A, 0, 1);
	put_record(&w, "example", T_NS, 60, "\2ns\0", 4);
	read_it("h.example", DNS_A);
	assert_failed("referral");
}

static void failures(void **state)
{
	static const struct {
		unsigned    flags;
		const char *why;
	} rows[] = {
		{ IS_ANSWER | SERVFAIL, "servfail" },
		{ IS_ANSWER | REFUSED, "refused" },
		{ IS_ANSWER | 1, "formerr" },
		{ IS_ANSWER | 4, "notimp" },
		{ IS_ANSWER | 9, "error" },
		{ IS_ANSWER | 15, "error" },
		{ IS_ANSWER | TRUNCATED, "truncated" },
		{ 0x0100, "malformed" },               /* a question */
		{ IS_ANSWER | NXDOMAIN, "malformed" }, /* with what does not exist */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %s\n", rows[i].why);
		begin(rows[i].flags, "h.example", T_A, 1, 0);
		put_a(&w, "h.example", 60, 1);
		read_it("h.example", DNS_A);
		assert_failed(rows[i].why);
	}
}

static void another_question_is_not_ours(void **state)
{
	(void)state;
	begin(IS_ANSWER, "h.example", T_A, 1, 0);
	put_a(&w, "h.example", 60, 1);
	read_it("g.example", DNS_A);
	assert_failed("malformed");
	read_it("h.example", DNS_AAAA);
	assert_failed("malformed");
	read_it("h.example", DNS_A);
	assert_int_equal(got.outcome, DNS_FOUND);
	bytes[5] = 2; /* questions */
	read_it("h.example", DNS_A);
	assert_failed("malformed");
	bytes[5] = 0;
	read_it("h.example", DNS_A);
	assert_failed("malformed");
}

static void wrong_sizes(void **state)
{
	(void)state;
	for (size_t len = 0; len < 18; len++) {
		if (len == 4)
			continue;
		begin(IS_ANSWER, "h.example", T_A, 1, 0);
		put_record(&w, "h.example", T_A, 60, "0123456789012345678", len);
		read_it("h.example", DNS_A);
		assert_failed("malformed");
	}
	begin(IS_ANSWER, "h.example", T_SRV, 1, 0);
	put_record(&w, "h.example", T_SRV, 60, "\0\1\0\2\0\3\1x\0y", 10); /* something behind */
	read_it("h.example", DNS_SRV);
	assert_failed("malformed");
	begin(IS_ANSWER, "h.example", T_SRV, 1, 0);
	put_record(&w, "h.example", T_SRV, 60, "\0\1\0\2\0\3\3x\0", 9); /* name runs out */
	read_it("h.example", DNS_SRV);
	assert_int_equal(got.outcome, DNS_FAILED);
}

static void high_times_count_as_none(void **state)
{
	(void)state;
	begin(IS_ANSWER, "h.example", T_A, 1, 0);
	put_a(&w, "h.example", 0x80000000u, 1);
	read_it("h.example", DNS_A);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.ttl_s, 0);
}

static void other_classes_are_ignored(void **state)
{
	(void)state;
	begin(IS_ANSWER, "h.example", T_A, 1, 0);
	put_a(&w, "h.example", 60, 1);
	bytes[12 + 11 + 4 + 11 + 3] = 3; /* CHAOS */
	read_it("h.example", DNS_A);
	assert_int_equal(got.outcome, DNS_NO_DATA);
}

static void odd_names_are_refused(void **state)
{
	static const char dotted[] = "\0\1\0\2\0\3\x09m.example\0"; /* one label with a dot */

	(void)state;
	begin(IS_ANSWER, "h.example", T_SRV, 1, 0);
	put_srv(&w, "h.example", 60, 1, 2, 3, "sp ace.example");
	read_it("h.example", DNS_SRV);
	assert_failed("bad name");
	begin(IS_ANSWER, "h.example", T_SRV, 1, 0);
	put_record(&w, "h.example", T_SRV, 60, dotted, sizeof(dotted) - 1);
	read_it("h.example", DNS_SRV);
	assert_failed("bad name");
	begin(IS_ANSWER, "h.example", T_A, 2, 0);
	put_a(&w, "o\\dd.example", 1, 1); /* of no interest */
	put_a(&w, "h.example", 60, 2);
	read_it("h.example", DNS_A);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.count, 1);
	begin(IS_ANSWER, "a.example", T_A, 1, 0);
	put_alias(&w, "a.example", 60, "");
	read_it("a.example", DNS_A);
	assert_failed("bad name");
}

static void put_pointed(unsigned to)
{
	begin(IS_ANSWER, "h.example", T_A, 1, 0);
	put16(&w, 0xc000 | to);
	put16(&w, T_A);
	put16(&w, 1);
	put32(&w, 60);
	put16(&w, 4);
	write_bytes(&w, "\xc0\0\2\1", 4);
	read_it("h.example", DNS_A);
}

static void pointers_lead_backwards(void **state)
{
	unsigned own = 12 + 11 + 4;

	(void)state;
	put_pointed(12);
	assert_int_equal(got.outcome, DNS_FOUND);
	put_pointed(own); /* to itself */
	assert_failed("malformed");
	put_pointed(own + 2);
	assert_failed("malformed");
	put_pointed(0x3fff);
	assert_failed("malformed");
	put_pointed(14); /* into the middle: another name */
	assert_int_equal(got.outcome, DNS_NO_DATA);
}

static void names_are_bounded(void **state)
{
	char long_name[300] = "";

	(void)state;
	for (int i = 0; i < 50; i++)
		strcat(long_name, i == 0 ? "label" : ".label"); /* 299 characters */
	begin(IS_ANSWER, "h.example", T_A, 2, 0);
	put_a(&w, "h.example", 60, 1);
	put_a(&w, long_name, 60, 1);
	read_it("h.example", DNS_A);
	assert_failed("malformed");
	long_name[253] = '\0'; /* the longest there is */
	assert_true(dns_answer_name_ok(str_of(long_name)));
	begin(IS_ANSWER, long_name, T_A, 1, 0);
	put_a(&w, long_name, 60, 1);
	read_it(long_name, DNS_A);
	assert_int_equal(got.outcome, DNS_FOUND);
}

static void names_to_ask_for(void **state)
{
	static const struct {
		struct str name;
		bool       ok;
	} rows[] = {
		{ STR("a"), true },
		{ STR("_matrix-fed._tcp.example.org"), true },
		{ STR("A-1.example"), true },
		{ STR("123456789012345678901234567890123456789012345678901234567890123"), true },
		{ STR("1234567890123456789012345678901234567890123456789012345678901234"), false },
		{ STR(""), false },
		{ STR("."), false },
		{ STR("a."), false },
		{ STR(".a"), false },
		{ STR("a..b"), false },
		{ STR("a b"), false },
		{ STR("a\0b"), false },
		{ STR("a\\032b"), false },
		{ STR("b\xc3\xbc"), false },
		{ STR("a/b"), false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %.*s\n", (int)rows[i].name.len, rows[i].name.ptr);
		assert_int_equal(dns_answer_name_ok(rows[i].name), rows[i].ok);
	}
}

static void every_prefix(void **state)
{
	struct str whole;

	(void)state;
	begin(IS_ANSWER, "a.example", T_SRV, 2, 1);
	put_alias(&w, "a.example", 60, "b.example");
	put_srv(&w, "b.example", 60, 1, 2, 3, "c.example");
	whole = writer_done(&w);
	for (size_t n = 0; n < whole.len; n++) {
		read_exactly(str_head(whole, n), "a.example", DNS_SRV);
		assert_failed("malformed");
	}
	begin(IS_ANSWER, "a.example", T_SRV, 0, 1);
	put_soa(&w, "example", 60, 60);
	whole = writer_done(&w);
	for (size_t n = 0; n < whole.len; n++) {
		read_exactly(str_head(whole, n), "a.example", DNS_SRV);
		assert_failed("malformed");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(services),
		cmocka_unit_test(too_many_records_are_left_out),
		cmocka_unit_test(of_many_services_the_best_stay),
		cmocka_unit_test(aliases_are_followed_in_any_order),
		cmocka_unit_test(unfinished_chains),
		cmocka_unit_test(chains_are_bounded),
		cmocka_unit_test(absence),
		cmocka_unit_test(a_referral_is_no_answer),
		cmocka_unit_test(failures),
		cmocka_unit_test(another_question_is_not_ours),
		cmocka_unit_test(wrong_sizes),
		cmocka_unit_test(high_times_count_as_none),
		cmocka_unit_test(other_classes_are_ignored),
		cmocka_unit_test(odd_names_are_refused),
		cmocka_unit_test(pointers_lead_backwards),
		cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(names_to_ask_for),
		cmocka_unit_test(every_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
