#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/queue_segment.h"
#include "support/exact.h"

static char                            bytes[8192];
static size_t                          len;
static uint64_t                        sequence;
static const struct queue_segment_head head = { 5, 4, 999, 0x1122334455667788ull, 100 };

/* Where each group ends; [0]: the head. */
static size_t   ends[8];
static unsigned group_count;

static void add_record(uint32_t position, bool is_last, struct str value)
{
	struct queue_segment_record r = {
		.sequence = sequence,
		.position = position,
		.is_last = is_last,
		.removes = value.len == 0,
		.key = { QUEUE_RECORD_STATE, sequence + 1, (uint16_t)position },
		.value = value,
	};

	sequence++;
	len += queue_segment_write_record(bytes + len, head.salt, &r);
}

static void add_group(unsigned records)
{
	static const char text[700] = "some text";

	for (unsigned i = 0; i < records; i++)
		add_record(i, i + 1 == records, str_span(text, i % 2 ? 700u - i : i));
	ends[++group_count] = len;
}

/* Three groups: of one record, of three, of two. */
static int setup(void **state)
{
	(void)state;
	memset(bytes, 0, sizeof(bytes));
	queue_segment_write_head(bytes, &head);
	len = ends[0] = QUEUE_SEGMENT_HEAD;
	sequence = head.first_sequence;
	group_count = 0;
	add_group(1);
	add_group(3);
	add_group(2);
	return 0;
}

static struct queue_segment_scan scan_of(size_t n)
{
	return queue_segment_scan_over(str_span(bytes, n), &head);
}

static unsigned count(struct queue_segment_scan scan, bool *gap)
{
	struct queue_segment_record r;
	unsigned                    n = 0;

	*gap = false;
	while (queue_segment_next(&scan, &r)) {
		*gap |= r.gap;
		n++;
	}
	return n;
}

static void heads_come_back(void **state)
{
	struct queue_segment_head got;

	(void)state;
	assert_int_equal(queue_segment_read_head(str_span(bytes, len), &got), ERR_OK);
	assert_int_equal(got.number, head.number);
	assert_int_equal(got.number_before, head.number_before);
	assert_int_equal(got.length_before, head.length_before);
	assert_int_equal(got.salt, head.salt);
	assert_int_equal(got.first_sequence, head.first_sequence);
	for (size_t n = 0; n < QUEUE_SEGMENT_HEAD; n++) {
		struct exact x;

		assert_int_equal(queue_segment_read_head(exact_copy(&x, str_span(bytes, n)), &got),
		                 ERR_SYNTAX);
		exact_free(&x);
		bytes[n] ^= 4;
		assert_int_equal(queue_segment_read_head(str_span(bytes, len), &got), ERR_SYNTAX);
		bytes[n] ^= 4;
	}
}

static void records_come_back(void **state)
{
	struct queue_segment_scan   scan = scan_of(len);
	struct queue_segment_record r;
	size_t                      at = QUEUE_SEGMENT_HEAD;

	(void)state;
	for (uint64_t s = head.first_sequence; s < sequence; s++) {
		assert_true(queue_segment_next(&scan, &r));
		assert_int_equal(r.sequence, s);
		assert_int_equal(r.at, at);
		assert_int_equal(r.key.kind, QUEUE_RECORD_STATE);
		assert_int_equal(r.key.number, s + 1);
		assert_int_equal(r.key.part, r.position);
		assert_false(r.gap);
		assert_int_equal(r.removes, r.value.len == 0);
		at = r.end;
	}
	assert_false(queue_segment_next(&scan, &r));
	assert_int_equal(at, len);
}

/* However short it is: it ends with a group, and nothing rotted. */
static void torn_ends_are_cut(void **state)
{
	unsigned whole = 0;

	(void)state;
	for (size_t n = QUEUE_SEGMENT_HEAD; n <= len; n++) {
		struct exact              x;
		struct queue_segment_scan scan = scan_of(n);
		bool                      is_damaged;

		scan.bytes = exact_copy(&x, scan.bytes);
		if (whole < group_count && n == ends[whole + 1])
			whole++;
		assert_int_equal(queue_segment_end(scan, &is_damaged), ends[whole]);
		assert_false(is_damaged);
		exact_free(&x);
	}
}

/* The file grew before its bytes came; or only some sectors of the last group did. */
static void holes_in_the_last_group_are_cut(void **state)
{
	bool is_damaged;

	(void)state;
	assert_int_equal(queue_segment_end(scan_of(len + 1000), &is_damaged), len);
	assert_false(is_damaged);
	for (size_t at = ends[2]; at < len; at += 4) {
		char saved[4];

		memcpy(saved, bytes + at, 4);
		memset(bytes + at, 0x55, 4);
		assert_int_equal(queue_segment_end(scan_of(len), &is_damaged), ends[2]);
		assert_false(is_damaged);
		memcpy(bytes + at, saved, 4);
	}
}

/* What lies before a whole later group was flushed once: it rotted, and nothing behind it is lost. */
static void rot_is_told_from_torn_ends(void **state)
{
	(void)state;
	for (size_t at = QUEUE_SEGMENT_HEAD; at < ends[2]; at++) {
		bool is_damaged, gap;
		char saved = bytes[at];

		bytes[at] = (char)(saved ^ 1);
		assert_int_equal(queue_segment_end(scan_of(len), &is_damaged), len);
		if (count(scan_of(len), &gap) < 6) { /* padding may change */
			assert_true(is_damaged && gap);
			assert_int_equal(count(scan_of(len), &gap), 5);
		}
		bytes[at] = saved;
	}
}

static void lost_groups_are_noticed(void **state)
{
	bool is_damaged;

	(void)state;
	memset(bytes + ends[0], 0, ends[2] - ends[0]);
	assert_int_equal(queue_segment_end(scan_of(len), &is_damaged), len);
	assert_true(is_damaged);
}

/* The last group but one lost its last record: the one behind it proves that it was whole. */
static void rot_at_the_end_of_a_group(void **state)
{
	bool is_damaged;

	(void)state;
	memset(bytes + ends[2] - 40, 0x11, 40);
	assert_int_equal(queue_segment_end(scan_of(len), &is_damaged), len);
	assert_true(is_damaged);
}

/* Bytes of strangers inside a damaged record do not pass for records. */
static void forged_records_are_not_found(void **state)
{
	struct queue_segment_record forged = { .sequence = 107,
		                               .is_last = true,
		                               .key = { QUEUE_RECORD_ITEM, 1, 0 },
		                               .value = STR("mine") };
	char                        value[400];
	size_t                      at = 0, before = len;
	bool                        gap;

	(void)state;
	while (at + 40 < sizeof(value))
		at += queue_segment_write_record(value + at, 0,
		                                 &forged); /* he does not know the salt */
	add_record(0, true, str_span(value, at));
	assert_int_equal(count(scan_of(len), &gap), 7);
	bytes[before] ^= 1; /* its length */
	assert_int_equal(count(scan_of(len), &gap), 6);
}

/* Left from another life of the same space. */
static void older_records_are_not_found(void **state)
{
	bool gap;

	(void)state;
	memcpy(bytes + len, bytes + ends[0], ends[1] - ends[0]);
	assert_int_equal(count(scan_of(len + ends[1] - ends[0]), &gap), 6);
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(heads_come_back),
		T(records_come_back),
		T(torn_ends_are_cut),
		T(holes_in_the_last_group_are_cut),
		T(rot_is_told_from_torn_ends),
		T(lost_groups_are_noticed),
		T(rot_at_the_end_of_a_group),
		T(forged_records_are_not_found),
		T(older_records_are_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
