#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/matrix/signed_json.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define SEED     "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
#define SIG_EMPTY \
	"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
#define SIG_TWO \
	"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"
#define SIG_EVENT \
	"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
#define SIG_KEYS \
	"ewq/uPhfAzmWSa/3PRlr5Q0W59jG75Wtb6mzxIELuVRAxYMHOeMFue6fNXijZkIwLLembQ0+gl7DIkiUGcoUBg"
#define BY(sig) "\"signatures\":{\"domain\":{\"ed25519:1\":\"" sig "\"}}"

static struct signing_pair pair;

static int make_pair(void **state)
{
	uint8_t seed[SIGNING_SEED_BYTES];

	(void)state;
	if (signing_init() != ERR_OK ||
	    base64_read_exactly(STRL(SEED), seed, sizeof(seed)) != ERR_OK)
		return -1;
	signing_pair_from_seed(seed, &pair);
	return 0;
}

static const struct {
	struct str doc;
	enum err   want;
} rows[] = {
	/* Matrix specification, Appendices, "JSON Signing" and "Event Signing" */
	{ STR("{" BY(SIG_EMPTY) "}"), ERR_OK },
	{ STR("{\"one\":1,\"two\":\"Two\"," BY(SIG_TWO) "}"), ERR_OK },
	{ STR("{" BY(
		  SIG_EVENT) ",\"room_id\":\"!x:domain\",\"sender\":\"@a:domain\",\"origin\":\"domain\","
	                     "\"origin_server_ts\":1000000,\"type\":\"X\",\"content\":{},\"prev_events\":[],"
	                     "\"auth_events\":[],\"depth\":3,\"unsigned\":{\"age_ts\":1000000},\"hashes\":{\"sha256\":"
	                     "\"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos\"}}"),
	  ERR_OK },
	/* a key answer */
	{ STR("{\"old_verify_keys\":{},\"server_name\":\"domain\"," BY(
		  SIG_KEYS) ",\"valid_until_ts\":"
	                    "1700000000000,\"verify_keys\":{\"ed25519:1\":{\"key\":"
	                    "\"XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI\"}}}"),
	  ERR_OK },
	{ STR("{\"old_verify_keys\":{},\"server_name\":\"domain\"," BY(
		  SIG_KEYS) ",\"valid_until_ts\":"
	                    "1700000000001,\"verify_keys\":{\"ed25519:1\":{\"key\":"
	                    "\"XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI\"}}}"),
	  ERR_SIGNATURE },
	/* another spelling of the same; escapes in the names of the signature too; padding */
	{ STR("{ \"two\" : \"\\u0054wo\" ,\"\\u006fne\":1, \"unsigned\":[],\"signatures\":{\"x\":{},"
	      "\"do\\u006dain\":{\"ed25519:2\":\"?\",\"ed25519\\u003a1\":\"" SIG_TWO "==\"}}}"),
	  ERR_OK },
	/* the integer that 1.0 is; other senders would have signed the text */
	{ STR("{\"one\":1.0,\"two\":\"Two\"," BY(SIG_TWO) "}"), ERR_OK },
	{ STR("{\"one\":1.5,\"two\":\"Two\"," BY(SIG_TWO) "}"), ERR_SIGNATURE },
	/* something else */
	{ STR("{\"one\":1,\"two\":\"two\"," BY(SIG_TWO) "}"), ERR_SIGNATURE },
	{ STR("{\"one\":1,\"two\":\"Two\",\"x\":null," BY(SIG_TWO) "}"), ERR_SIGNATURE },
	{ STR("{\"one\":1,\"two\":\"Two\"," BY("AAAA") "}"), ERR_SIGNATURE },
	{ STR("{\"one\":1,\"two\":\"Two\"," BY("") "}"), ERR_SIGNATURE },
	{ STR("{\"one\":1,\"two\":\"Two\"," BY("\\u0000") "}"), ERR_SIGNATURE },
	/* no signature */
	{ STR("{}"), ERR_NOT_FOUND },
	{ STR("{\"signatures\":{}}"), ERR_NOT_FOUND },
	{ STR("{\"signatures\":[]}"), ERR_NOT_FOUND },
	{ STR("{\"signatures\":{\"Domain\":{\"ed25519:1\":\"" SIG_EMPTY "\"}}}"), ERR_NOT_FOUND },
	{ STR("{\"signatures\":{\"domain\":{\"ed25519:2\":\"" SIG_EMPTY "\"}}}"), ERR_NOT_FOUND },
	{ STR("{\"signatures\":{\"domain\":{\"ed25519:1\":1}}}"), ERR_NOT_FOUND },
	{ STR("{\"x\":{" BY(SIG_EMPTY) "}}"), ERR_NOT_FOUND },
	/* two readings */
	{ STR("{" BY(SIG_EMPTY) "," BY(SIG_EMPTY) "}"), ERR_SYNTAX },
	{ STR("{\"one\":1,\"one\":1,\"two\":\"Two\"," BY(SIG_TWO) "}"), ERR_SYNTAX },
	{ STR("{\"signatures\":{\"domain\":{\"ed25519:1\":\"\",\"ed25519:1\":\"" SIG_EMPTY "\"}}}"),
	  ERR_SYNTAX },
	{ STR("{\"unsigned\":{\"a\":1,\"a\":1}," BY(SIG_EMPTY) "}"), ERR_SYNTAX },
	{ STR("[]"), ERR_SYNTAX },
	{ STR("{" BY(SIG_EMPTY) "} x"), ERR_SYNTAX },
};

static void verifies_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct exact x;
		struct str   doc = exact_copy(&x, rows[i].doc);

		print_message("  %.*s\n", (int)doc.len, doc.ptr);
		assert_int_equal(
			signed_json_verify(doc, STRL("domain"), STRL("ed25519:1"), &pair.key),
			rows[i].want);
		exact_free(&x);
	}
}

static void needs_the_right_key(void **state)
{
	struct signing_key other = pair.key;

	(void)state;
	other.bytes[0] ^= 1;
	assert_int_equal(signed_json_verify(rows[0].doc, STRL("domain"), STRL("ed25519:1"), &other),
	                 ERR_SIGNATURE);
}

static void finds_the_text(void **state)
{
	struct arena a;
	struct str   text;

	(void)state;
	arena_init(&a, 4096);
	assert_int_equal(
		signed_json_find(rows[5].doc, STRL("domain"), STRL("ed25519:1"), &a, &text),
		ERR_OK);
	assert_true(str_is(text, SIG_TWO "=="));
	arena_fini(&a);
}

static void signs_documents(void **state)
{
	struct signing_sig sig;
	char               text[SIGNING_SIG_TEXT];
	struct writer      w = writer_over(text, sizeof(text));

	(void)state;
	assert_int_equal(
		signed_json_sign(STRL("{\"two\":\"Two\", \"signatures\":{\"x\":1},\"one\":1}"),
	                         &pair, &sig),
		ERR_OK);
	signing_sig_write(&w, &sig);
	assert_true(str_is(writer_done(&w), SIG_TWO));
	assert_int_equal(signed_json_sign(STRL("[]"), &pair, &sig), ERR_SYNTAX);
	assert_int_equal(signed_json_sign(STRL("{\"a\":1,\"a\":1}"), &pair, &sig), ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verifies_documents),
		cmocka_unit_test(needs_the_right_key),
		cmocka_unit_test(finds_the_text),
		cmocka_unit_test(signs_documents),
	};

	return cmocka_run_group_tests(tests, make_pair, NULL);
}
