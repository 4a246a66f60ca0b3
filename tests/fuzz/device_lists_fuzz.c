/*
 * Answers to user/keys/query taken apart and put together: what comes out is JSON, answers the question,
 * and has every user's part byte for byte.
 *
 * Input: two bytes for the length of the question, the question, the answer.
 */
#include <stdint.h>
#include <stdlib.h>

#include "fed/device_lists.h"

static struct device_lists lists, again;

/* Each part written and read gives the same slices, as text. Returns how many there are. */
static size_t check_parts(char *room, size_t size, struct str kept[DEVICE_LISTS_USERS_MAX])
{
	struct writer w = writer_over(room, size);
	size_t        n = 0;

	for (size_t i = 0; i < lists.count; i++) {
		struct device_lists_user u = lists.user[i];
		char                    *from = w.at;

		kept[i] = STRL("");
		if (!device_lists_write_part(&lists.user[i], &w))
			continue;
		kept[i] = str_span(from, (size_t)(w.at - from));
		check(json_check(kept[i], NULL) == ERR_OK);
		check(device_lists_read_part(kept[i], &u) == ERR_OK);
		for (size_t m = 0; m < DEVICE_LISTS_MEMBER_COUNT; m++)
			check((u.part[m].ptr == NULL) == (lists.user[i].part[m].ptr == NULL) &&
			      str_eq(u.part[m], lists.user[i].part[m]));
		n++;
	}
	check(!w.failed);
	return n;
}

static void check_answer(struct str question, struct str answer)
{
	check(json_check(answer, NULL) == ERR_OK);
	check(device_lists_asked(question, &again) == ERR_OK);
	check(device_lists_answered(answer, &again) == ERR_OK);
	check(again.count == lists.count);
	for (size_t i = 0; i < lists.count; i++)
		for (size_t m = 0; m < DEVICE_LISTS_MEMBER_COUNT; m++) {
			struct str got = again.user[i].part[m], want = lists.user[i].part[m];

			check((got.ptr == NULL) == (want.ptr == NULL));
			if (m == DEVICE_LISTS_DEVICES && lists.user[i].devices.ptr != NULL)
				check(got.len <= want.len);
			else
				check(str_eq(got, want));
		}
}

static void try_both(struct str question, struct str answer)
{
	size_t        size = 2 * (question.len + answer.len) + 128 * (lists.count + 2);
	char         *parts = malloc(size), *whole = malloc(size);
	struct str    kept[DEVICE_LISTS_USERS_MAX];
	struct writer w = writer_over(whole, size);
	bool          all;

	check(parts != NULL && whole != NULL);
	all = check_parts(parts, size, kept) == lists.count;
	for (size_t i = 0; all && i < lists.count; i++)
		check(device_lists_read_part(kept[i], &lists.user[i]) == ERR_OK);
	if (all) {
		device_lists_write(&lists, &w);
		check(!w.failed);
		check_answer(question, writer_done(&w));
	}
	free(parts);
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t     len = size >= 2 ? (size_t)data[0] << 8 | data[1] : 0;
	struct str rest = str_from(str_span(data, size), 2);
	struct str question = str_head(rest, len), answer = str_from(rest, len);

	if (device_lists_asked(question, &lists) == ERR_OK &&
	    device_lists_answered(answer, &lists) == ERR_OK)
		try_both(question, answer);
	return 0;
}
