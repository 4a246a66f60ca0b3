#include "fed/server_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "codec/matrix/signed_json.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Appendices, "Cryptographic Test Vectors" */
#define SPEC_KEY "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"
#define BAD_KEY  "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og" /* its secret is public */

#define NOW      1800000000000ull
static const struct server_keys_clock now = { NOW, true };

static struct signing_pair pair_of(uint8_t n)
{
	uint8_t             seed[SIGNING_SEED_BYTES] = { n };
	struct signing_pair p;

	signing_pair_from_seed(seed, &p);
	return p;
}

/* ---- writing documents ---- */

struct text {
	char   bytes[160 * 1024];
	size_t len;
};

static struct text room;

static void add(struct text *t, const char *c)
{
	size_t n = strlen(c);

	assert_true(t->len + n < sizeof(t->bytes));
	memcpy(t->bytes + t->len, c, n + 1);
	t->len += n;
}

/* Replaces @1 .. @9 by the public keys of pair_of(1 .. 9) and ' by ". */
static void add_template(struct text *t, const char *c)
{
	for (; *c != '\0'; c++) {
		char one[2] = { *c == '\'' ? '"' : *c, '\0' };

		if (c[0] == '@' && c[1] >= '1' && c[1] <= '9') {
			char                base64[SIGNING_KEY_TEXT + 1] = "";
			struct writer       w = writer_over(base64, SIGNING_KEY_TEXT);
			struct signing_pair p = pair_of((uint8_t)(c[1] - '0'));

			signing_key_write(&w, &p.key);
			add(t, base64);
			c++;
			continue;
		}
		add(t, one);
	}
}

struct signer {
	const char *server, *id;
	uint8_t     pair; /* 0: what follows is no signature at all */
};

static void add_signature(struct text *t, struct str unsigned_doc, const struct signer *s)
{
	char                base64[SIGNING_SIG_TEXT + 1] = "";
	struct writer       w = writer_over(base64, SIGNING_SIG_TEXT);
	struct signing_pair p = pair_of(s->pair);
	struct signing_sig  sig;

	memset(&sig, 0, sizeof(sig));
	(void)signed_json_sign(unsigned_doc, &p, &sig); /* repeated members cannot be signed */
	signing_sig_write(&w, &sig);
	add(t, "\"");
	add(t, s->id);
	add(t, "\":\"");
	add(t, base64);
	add(t, "\"");
}

/* Members (a template) and the signatures, of one server after the other, as an object. */
static void add_signed(struct text *t, const char *members, const struct signer *signers)
{
	static struct text plain;
	const char        *server = NULL;

	plain.len = 0;
	add(&plain, "{");
	add_template(&plain, members);
	add(&plain, "}");
	add(t, "{");
	add_template(t, members);
	add(t, ",\"signatures\":{");
	for (const struct signer *s = signers; s->server != NULL; s++) {
		bool same = server != NULL && strcmp(server, s->server) == 0;

		if (server != NULL)
			add(t, same ? "," : "},");
		if (!same) {
			add(t, "\"");
			add(t, s->server);
			add(t, "\":{");
		}
		server = s->server;
		add_signature(t, str_span(plain.bytes, plain.len), s);
	}
	add(t, server != NULL ? "}}}" : "}}");
}

static struct str signed_doc(const char *members, const struct signer *signers)
{
	room.len = 0;
	add_signed(&room, members, signers);
	return str_span(room.bytes, room.len);
}

static enum err parse(struct str doc, const char *name, struct server_keys *out)
{
	struct exact x;
	enum err     e = server_keys_parse(exact_copy(&x, doc), str_of(name), now, out);

	exact_free(&x);
	return e;
}

/* ---- documents ---- */

#define UNTIL  "'valid_until_ts':1800000100000"
#define KEY_A1 "'ed25519:a':{'key':'@1'}"
#define KEY_B2 "'ed25519:b':{'key':'@2'}"
#define DOC(k) "'server_name':'a.example','verify_keys':{" k "}," UNTIL

static const struct row {
	const char   *what, *members;
	struct signer signers[3];
	enum err      want;
} rows[] = {
	{ "one key", DOC(KEY_A1), { { "a.example", "ed25519:a", 1 } }, ERR_OK },
	{ "two keys, both sign",
	  DOC(KEY_A1 "," KEY_B2),
	  { { "a.example", "ed25519:a", 1 }, { "a.example", "ed25519:b", 2 } },
	  ERR_OK },
	{ "two keys, one signs",
	  DOC(KEY_A1 "," KEY_B2),
	  { { "a.example", "ed25519:b", 2 } },
	  ERR_OK },
	{ "a notary signs too",
	  DOC(KEY_A1),
	  { { "a.example", "ed25519:a", 1 }, { "n.example", "ed25519:n", 3 } },
	  ERR_OK },
	{ "an old key signs too",
	  DOC(KEY_A1) ",'old_verify_keys':{'ed25519:o':{'key':'@2'}}",
	  { { "a.example", "ed25519:a", 1 }, { "a.example", "ed25519:o", 9 } },
	  ERR_OK },
	{ "escapes",
	  DOC("'ed25519:\\u0061':{'key':'@1'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },
	{ "odd numbers, other members",
	  DOC(KEY_A1) ",'x':[1e3,-0,1.5],'y':{'z':null}",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },
	{ "spelt with blanks",
	  "'server_name' : 'a.example' ,\n'verify_keys':{ " KEY_A1 " }, " UNTIL,
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },
	{ "other algorithms pass",
	  DOC(KEY_A1 ",'curve25519:x':{'key':'?'},'strange':7"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },
	{ "never ends",
	  "'server_name':'a.example','verify_keys':{" KEY_A1
	  "},'valid_until_ts':9223372036854775807",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },
	{ "has ended",
	  "'server_name':'a.example','verify_keys':{" KEY_A1 "},'valid_until_ts':0",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },
	{ "a bad key beside a good one",
	  DOC(KEY_A1 ",'ed25519:z':{'key':'" BAD_KEY "'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },

	{ "another server's",
	  "'server_name':'b.example','verify_keys':{" KEY_A1 "}," UNTIL,
	  { { "b.example", "ed25519:a", 1 } },
	  ERR_NOT_FOUND },
	{ "another case",
	  "'server_name':'A.example','verify_keys':{" KEY_A1 "}," UNTIL,
	  { { "A.example", "ed25519:a", 1 } },
	  ERR_NOT_FOUND },
	{ "no name",
	  "'verify_keys':{" KEY_A1 "}," UNTIL,
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_NOT_FOUND },
	{ "name behind NUL",
	  "'server_name':'a.example\\u0000','verify_keys':{" KEY_A1 "}," UNTIL,
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_NOT_FOUND },
	{ "unsigned", DOC(KEY_A1), { { NULL, NULL, 0 } }, ERR_SIGNATURE },
	{ "signed by a key it does not list",
	  DOC(KEY_A1),
	  { { "a.example", "ed25519:b", 2 } },
	  ERR_SIGNATURE },
	{ "signed by another key of that id",
	  DOC(KEY_A1),
	  { { "a.example", "ed25519:a", 2 } },
	  ERR_SIGNATURE },
	{ "one good and one wrong",
	  DOC(KEY_A1 "," KEY_B2),
	  { { "a.example", "ed25519:a", 1 }, { "a.example", "ed25519:b", 3 } },
	  ERR_SIGNATURE },
	{ "signed under another name",
	  DOC(KEY_A1),
	  { { "b.example", "ed25519:a", 1 } },
	  ERR_SIGNATURE },
	{ "signed by an old key alone",
	  DOC(KEY_A1) ",'old_verify_keys':{'ed25519:o':{'key':'@2','expired_ts':1}}",
	  { { "a.example", "ed25519:o", 2 } },
	  ERR_SIGNATURE },
	{ "signed by a key listed as old too",
	  DOC(KEY_A1 "," KEY_B2) ",'old_verify_keys':{'ed25519:a':{'key':'@1','expired_ts':1}}",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SIGNATURE },
	{ "a bad key alone",
	  DOC("'ed25519:z':{'key':'" BAD_KEY "'}"),
	  { { "a.example", "ed25519:z", 1 } },
	  ERR_UNSUPPORTED },
	{ "no keys", DOC(""), { { "a.example", "ed25519:a", 1 } }, ERR_UNSUPPORTED },
	{ "another algorithm alone",
	  DOC("'curve25519:a':{'key':'@1'}"),
	  { { "a.example", "curve25519:a", 1 } },
	  ERR_UNSUPPORTED },
	{ "keys are a list",
	  "'server_name':'a.example','verify_keys':[]," UNTIL,
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "old keys are a list",
	  DOC(KEY_A1) ",'old_verify_keys':[]",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "no verify_keys",
	  "'server_name':'a.example'," UNTIL,
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "key too short",
	  DOC("'ed25519:a':{'key':'AAAA'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "key too long",
	  DOC("'ed25519:a':{'key':'@1AAAA'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "key much too long",
	  DOC("'ed25519:a':{'key':'@1@1@1@1'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "key of the other alphabet",
	  DOC("'ed25519:a':{'key':'l_O9hxMVKB6Lg-3Hqf0FQQZhVESQcMzbPN1Cz2nM3og'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "key is no object",
	  DOC("'ed25519:a':'@1'"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "more in a key",
	  DOC("'ed25519:a':{'x':1,'key':'@1','y':'@2'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_OK },
	{ "key twice",
	  DOC("'ed25519:a':{'key':'@1','key':'@1'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "id twice",
	  DOC(KEY_A1 ",'ed25519:\\u0061':{'key':'@2'}"),
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "name twice",
	  DOC(KEY_A1) ",'server_name':'a.example'",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "anything twice",
	  DOC(KEY_A1) ",'x':{'y':1,'y':2}",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "no time",
	  "'server_name':'a.example','verify_keys':{" KEY_A1 "}",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "time is text",
	  "'server_name':'a.example','verify_keys':{" KEY_A1 "},'valid_until_ts':'1800000100000'",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "time is a fraction",
	  "'server_name':'a.example','verify_keys':{" KEY_A1 "},'valid_until_ts':1800000100000.5",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
	{ "time before time",
	  "'server_name':'a.example','verify_keys':{" KEY_A1 "},'valid_until_ts':-1",
	  { { "a.example", "ed25519:a", 1 } },
	  ERR_SYNTAX },
};

static void checks_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct server_keys k;

		print_message("  %s\n", rows[i].what);
		assert_int_equal(
			parse(signed_doc(rows[i].members, rows[i].signers), "a.example", &k),
			rows[i].want);
		if (rows[i].want == ERR_OK)
			assert_string_equal(k.server_name, "a.example");
	}
}

#define SPEC_SIG \
	"ewq/uPhfAzmWSa/3PRlr5Q0W59jG75Wtb6mzxIELuVRAxYMHOeMFue6fNXijZkIwLLembQ0+gl7DIkiUGcoUBg"

/* The vector of the specification's key, and its prefixes. */
static const struct str vector = STR(
	"{\"old_verify_keys\":{},\"server_name\":\"domain\",\"signatures\":{\"domain\":{\"ed25519:1\":"
	"\"" SPEC_SIG "\"}},"
	"\"valid_until_ts\":1700000000000,\"verify_keys\":{\"ed25519:1\":{\"key\":\"" SPEC_KEY
	"\"}}}");

static void knows_the_vector(void **state)
{
	struct server_keys_clock  then = { 1700000000000 - 1, true };
	const struct signing_key *key = NULL;
	struct server_keys        k;
	char                      text[SIGNING_KEY_TEXT];
	struct writer             w = writer_over(text, sizeof(text));

	(void)state;
	assert_int_equal(server_keys_parse(vector, STRL("domain"), then, &k), ERR_OK);
	assert_int_equal(server_keys_find(&k, STRL("ed25519:1"), then, &key), ERR_OK);
	signing_key_write(&w, key);
	assert_true(str_is(writer_done(&w), SPEC_KEY));
	for (size_t n = 0; n < vector.len; n++)
		assert_int_not_equal(parse(str_head(vector, n), "domain", &k), ERR_OK);
}

static size_t ends_at(const char *part)
{
	return (size_t)(strstr(vector.ptr, part) - vector.ptr) + strlen(part);
}

static void every_byte_is_signed(void **state)
{
	char *doc = malloc(vector.len);

	(void)state;
	assert_non_null(doc);
	for (size_t i = 0; i < vector.len; i++) {
		struct server_keys k;

		memcpy(doc, vector.ptr, vector.len);
		doc[i] ^= 1;
		/* but for the last bits of base64, which mean nothing */
		if (i + 1 == ends_at(SPEC_KEY) || i + 1 == ends_at(SPEC_SIG))
			continue;
		if (server_keys_parse(str_span(doc, vector.len), STRL("domain"), now, &k) == ERR_OK)
			fail_msg("byte %zu", i);
	}
	free(doc);
}

static void has_bounds(void **state)
{
	const struct signer signers[] = { { "a.example", "ed25519:k0", 1 }, { NULL, NULL, 0 } };
	static struct text  members;
	static struct server_keys k;

	(void)state;
	for (int count = 31; count <= 33; count++) {
		members.len = 0;
		add(&members, "'server_name':'a.example','verify_keys':{");
		for (int i = 0; i < count; i++) {
			char one[80];

			(void)snprintf(one, sizeof(one), "%s'ed25519:k%d':{'key':'@1'}",
			               i ? "," : "", i);
			add(&members, one);
		}
		/* old ones are noted as far as there is place */
		add(&members, "},'old_verify_keys':{'ed25519:o1':{},'ed25519:o2':{}}," UNTIL);
		assert_int_equal(parse(signed_doc(members.bytes, signers), "a.example", &k),
		                 count <= 32 ? ERR_OK : ERR_LIMIT);
		assert_int_equal(k.count, 32);
	}
	members.len = 0;
	add(&members, DOC("'ed25519:k0':{'key':'@1'}") ",'x':'");
	while (members.len < SERVER_KEYS_DOCUMENT_MAX - 200)
		add(&members, "xxxxxxxxxx");
	add(&members, "'");
	assert_int_equal(parse(signed_doc(members.bytes, signers), "a.example", &k), ERR_OK);
	members.len--;
	while (members.len < SERVER_KEYS_DOCUMENT_MAX)
		add(&members, "xxxxxxxxxx");
	add(&members, "'");
	assert_int_equal(parse(signed_doc(members.bytes, signers), "a.example", &k), ERR_TOO_LARGE);
}

/* ---- time ---- */

static const struct signer one_signer[] = { { "a.example", "ed25519:a", 1 }, { NULL, NULL, 0 } };

static struct server_keys keys_until(const char *until)
{
	static struct text members;
	struct server_keys k;

	members.len = 0;
	add(&members,
	    "'server_name':'a.example','verify_keys':{" KEY_A1 "},'old_verify_keys':{'ed25519:o':"
	    "{'key':'@2','expired_ts':1}},'valid_until_ts':");
	add(&members, until);
	assert_int_equal(parse(signed_doc(members.bytes, one_signer), "a.example", &k), ERR_OK);
	return k;
}

static void time_decides(void **state)
{
	const uint64_t week = SERVER_KEYS_LIFE_MAX_MS;
	const struct {
		const char              *until, *id;
		struct server_keys_clock clock;
		enum err                 want;
	} times[] = {
		{ "1800000100000", "ed25519:a", { NOW, true }, ERR_OK },
		{ "1800000100000", "ed25519:a", { NOW + 100000, true }, ERR_OK },
		{ "1800000100000", "ed25519:a", { NOW + 100001, true }, ERR_RANGE },
		{ "1799999999999", "ed25519:a", { NOW, true }, ERR_RANGE },
		{ "9007199254740991", "ed25519:a", { NOW + week, true }, ERR_OK },
		{ "9007199254740991", "ed25519:a", { NOW + week + 1, true }, ERR_RANGE },
		{ "99999999999999999999999999", "ed25519:a", { NOW + week, true }, ERR_OK },
		{ "99999999999999999999999999", "ed25519:a", { NOW + week + 1, true }, ERR_RANGE },
		/* set back: a correction is nothing, a day is */
		{ "9007199254740991", "ed25519:a", { NOW - 60000, true }, ERR_OK },
		{ "9007199254740991", "ed25519:a", { NOW - DAY_MS, true }, ERR_RANGE },
		{ "9007199254740991", "ed25519:a", { NOW, false }, ERR_BUSY },
		{ "9007199254740991", "ed25519:a", { UINT64_MAX, true }, ERR_RANGE },
		{ "9007199254740991", "ed25519:b", { NOW, true }, ERR_NOT_FOUND },
		{ "9007199254740991", "ed25519:o", { NOW, true }, ERR_NOT_FOUND },
		{ "9007199254740991", "", { NOW, true }, ERR_NOT_FOUND },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(times); i++) {
		struct server_keys        k = keys_until(times[i].until);
		const struct signing_key *key = NULL;

		print_message("  %s %s %llu\n", times[i].until, times[i].id,
		              (unsigned long long)times[i].clock.now_unix_ms);
		assert_int_equal(server_keys_find(&k, str_of(times[i].id), times[i].clock, &key),
		                 times[i].want);
		assert_true((key != NULL) == (times[i].want == ERR_OK));
	}
}

static void nothing_is_learnt_without_a_clock(void **state)
{
	struct server_keys_clock unset = { NOW, false };
	struct server_keys       k;

	(void)state;
	assert_int_equal(server_keys_parse(signed_doc(DOC(KEY_A1), one_signer), STRL("a.example"),
	                                   unset, &k),
	                 ERR_BUSY);
	assert_false(server_keys_is_plausible(0));
	assert_false(server_keys_is_plausible(1700000000000)); /* 2023 */
	assert_true(server_keys_is_plausible(NOW));            /* 2027 */
}

static void refreshes_late_in_life(void **state)
{
	struct server_keys k = keys_until("1800000100000");

	(void)state;
	for (unsigned s = 0; s <= 101; s++) {
		struct server_keys_clock clock = { NOW + s * 1000, true };

		assert_int_equal(server_keys_wants_refresh(&k, STRL("ed25519:a"), clock),
		                 s >= 80 && s <= 100);
		assert_false(server_keys_wants_refresh(&k, STRL("ed25519:o"), clock));
	}
	assert_int_equal(server_keys_until(&k), NOW + 100000);
}

/* ---- notaries ---- */

static struct server_keys_notary notary(void)
{
	struct server_keys_notary n;
	static struct text        text;

	text.len = 0;
	add_template(&text, "n.example ed25519:n @8  ed25519:m\t@9 ");
	assert_int_equal(server_keys_notary_parse(str_span(text.bytes, text.len), &n), ERR_OK);
	assert_int_equal(n.count, 2);
	return n;
}

#define BOTH                                        \
	{                                           \
		{ "a.example", "ed25519:a", 1 },    \
		{                                   \
			"n.example", "ed25519:n", 8 \
		}                                   \
	}
#define BOTH_B                                      \
	{                                           \
		{ "a.example", "ed25519:b", 2 },    \
		{                                   \
			"n.example", "ed25519:m", 9 \
		}                                   \
	}
#define DOC_B "'server_name':'a.example','verify_keys':{" KEY_B2 "},'valid_until_ts':1800000200000"

static const struct {
	const char *what;
	struct {
		const char   *members;
		struct signer signers[3];
	} docs[3];
	enum err    want;
	const char *ids[2]; /* found then */
} answers[] = {
	{ "one", { { DOC(KEY_A1), BOTH } }, ERR_OK, { "ed25519:a" } },
	{ "the other pin", { { DOC_B, BOTH_B } }, ERR_OK, { "ed25519:b" } },
	{ "two are merged",
	  { { DOC(KEY_A1), BOTH }, { DOC_B, BOTH_B } },
	  ERR_OK,
	  { "ed25519:a", "ed25519:b" } },
	{ "nothing", { { NULL, { { NULL, NULL, 0 } } } }, ERR_NOT_FOUND, { NULL } },
	{ "of another server",
	  { { "'server_name':'b.example','verify_keys':{" KEY_A1 "}," UNTIL,
	      { { "b.example", "ed25519:a", 1 }, { "n.example", "ed25519:n", 8 } } } },
	  ERR_NOT_FOUND,
	  { NULL } },
	{ "one of another server beside",
	  { { "'server_name':'b.example','verify_keys':{" KEY_A1 "}," UNTIL,
	      { { "b.example", "ed25519:a", 1 }, { "n.example", "ed25519:n", 8 } } },
	    { DOC(KEY_A1), BOTH } },
	  ERR_OK,
	  { "ed25519:a" } },
	{ "the notary alone",
	  { { DOC(KEY_A1), { { "n.example", "ed25519:n", 8 } } } },
	  ERR_SIGNATURE,
	  { NULL } },
	{ "the server alone",
	  { { DOC(KEY_A1), { { "a.example", "ed25519:a", 1 } } } },
	  ERR_SIGNATURE,
	  { NULL } },
	{ "a notary's key that is not pinned",
	  { { DOC(KEY_A1), { { "a.example", "ed25519:a", 1 }, { "n.example", "ed25519:x", 8 } } } },
	  ERR_SIGNATURE,
	  { NULL } },
	{ "another key under the pin's name",
	  { { DOC(KEY_A1), { { "a.example", "ed25519:a", 1 }, { "n.example", "ed25519:n", 7 } } } },
	  ERR_SIGNATURE,
	  { NULL } },
	{ "another notary",
	  { { DOC(KEY_A1), { { "a.example", "ed25519:a", 1 }, { "m.example", "ed25519:n", 8 } } } },
	  ERR_SIGNATURE,
	  { NULL } },
	{ "a good one beside a forged one",
	  { { DOC_B, { { "a.example", "ed25519:b", 3 }, { "n.example", "ed25519:n", 8 } } },
	    { DOC(KEY_A1), BOTH } },
	  ERR_OK,
	  { "ed25519:a" } },
};

static enum err parse_answer(size_t row, struct server_keys *out)
{
	struct server_keys_notary n = notary();
	struct exact              x;
	enum err                  e;

	room.len = 0;
	add(&room, "{\"server_keys\":[");
	for (size_t i = 0; i < 3 && answers[row].docs[i].members != NULL; i++) {
		add(&room, i > 0 ? "," : "");
		add_signed(&room, answers[row].docs[i].members, answers[row].docs[i].signers);
	}
	add(&room, "]}");
	e = server_keys_parse_notary(exact_copy(&x, str_span(room.bytes, room.len)),
	                             STRL("a.example"), &n, now, out);
	exact_free(&x);
	return e;
}

static void notaries_need_two_signatures(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct server_keys k = { .count = 0 };
		size_t             ids = 0;

		print_message("  %s\n", answers[i].what);
		assert_int_equal(parse_answer(i, &k), answers[i].want);
		for (; ids < 2 && answers[i].ids[ids] != NULL; ids++) {
			const struct signing_key *key;

			assert_int_equal(
				server_keys_find(&k, str_of(answers[i].ids[ids]), now, &key),
				ERR_OK);
		}
		assert_int_equal(k.count, ids);
	}
}

static void notary_answers_have_bounds(void **state)
{
	const struct str          bad[] = { STR("{}"),
		                            STR("[]"),
		                            STR("{\"server_keys\":{}}"),
		                            STR("{\"server_keys\":[7]}"),
		                            STR("{\"server_keys\":[],"),
		                            STR("{\"server_keys\":[],\"server_keys\":[]}"),
		                            STR("") };
	struct server_keys_notary n = notary();
	struct server_keys        k;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(server_keys_parse_notary(bad[i], STRL("a.example"), &n, now, &k),
		                 ERR_SYNTAX);
	/* the ninth is not looked at */
	for (int good_at = 7; good_at <= 8; good_at++) {
		const struct signer both[] = BOTH,
				    alone[] = { { "a.example", "ed25519:a", 1 }, { 0 } };

		room.len = 0;
		add(&room, "{\"server_keys\":[");
		for (int i = 0; i < 10; i++) {
			struct signer three[3] = { both[0], both[1], { NULL, NULL, 0 } };

			add(&room, i > 0 ? "," : "");
			add_signed(&room, DOC(KEY_A1), i == good_at ? three : alone);
		}
		add(&room, "]}");
		assert_int_equal(server_keys_parse_notary(str_span(room.bytes, room.len),
		                                          STRL("a.example"), &n, now, &k),
		                 good_at < SERVER_KEYS_ANSWERS_MAX ? ERR_OK : ERR_SIGNATURE);
	}
	room.len = 0;
	while (room.len <= SERVER_KEYS_DOCUMENT_MAX)
		add(&room, "                                        ");
	assert_int_equal(server_keys_parse_notary(str_span(room.bytes, room.len), STRL("a.example"),
	                                          &n, now, &k),
	                 ERR_TOO_LARGE);
}

static void reads_pinned_notaries(void **state)
{
	const struct {
		struct str text;
		enum err   want;
	} texts[] = {
		{ STR("n.example ed25519:a " SPEC_KEY), ERR_OK },
		{ STR("\tn.example:8448   ed25519:a\t" SPEC_KEY "  "), ERR_OK },
		{ STR("n.example"), ERR_SYNTAX },
		{ STR(""), ERR_SYNTAX },
		{ STR("n.example ed25519:a"), ERR_SYNTAX },
		{ STR("n.example " SPEC_KEY), ERR_SYNTAX },
		{ STR("n_example ed25519:a " SPEC_KEY), ERR_SYNTAX },
		{ STR("n.example rsa:a " SPEC_KEY), ERR_SYNTAX },
		{ STR("n.example ed25519:a " BAD_KEY), ERR_SYNTAX },
		{ STR("n.example ed25519:1 " SPEC_KEY " ed25519:2 " SPEC_KEY " ed25519:3 " SPEC_KEY
		      " ed25519:4 " SPEC_KEY),
		  ERR_OK },
		{ STR("n.example ed25519:1 " SPEC_KEY " ed25519:2 " SPEC_KEY " ed25519:3 " SPEC_KEY
		      " ed25519:4 " SPEC_KEY " ed25519:5 " SPEC_KEY),
		  ERR_LIMIT },
	};
	struct server_keys_notary n;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		print_message("  %s\n", texts[i].text.ptr);
		assert_int_equal(server_keys_notary_parse(texts[i].text, &n), texts[i].want);
	}
	server_keys_notary_default(&n);
	assert_string_equal(n.name, "matrix.org");
	assert_int_equal(n.count, 2);
}

/* ---- merging ---- */

static struct server_key entry(const char *id, uint8_t pair, uint64_t until, bool retired)
{
	struct server_key k = { .until_unix_ms = until, .retired = retired };

	assert_true(str_copy(str_of(id), k.id, sizeof(k.id)));
	if (!retired)
		k.key = pair_of(pair).key;
	return k;
}

static void merges_by_id(void **state)
{
	const struct {
		const char *what;
		uint64_t    old_until, new_until;
		uint8_t     old_pair, new_pair; /* 0: retired */
		uint8_t     want_pair;
		uint64_t    want_until;
		size_t      changed;
	} merges[] = {
		{ "renewed", 100, 200, 1, 1, 1, 200, 0 },
		{ "older answer", 200, 100, 1, 1, 1, 200, 0 },
		{ "other key, newer", 100, 200, 1, 2, 2, 200, 1 },
		{ "other key, older", 200, 100, 1, 2, 1, 200, 0 },
		{ "other key, same time", 100, 100, 1, 2, 2, 100, 1 },
		{ "retired", 100, 200, 1, 0, 0, 200, 0 },
		{ "retired, same time", 100, 100, 1, 0, 0, 100, 0 },
		{ "retired in an older answer", 200, 100, 1, 0, 1, 200, 0 },
		{ "was retired, older answer", 200, 100, 0, 1, 0, 200, 0 },
		{ "is back", 100, 200, 0, 1, 1, 200, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(merges); i++) {
		struct server_keys k = { "a.example", 5, 1, { { .id = "" } } }, fresh = k;

		print_message("  %s\n", merges[i].what);
		k.key[0] = entry("ed25519:a", merges[i].old_pair, merges[i].old_until,
		                 merges[i].old_pair == 0);
		fresh.key[0] = entry("ed25519:a", merges[i].new_pair, merges[i].new_until,
		                     merges[i].new_pair == 0);
		fresh.learnt_unix_ms = 7;
		assert_int_equal(server_keys_merge(&k, &fresh), merges[i].changed);
		assert_int_equal(k.count, 1);
		assert_int_equal(k.learnt_unix_ms, 7);
		assert_int_equal(k.key[0].until_unix_ms, merges[i].want_until);
		assert_int_equal(k.key[0].retired, merges[i].want_pair == 0);
		if (merges[i].want_pair != 0) {
			struct signing_pair want = pair_of(merges[i].want_pair);

			assert_true(signing_key_eq(&k.key[0].key, &want.key));
		}
	}
}

static void merges_into_a_full_place(void **state)
{
	struct server_keys k = { "a.example", 5, SERVER_KEYS_MAX, { { .id = "" } } };
	struct server_keys fresh = { "a.example", 5, 2, { { .id = "" } } };
	bool               has_late = false;

	(void)state;
	for (unsigned i = 0; i < SERVER_KEYS_MAX; i++) {
		char id[32];

		(void)snprintf(id, sizeof(id), "ed25519:k%u", i);
		k.key[i] = entry(id, 1, 1000 + (i * 7) % SERVER_KEYS_MAX, false);
	}
	fresh.key[0] = entry("ed25519:late", 1, 5000, false);
	fresh.key[1] = entry("ed25519:early", 1, 10, false);
	assert_int_equal(server_keys_merge(&k, &fresh), 0);
	assert_int_equal(k.count, SERVER_KEYS_MAX);
	for (size_t i = 0; i < k.count; i++) {
		has_late = has_late || strcmp(k.key[i].id, "ed25519:late") == 0;
		assert_string_not_equal(k.key[i].id, "ed25519:early");
		assert_string_not_equal(k.key[i].id, "ed25519:k0");
	}
	assert_true(has_late);
}

/* ---- bytes ---- */

static void bytes_come_back(void **state)
{
	struct server_keys k = keys_until("1800000100000"), back;
	char               bytes[SERVER_KEYS_BYTES_MAX];
	struct writer      w = writer_over(bytes, sizeof(bytes));
	struct str         all;

	(void)state;
	server_keys_write(&w, &k);
	assert_false(w.failed);
	all = writer_done(&w);
	print_message("  one key and a retired one: %zu bytes\n", all.len);
	assert_int_equal(server_keys_read(all, STRL("a.example"), &back), ERR_OK);
	assert_string_equal(back.server_name, k.server_name);
	assert_int_equal(back.learnt_unix_ms, k.learnt_unix_ms);
	assert_int_equal(back.count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(back.key[i].id, k.key[i].id);
		assert_true(signing_key_eq(&back.key[i].key, &k.key[i].key));
		assert_int_equal(back.key[i].until_unix_ms, k.key[i].until_unix_ms);
		assert_int_equal(back.key[i].retired, k.key[i].retired);
	}
	assert_int_equal(server_keys_read(all, STRL("b.example"), &back), ERR_SYNTAX);
	for (size_t n = 0; n < all.len; n++) {
		struct exact x;

		assert_int_equal(server_keys_read(exact_copy(&x, str_head(all, n)),
		                                  STRL("a.example"), &back),
		                 ERR_SYNTAX);
		exact_free(&x);
	}
	bytes[all.len] = 0;
	assert_int_equal(server_keys_read(str_span(bytes, all.len + 1), STRL("a.example"), &back),
	                 ERR_SYNTAX);
	bytes[0] = 2;
	assert_int_equal(server_keys_read(all, STRL("a.example"), &back), ERR_SYNTAX);
}

static void the_largest_fits(void **state)
{
	struct server_keys k = { .count = SERVER_KEYS_MAX, .learnt_unix_ms = UINT64_MAX }, back;
	char               bytes[SERVER_KEYS_BYTES_MAX];
	struct writer      w = writer_over(bytes, sizeof(bytes));

	(void)state;
	memset(k.server_name, 'a', SERVER_NAME_TEXT_MAX);
	for (unsigned i = 0; i < SERVER_KEYS_MAX; i++) {
		(void)snprintf(k.key[i].id, sizeof(k.key[i].id), "ed25519:%064u", i);
		k.key[i].until_unix_ms = UINT64_MAX;
	}
	server_keys_write(&w, &k);
	assert_false(w.failed);
	assert_int_equal(writer_done(&w).len, SERVER_KEYS_BYTES_MAX);
	assert_int_equal(server_keys_read(writer_done(&w), str_of(k.server_name), &back), ERR_OK);
	assert_memory_equal(&k, &back, sizeof(k));
}

static int set_up(void **state)
{
	(void)state;
	return signing_init() != ERR_OK;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks_documents),
		cmocka_unit_test(knows_the_vector),
		cmocka_unit_test(every_byte_is_signed),
		cmocka_unit_test(has_bounds),
		cmocka_unit_test(time_decides),
		cmocka_unit_test(nothing_is_learnt_without_a_clock),
		cmocka_unit_test(refreshes_late_in_life),
		cmocka_unit_test(notaries_need_two_signatures),
		cmocka_unit_test(notary_answers_have_bounds),
		cmocka_unit_test(reads_pinned_notaries),
		cmocka_unit_test(merges_by_id),
		cmocka_unit_test(merges_into_a_full_place),
		cmocka_unit_test(bytes_come_back),
		cmocka_unit_test(the_largest_fits),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
