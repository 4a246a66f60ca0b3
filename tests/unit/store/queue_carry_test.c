/* Out of one store, through a file, into another one of either kind: everything, in order, once. */
#include "unit/loop/harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/matrix/signing.h"
#include "store/queue_carry.h"

enum { NAME_MAX_BYTES = 64, LARGE = 200 * 1024, FILE_MAX = 2 * LARGE };

static char          from[NAME_MAX_BYTES], to[NAME_MAX_BYTES], path[NAME_MAX_BYTES + 8];
static struct queue *q;
static char          large[LARGE];

static void remove_tree(const char *name)
{
	DIR           *d = opendir(name);
	struct dirent *en;
	char           inner[400];

	while (d != NULL && (en = readdir(d)) != NULL) {
		if (strcmp(en->d_name, ".") == 0 || strcmp(en->d_name, "..") == 0)
			continue;
		snprintf(inner, sizeof(inner), "%.100s/%.255s", name, en->d_name);
		remove_tree(inner);
	}
	if (d != NULL)
		closedir(d);
	(void)remove(name);
}

/* --- a queue with things in it --- */

static void on_done(void *arg, enum err e)
{
	*(enum err *)arg = e;
	loop_stop(the_loop);
}

static void open_queue(const char *dir, enum queue_kind kind)
{
	struct queue_options o = {
		.loop = the_loop, .state_dir = dir, .kind = kind, .allow_volatile = true
	};
	struct queue_fault fault = { .text = "" };

	if (queue_open(&o, &q, &fault) != ERR_OK)
		print_message("queue_open: %s\n", fault.text);
	assert_non_null(q);
}

static void close_queue(void)
{
	queue_close(q);
	q = NULL;
	loop_run(the_loop);
}

static void put(const char *origin, const char *id, struct str body)
{
	struct queue_put *slot = NULL;
	enum err          e = ERR_BUSY;
	struct queue_item item = {
		.server_name = STR("home.example"),
		.origin = str_of(origin),
		.transaction_id = str_of(id),
		.method = STR("PUT"),
		.target = STR("/_matrix/federation/v1/send/1%2F2?x"),
		.authorization = STR("X-Matrix origin=\"a\",sig=\"b\"\n"),
		.content_type = STR("application/json"),
		.peer = address_v4(192, 0, 2, 7, 41234),
		.at_unix_ms = 1800000000000ull,
		.body = body,
	};

	signing_sha256(body, item.body_hash);
	assert_int_equal(queue_put_start(&slot, q, &item, true, on_done, &e), ERR_OK);
	while (slot != NULL)
		harness_run();
	assert_int_equal(e, ERR_OK);
}

static void settle(uint64_t sequence, enum queue_verdict verdict)
{
	struct queue_settle *slot = NULL;
	enum err             e = ERR_BUSY;

	assert_int_equal(
		queue_settle_start(&slot, q, sequence, verdict, STRL("would not"), on_done, &e),
		ERR_OK);
	while (slot != NULL)
		harness_run();
	assert_int_equal(e, ERR_OK);
}

/* Six items; the third is parked, the fifth has the id of the first, which was tried. */
static void fill(enum queue_kind kind)
{
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 2654435761u >> 24);
	open_queue(from, kind);
	put("a.example", "1", STRL("{\"a\":1}\0x"));
	settle(1, QUEUE_RETRY);
	put("b.example", "1", str_span(large, sizeof(large)));
	put("a.example", "2", STRL("parked"));
	settle(3, QUEUE_PARK);
	put("a.example", "3", STRL(""));
	put("a.example", "1", STRL("other body"));
	put("b.example", "2", str_span(large + 1, 64 * 1024));
	close_queue();
}

/* --- what is in a store, as one text --- */

static char   told[8192];
static size_t told_len;

static bool tell(void *arg, const struct queue_info *info, const struct queue_item *item)
{
	uint8_t hash[SIGNING_SHA256_BYTES];

	(void)arg;
	signing_sha256(item->body, hash);
	assert_memory_equal(hash, item->body_hash, sizeof(hash));
	told_len += (size_t)snprintf(
		told + told_len, sizeof(told) - told_len,
		"%.*s %.*s %.*s %.*s %.*s %llu %zu:%02x%02x %s %.*s\n", (int)item->origin.len,
		item->origin.ptr, (int)item->transaction_id.len, item->transaction_id.ptr,
		(int)item->method.len, item->method.ptr, (int)item->target.len, item->target.ptr,
		(int)item->authorization.len - 1, item->authorization.ptr,
		(unsigned long long)item->at_unix_ms, item->body.len, hash[0], hash[1],
		info->state == QUEUE_PARKED ? "parked" : "waiting", (int)info->reason.len,
		info->reason.ptr);
	return true;
}

static const char *contents(const char *dir)
{
	struct queue_report r;

	told_len = 0;
	told[0] = '\0';
	assert_int_equal(queue_verify_each(dir, &r, tell, NULL), ERR_OK);
	return told;
}

static struct queue_carry_report report;

static enum err export_to(uint64_t max)
{
	return queue_export(from, path, max, &report);
}

static enum err import_to(void)
{
	return queue_import(to, path, &report);
}

static char   bytes[FILE_MAX];
static size_t bytes_len;

static void read_file(void)
{
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	bytes_len = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
}

static void write_file(size_t len)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	fclose(f);
}

static int setup(void **state)
{
	strcpy(from, "carry_from.XXXXXX");
	strcpy(to, "carry_to.XXXXXX");
	if (harness_setup(state) != 0 || mkdtemp(from) == NULL || mkdtemp(to) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s.file", to);
	return 0;
}

static int teardown(void **state)
{
	if (q != NULL)
		close_queue();
	remove_tree(from);
	remove_tree(to);
	(void)unlink(path);
	return harness_teardown(state);
}

/* --- tests --- */

static void everything_comes_over(void **state)
{
	static const enum queue_kind kinds[] = { QUEUE_LMDB, QUEUE_JOURNAL };
	char                         want[sizeof(told)];
	struct stat                  st;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		fill(kinds[i / 2]);
		strcpy(want, contents(from));
		open_queue(to, kinds[i % 2]);
		close_queue();
		assert_int_equal(export_to(0), ERR_OK);
		assert_int_equal(report.items, 6);
		assert_int_equal(report.parked, 1);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, report.bytes);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_string_equal(contents(from), want); /* stays as it is */
		assert_int_equal(import_to(), ERR_OK);
		assert_int_equal(report.items, 6);
		assert_int_equal(report.known, 0);
		assert_string_equal(contents(to), want);
		remove_tree(from);
		remove_tree(to);
		assert_int_equal(mkdir(from, 0700) | mkdir(to, 0700), 0);
	}
}

static void nothing_gets_in_twice(void **state)
{
	char want[sizeof(told)];

	(void)state;
	fill(QUEUE_LMDB);
	assert_int_equal(export_to(0), ERR_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(import_to(), ERR_OK);
	assert_int_equal(report.known, 6);
	strcpy(want, contents(from));
	assert_string_equal(contents(to), want);
}

/* The homeserver had it in the meantime: it does not come back. */
static void what_was_delivered_stays_so(void **state)
{
	(void)state;
	fill(QUEUE_LMDB);
	assert_int_equal(export_to(0), ERR_OK);
	assert_int_equal(import_to(), ERR_OK);
	open_queue(to, QUEUE_AUTO);
	settle(1, QUEUE_DELIVERED);
	close_queue();
	assert_int_equal(import_to(), ERR_OK);
	assert_int_equal(report.known, 6);
	contents(to);
	assert_null(strstr(told,
	                   "a.example 1 PUT /_matrix/federation/v1/send/1%2F2?x X-Matrix "
	                   "origin=\"a\",sig=\"b\" 1800000000000 9:"));
}

static void an_empty_queue_makes_no_file(void **state)
{
	(void)state;
	open_queue(from, QUEUE_LMDB);
	close_queue();
	assert_int_equal(export_to(0), ERR_OK);
	assert_int_equal(report.items, 0);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void too_large_makes_no_file_and_says_how_large(void **state)
{
	uint64_t whole;

	(void)state;
	fill(QUEUE_LMDB);
	assert_int_equal(export_to(1000), ERR_TOO_LARGE);
	assert_int_not_equal(access(path, F_OK), 0);
	whole = report.bytes;
	assert_int_equal(report.items, 6);
	assert_int_equal(export_to(whole - 1), ERR_TOO_LARGE);
	assert_int_equal(export_to(whole), ERR_OK);
	assert_int_equal(report.bytes, whole);
}

/* Whatever is cut off or changed: it is said, and the whole file afterwards completes what got in. */
static void damage_is_found(void **state)
{
	char want[sizeof(told)];

	(void)state;
	fill(QUEUE_LMDB);
	strcpy(want, contents(from));
	assert_int_equal(export_to(0), ERR_OK);
	read_file();
	for (size_t cut = 0; cut < bytes_len; cut += cut < 700 ? 23 : 30011) {
		write_file(cut);
		assert_int_equal(import_to(), ERR_SYNTAX);
	}
	write_file(bytes_len - 1);
	assert_int_equal(import_to(), ERR_SYNTAX);
	for (size_t at = 0; at < bytes_len; at += at < 500 ? 7 : 20011) {
		bytes[at] = (char)(bytes[at] ^ 0x40);
		write_file(bytes_len);
		assert_int_not_equal(import_to(), ERR_OK);
		bytes[at] = (char)(bytes[at] ^ 0x40);
	}
	bytes[bytes_len] = 'x';
	write_file(bytes_len + 1);
	assert_int_equal(import_to(), ERR_SYNTAX);
	write_file(bytes_len);
	assert_int_equal(import_to(), ERR_OK);
	assert_string_equal(contents(to), want);
}

static void newer_files_are_left_alone(void **state)
{
	(void)state;
	fill(QUEUE_LMDB);
	assert_int_equal(export_to(0), ERR_OK);
	read_file();
	bytes[7] = 2;
	write_file(bytes_len);
	assert_int_equal(import_to(), ERR_UNSUPPORTED);
	assert_int_equal(report.items, 0);
}

static void a_store_in_use_is_busy(void **state)
{
	(void)state;
	fill(QUEUE_LMDB);
	assert_int_equal(export_to(0), ERR_OK);
	open_queue(from, QUEUE_AUTO);
	assert_int_equal(export_to(0), ERR_BUSY);
	assert_int_equal(access(path, F_OK), 0); /* the earlier one */
	strcpy(to, from);
	assert_int_equal(import_to(), ERR_BUSY);
	close_queue();
}

static void links_are_not_followed(void **state)
{
	char link_name[sizeof(path) + 8];

	(void)state;
	fill(QUEUE_LMDB);
	snprintf(link_name, sizeof(link_name), "%s.new", path);
	assert_int_equal(symlink("elsewhere", link_name), 0);
	assert_int_not_equal(export_to(0), ERR_OK);
	assert_int_not_equal(access("elsewhere", F_OK), 0);
	assert_int_equal(unlink(link_name), 0);
	assert_int_equal(import_to(), ERR_NOT_FOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_comes_over),
		TEST(nothing_gets_in_twice),
		TEST(what_was_delivered_stays_so),
		TEST(an_empty_queue_makes_no_file),
		TEST(too_large_makes_no_file_and_says_how_large),
		TEST(damage_is_found),
		TEST(newer_files_are_left_alone),
		TEST(a_store_in_use_is_busy),
		TEST(links_are_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
