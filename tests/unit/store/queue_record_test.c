#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/queue_record.h"
#include "support/exact.h"

static char room[QUEUE_VALUE_MAX];

static const struct queue_key item_key = { QUEUE_RECORD_ITEM, 7, 0 };

static struct queue_item an_item(void)
{
	return (struct queue_item){
		.server_name = STR("home.example"),
		.origin = STR("a.example"),
		.transaction_id = STR("1"),
		.method = STR("PUT"),
		.target = STR("/send/1"),
		.authorization = STR("X-Matrix a=b\n"),
		.content_type = STR("application/json"),
		.peer = address_v4(192, 0, 2, 1, 443),
		.at_unix_ms = 1800000000000ull,
		.body = STR("{\"pdus\":[]}"),
		.body_hash = { 1, 2, 3 },
	};
}

static struct str sealed_item(void)
{
	struct queue_item item = an_item();
	size_t            len = queue_record_item_size(&item);

	queue_record_write_item(room, &item);
	queue_record_seal(&item_key, room, len);
	return str_span(room, len);
}

static void expect_str(struct str got, struct str want)
{
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.ptr, want.ptr, want.len);
}

static void items_come_back(void **state)
{
	struct queue_item        want = an_item();
	struct queue_record_item got;

	(void)state;
	assert_int_equal(queue_record_read_item(&item_key, sealed_item(), true, &got), ERR_OK);
	expect_str(got.item.server_name, want.server_name);
	expect_str(got.item.origin, want.origin);
	expect_str(got.item.transaction_id, want.transaction_id);
	expect_str(got.item.method, want.method);
	expect_str(got.item.target, want.target);
	expect_str(got.item.authorization, want.authorization);
	expect_str(got.item.content_type, want.content_type);
	expect_str(got.item.body, want.body);
	assert_true(address_equal(&got.item.peer, &want.peer));
	assert_int_equal(got.item.at_unix_ms, want.at_unix_ms);
	assert_memory_equal(got.item.body_hash, want.body_hash, QUEUE_HASH_BYTES);
	assert_int_equal(got.body, 0);
	assert_int_equal(got.body_len, want.body.len);
}

static void bytes_are_as_written_down(void **state)
{
	/* version, kind, 0, checksum, covers; then the state: parked, tries, first try, reason */
	static const char         want[] = "\1\3\0\0"
					   "????"
					   "\0\0\0\20"
					   "\1\0\0\0\5\0\0\0\0\0\1\2\3why";
	struct queue_key          key = { QUEUE_RECORD_STATE, 0x0102030405060708ull, 0 };
	struct queue_record_state s = {
		.parked = true, .tries = 5, .first_try_unix_ms = 0x010203, .reason = STR("why")
	};
	size_t len = queue_record_write_state(room, &s);

	(void)state;
	queue_record_seal(&key, room, len);
	assert_int_equal(len, sizeof(want) - 1);
	assert_memory_equal(room, want, 4);
	assert_memory_equal(room + 8, want + 8, len - 8);
}

/* Records of each kind, sealed, and a reader that says whether one is accepted. */
static enum err reread(const struct queue_key *key, struct str record)
{
	struct queue_record_item  item;
	struct queue_record_state s;
	struct queue_record_seen  seen;
	struct str                bytes;
	uint64_t                  next;

	switch (key->kind) {
	case QUEUE_RECORD_ITEM:
		return queue_record_read_item(key, record, true, &item);
	case QUEUE_RECORD_PART:
		return queue_record_read_part(key, record, &bytes);
	case QUEUE_RECORD_STATE:
		return queue_record_read_state(key, record, &s);
	case QUEUE_RECORD_SEEN:
		return queue_record_read_seen(key, record, &seen);
	case QUEUE_RECORD_META:
		return queue_record_read_meta(key, record, &next);
	case QUEUE_RECORD_KIND_COUNT:
		break;
	}
	return ERR_UNSUPPORTED;
}

static size_t write_kind(enum queue_record_kind kind)
{
	struct queue_record_state s = { .tries = 3, .reason = STR("x") };
	struct queue_record_seen  seen = { .server_name = STR("home"),
		                           .origin = STR("a"),
		                           .at_unix_ms = 9 };

	switch (kind) {
	case QUEUE_RECORD_ITEM:
		return sealed_item().len;
	case QUEUE_RECORD_PART:
		memcpy(room + QUEUE_PART_ROOM, "part", 4);
		return QUEUE_PART_ROOM + 4;
	case QUEUE_RECORD_STATE:
		return queue_record_write_state(room, &s);
	case QUEUE_RECORD_SEEN:
		return queue_record_write_seen(room, &seen);
	case QUEUE_RECORD_META:
		return queue_record_write_meta(room, 77);
	case QUEUE_RECORD_KIND_COUNT:
		break;
	}
	return 0;
}

static void for_each_kind(void (*test)(const struct queue_key *key, struct str record))
{
	for (int kind = QUEUE_RECORD_ITEM; kind < QUEUE_RECORD_KIND_COUNT; kind++) {
		struct queue_key key = { (enum queue_record_kind)kind, 7, 0 };
		size_t           len = write_kind(key.kind);

		queue_record_seal(&key, room, len);
		assert_int_equal(reread(&key, str_span(room, len)), ERR_OK);
		test(&key, str_span(room, len));
	}
}

static void refuse_prefixes(const struct queue_key *key, struct str record)
{
	for (size_t n = 0; n < record.len; n++) {
		struct exact x;

		assert_int_equal(reread(key, exact_copy(&x, str_head(record, n))), ERR_SYNTAX);
		exact_free(&x);
	}
}

static void every_prefix_is_refused(void **state)
{
	(void)state;
	for_each_kind(refuse_prefixes);
}

static void refuse_flips(const struct queue_key *key, struct str record)
{
	for (size_t i = 8; i < 8 * record.len; i++) { /* the first byte is the version */
		room[i / 8] = (char)(room[i / 8] ^ 1 << i % 8);
		assert_int_equal(reread(key, record), ERR_SYNTAX);
		room[i / 8] = (char)(room[i / 8] ^ 1 << i % 8);
	}
}

static void every_flipped_bit_is_noticed(void **state)
{
	(void)state;
	for_each_kind(refuse_flips);
}

static void refuse_elsewhere(const struct queue_key *key, struct str record)
{
	struct queue_key other = *key;

	other.number++;
	assert_int_equal(reread(&other, record), ERR_SYNTAX);
	other = *key;
	other.part = 1;
	assert_int_equal(reread(&other, record), ERR_SYNTAX);
}

static void records_belong_to_their_key(void **state)
{
	(void)state;
	for_each_kind(refuse_elsewhere);
}

static void refuse_newer(const struct queue_key *key, struct str record)
{
	room[0] = 2;
	assert_int_equal(reread(key, record), ERR_UNSUPPORTED);
	room[0] = 0;
	assert_int_equal(reread(key, record), ERR_SYNTAX);
}

static void newer_ones_are_told_apart(void **state)
{
	(void)state;
	for_each_kind(refuse_newer);
}

static void head_can_be_read_without_the_body(void **state)
{
	struct str               record = sealed_item();
	struct queue_record_item got;

	(void)state;
	room[record.len - 1] ^= 1;
	assert_int_equal(queue_record_read_item(&item_key, record, true, &got), ERR_SYNTAX);
	assert_int_equal(queue_record_read_item(&item_key, record, false, &got), ERR_OK);
	expect_str(got.item.origin, STRL("a.example"));
	assert_int_equal(got.item.body.len, 0);
	assert_int_equal(got.body_len, an_item().body.len);
}

static void large_bodies_are_elsewhere(void **state)
{
	static char              big[QUEUE_INLINE_MAX + 1];
	struct queue_item        item = an_item();
	struct queue_record_item got;
	size_t                   len;

	(void)state;
	item.body = str_span(big, sizeof(big));
	len = queue_record_item_size(&item);
	assert_true(len < 500);
	queue_record_write_item(room, &item);
	queue_record_set_body(room, 99);
	queue_record_seal(&item_key, room, len);
	assert_int_equal(queue_record_read_item(&item_key, str_span(room, len), true, &got),
	                 ERR_OK);
	assert_int_equal(got.body, 99);
	assert_int_equal(got.body_len, sizeof(big));
	queue_record_set_body(room, 0); /* large, and no number: a contradiction */
	queue_record_seal(&item_key, room, len);
	assert_int_equal(queue_record_read_item(&item_key, str_span(room, len), true, &got),
	                 ERR_SYNTAX);
}

static const struct {
	size_t body, parts;
} part_rows[] = {
	{ 0, 0 },
	{ QUEUE_INLINE_MAX, 0 },
	{ QUEUE_INLINE_MAX + 1, 1 },
	{ QUEUE_PART_BYTES, 1 },
	{ QUEUE_PART_BYTES + 1, 2 },
	{ QUEUE_BODY_MAX, 256 },
};

static void parts_are_counted(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(part_rows) / sizeof(part_rows[0]); i++)
		assert_int_equal(queue_record_parts(part_rows[i].body), part_rows[i].parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_come_back),
		cmocka_unit_test(bytes_are_as_written_down),
		cmocka_unit_test(every_prefix_is_refused),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(records_belong_to_their_key),
		cmocka_unit_test(newer_ones_are_told_apart),
		cmocka_unit_test(head_can_be_read_without_the_body),
		cmocka_unit_test(large_bodies_are_elsewhere),
		cmocka_unit_test(parts_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
