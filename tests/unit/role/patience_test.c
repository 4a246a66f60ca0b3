/*
 * How long a body is waited for that comes from who may not be whom he claims (gate.h, 6.): two minutes for
 * a transaction, half a minute for anything else, however steadily it drips. Time stands until it is moved;
 * the verifier, the queue and the sleeper say what the test lets them say.
 */
#include "role/deposit.h"
#include "role/vigil.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "support/memory_loop.h"

enum { PLACES = 8, BODY_MAX = 4096 };

static struct loop *loop;

/* ---- a request whose body comes when the test says so ---- */

struct http_request {
	struct head    head;
	struct address peer;
	struct arena   arena;
	struct bytes   body; /* that came and was not taken */
	bool           whole;
	enum err       broken;
	http_wake_fn  *wake;
	void          *arg;
};

void http_request_own(struct http_request *r, http_wake_fn *wake, void *arg)
{
	r->wake = wake;
	r->arg = arg;
}

const struct head *http_request_head(const struct http_request *r)
{
	return &r->head;
}

const struct address *http_request_peer(const struct http_request *r)
{
	return &r->peer;
}

struct arena *http_request_arena(struct http_request *r)
{
	return &r->arena;
}

struct str http_request_peek(struct http_request *r)
{
	return bytes_str(&r->body);
}

void http_request_consume(struct http_request *r, size_t n)
{
	bytes_take(&r->body, n);
}

bool http_request_body_done(const struct http_request *r)
{
	return r->whole && r->body.len == 0;
}

void http_request_restore(struct http_request *r, struct buf *body)
{
	bytes_add(&r->body, buf_str(body));
	buf_fini(body);
}

enum err http_request_broken(const struct http_request *r)
{
	return r->broken;
}

static void send(struct http_request *r, const char *text)
{
	bytes_add(&r->body, str_of(text));
	r->wake(r->arg);
	memory_loop_settle(loop);
}

static void send_last(struct http_request *r, const char *text)
{
	r->whole = true;
	send(r, text);
}

/* One byte now and another every second after it: never idle. */
static void drip(struct http_request *r, msec ms)
{
	for (; ms > 0; ms -= SECOND_MS) {
		send(r, " ");
		memory_loop_pass(loop, SECOND_MS);
	}
}

/* ---- who checks ---- */

struct verifier_check {
	struct verifier_check **slot;
	verifier_ready_fn      *ready;
	verifier_done_fn       *done;
	void                   *ready_arg, *done_arg;
	struct buf              body;
};

static struct verifier_check *checks[PLACES]; /* as they were begun */
static size_t                 check_count;

enum err verifier_check_start(struct verifier_check **slot, struct verifier *v,
                              const struct verifier_request *r, verifier_ready_fn *ready, void *arg)
{
	struct verifier_check *c = calloc(1, sizeof(*c));

	(void)v;
	(void)r;
	assert_non_null(c);
	c->slot = slot;
	c->ready = ready;
	c->ready_arg = arg;
	*slot = c;
	checks[check_count++] = c;
	return ERR_OK;
}

void verifier_check_body(struct verifier_check **slot, struct buf *body, verifier_done_fn *done,
                         void *arg)
{
	(*slot)->body = *body;
	*body = (struct buf){ .max = body->max };
	(*slot)->done = done;
	(*slot)->done_arg = arg;
}

void verifier_check_cancel(struct verifier_check **slot)
{
	if (*slot == NULL)
		return;
	buf_fini(&(*slot)->body);
	free(*slot);
	*slot = NULL;
}

static void keys_are_there(struct verifier_check *c)
{
	c->ready(c->ready_arg, ERR_OK, STRL("a.example"));
	memory_loop_settle(loop);
}

static void signature_is_good(struct verifier_check *c)
{
	struct buf        body = c->body;
	verifier_done_fn *done = c->done;
	void             *arg = c->done_arg;

	*c->slot = NULL;
	free(c);
	done(arg, ERR_OK, STRL("a.example"), &body);
	buf_fini(&body);
	memory_loop_settle(loop);
}

/* ---- who keeps, and who wakes ---- */

static queue_put_done_fn    *put_done;
static void                 *put_arg;
static sleeper_wait_done_fn *wait_done;
static void                 *wait_arg;

bool keyring_is_vouched(struct keyring *k, struct str origin)
{
	(void)k;
	(void)origin;
	return false;
}

enum err queue_put_start(struct queue_put **slot, struct queue *q, const struct queue_item *item,
                         bool known, queue_put_done_fn *done, void *arg)
{
	(void)slot;
	(void)q;
	(void)item;
	(void)known;
	put_done = done;
	put_arg = arg;
	return ERR_OK;
}

void queue_put_cancel(struct queue_put **slot)
{
	(void)slot;
}

bool sleeper_relays(const struct sleeper *s)
{
	(void)s;
	return false;
}

enum awake_state sleeper_state(const struct sleeper *s)
{
	(void)s;
	return AWAKE_ASLEEP;
}

enum err sleeper_wait_start(struct sleeper_wait **slot, struct sleeper *s, enum awake_kind kind,
                            msec hold_ms, sleeper_wait_done_fn *done, void *arg)
{
	(void)slot;
	(void)s;
	(void)kind;
	(void)hold_ms;
	wait_done = done;
	wait_arg = arg;
	return ERR_OK;
}

void sleeper_wait_cancel(struct sleeper_wait **slot)
{
	(void)slot;
}

/* ---- the owner ---- */

static struct http_request request[PLACES];
static struct deposit     *deposit;
static struct vigil       *vigil[PLACES];
static struct vigils       all;
static struct copies       copies;
static unsigned            ends;
static int                 result;
static enum err            reason;

static const struct address nets[PLACES] = {
	{ ADDRESS_V4, { 9, 9, 9, 1 }, 1000 }, { ADDRESS_V4, { 9, 9, 9, 2 }, 1000 },
	{ ADDRESS_V4, { 9, 9, 9, 3 }, 1000 }, { ADDRESS_V4, { 9, 9, 9, 4 }, 1000 },
	{ ADDRESS_V4, { 9, 9, 9, 5 }, 1000 }, { ADDRESS_V4, { 9, 9, 9, 6 }, 1000 },
	{ ADDRESS_V4, { 9, 9, 9, 7 }, 1000 }, { ADDRESS_V4, { 9, 9, 9, 8 }, 1000 },
};

static void on_deposit(void *arg, enum deposit_result r, enum err e, unsigned parts)
{
	(void)arg;
	(void)parts;
	ends++;
	result = (int)r;
	reason = e;
}

static void on_vigil(void *arg, enum vigil_result r, enum err e)
{
	(void)arg;
	ends++;
	result = (int)r;
	reason = e;
}

static void request_init(struct http_request *r, const char *method, const char *path)
{
	*r = (struct http_request){ .peer = nets[0] };
	r->head.method = head_method(str_of(method));
	r->head.method_text = str_of(method);
	r->head.path = str_of(path);
	r->head.body = BODY_CHUNKED;
	arena_init(&r->arena, BODY_MAX);
}

static void deposit_of(msec patience_ms)
{
	struct deposit_options o = {
		.server_name = STRL("home.example"),
		.body_max = BODY_MAX,
		.copies = &copies,
		.patience_ms = patience_ms,
	};

	request_init(&request[0], "PUT", "/_matrix/federation/v1/send/1");
	assert_int_equal(deposit_start(&deposit, loop, &request[0], &o, on_deposit, NULL), ERR_OK);
}

/* A signed question with a body, held while the homeserver wakes; of a stranger in that net, or not. */
static enum err vigil_of(size_t i, const struct address *stranger)
{
	struct vigil_options o = {
		.all = &all,
		.server_name = STRL("home.example"),
		.row = asleep_row_of(ASLEEP_KEYS_CLAIM),
		.stranger = stranger,
	};

	request_init(&request[i], "POST", "/_matrix/federation/v1/user/keys/claim");
	return vigil_start(&vigil[i], loop, &request[i], &o, on_vigil, NULL);
}

static int setup(void **state)
{
	(void)state;
	loop = memory_loop_new();
	copies = (struct copies){ .max = BODY_MAX };
	vigils_init(&all, PLACES);
	memset(&metrics, 0, sizeof(metrics));
	ends = 0;
	check_count = 0;
	put_done = NULL;
	wait_done = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	deposit_cancel(&deposit);
	for (size_t i = 0; i < PLACES; i++) {
		vigil_cancel(&vigil[i]);
		bytes_fini(&request[i].body);
		arena_fini(&request[i].arena);
		request[i] = (struct http_request){ 0 };
	}
	assert_int_equal(copies.used, 0);
	assert_int_equal(all.count, 0);
	memory_loop_free(loop);
	return 0;
}

/* ---- a transaction ---- */

static void transaction_that_drips(void **state)
{
	const char *errcode, *text;

	(void)state;
	deposit_of(DEPOSIT_STRANGER_MS);
	keys_are_there(checks[0]);
	send(&request[0], "{");
	drip(&request[0], 2 * 60 * SECOND_MS - SECOND_MS);
	assert_true(copies.used > 0);
	memory_loop_pass(loop, SECOND_MS - 1);
	assert_int_equal(ends, 0);
	memory_loop_pass(loop, 1);
	assert_int_equal(ends, 1);
	assert_int_equal(result, DEPOSIT_REFUSED);
	assert_int_equal(reason, ERR_SLOW_PEER);
	assert_int_equal(metrics.causes[CAUSE_queue_refused][ERR_SLOW_PEER], 1);
	assert_null(deposit);
	assert_int_equal(copies.used, 0);
	assert_int_equal(deposit_status(reason, &errcode, &text), 503); /* to be tried again */
}

/* The other server's keys may be long in coming: that is not his body's fault. */
static void transaction_time_begins_with_the_keys(void **state)
{
	(void)state;
	deposit_of(DEPOSIT_STRANGER_MS);
	memory_loop_pass(loop, 10 * 60 * SECOND_MS);
	assert_int_equal(ends, 0);
	keys_are_there(checks[0]);
	memory_loop_pass(loop, DEPOSIT_STRANGER_MS - 1);
	assert_int_equal(ends, 0);
	memory_loop_pass(loop, 1);
	assert_int_equal(ends, 1);
}

/* Whole just in time: the checking and the disk may take as long as they like. */
static void transaction_in_time(void **state)
{
	(void)state;
	deposit_of(DEPOSIT_STRANGER_MS);
	keys_are_there(checks[0]);
	send(&request[0], "{\"origin\":\"a.example\",\"pdus\":[{}]");
	memory_loop_pass(loop, DEPOSIT_STRANGER_MS - 1);
	send_last(&request[0], "}");
	memory_loop_pass(loop, 10 * 60 * SECOND_MS);
	assert_int_equal(ends, 0);
	signature_is_good(checks[0]);
	memory_loop_pass(loop, 10 * 60 * SECOND_MS);
	assert_int_equal(ends, 0);
	put_done(put_arg, ERR_OK);
	assert_int_equal(ends, 1);
	assert_int_equal(result, DEPOSIT_KEPT);
}

/* Who was verified from where he sends has as long as something comes. */
static void transaction_of_who_is_known(void **state)
{
	(void)state;
	deposit_of(0);
	keys_are_there(checks[0]);
	send(&request[0], "{\"pdus\":[{}]");
	drip(&request[0], 20 * 60 * SECOND_MS);
	send_last(&request[0], "}");
	signature_is_good(checks[0]);
	put_done(put_arg, ERR_OK);
	assert_int_equal(ends, 1);
	assert_int_equal(result, DEPOSIT_KEPT);
}

/* What was found out is told once, whatever else comes due in that turn. */
static void transaction_ends_once(void **state)
{
	(void)state;
	deposit_of(DEPOSIT_STRANGER_MS);
	keys_are_there(checks[0]);
	memory_loop_pass(loop, DEPOSIT_STRANGER_MS - 1);
	send(&request[0], "no JSON");
	assert_int_equal(ends, 1);
	assert_int_equal(reason, ERR_SYNTAX);
	memory_loop_pass(loop, DEPOSIT_STRANGER_MS);
	assert_int_equal(ends, 1);
}

static void transaction_of_who_leaves(void **state)
{
	(void)state;
	deposit_of(DEPOSIT_STRANGER_MS);
	keys_are_there(checks[0]);
	drip(&request[0], 60 * SECOND_MS);
	request[0].broken = ERR_RESET;
	send(&request[0], "");
	assert_int_equal(ends, 1);
	assert_int_equal(result, DEPOSIT_GONE);
	memory_loop_pass(loop, DEPOSIT_STRANGER_MS);
	assert_int_equal(ends, 1);
}

static void transaction_called_off(void **state)
{
	(void)state;
	deposit_of(DEPOSIT_STRANGER_MS);
	keys_are_there(checks[0]);
	drip(&request[0], 60 * SECOND_MS);
	deposit_cancel(&deposit);
	memory_loop_pass(loop, DEPOSIT_STRANGER_MS);
	assert_int_equal(ends, 0);
}

/* ---- any other request ---- */

static void question_that_drips(void **state)
{
	(void)state;
	assert_int_equal(vigil_of(0, &nets[0]), ERR_OK);
	keys_are_there(checks[0]);
	drip(&request[0], 29 * SECOND_MS);
	memory_loop_pass(loop, SECOND_MS - 1);
	assert_int_equal(ends, 0);
	memory_loop_pass(loop, 1);
	assert_int_equal(ends, 1);
	assert_int_equal(result, VIGIL_REFUSE);
	assert_int_equal(reason, ERR_SLOW_PEER);
	assert_int_equal(metrics.causes[CAUSE_held_refused][ERR_SLOW_PEER], 1);
	assert_null(vigil[0]);
	assert_int_equal(all.count, 0);
}

static void question_time_begins_with_the_keys(void **state)
{
	(void)state;
	assert_int_equal(vigil_of(0, &nets[0]), ERR_OK);
	memory_loop_pass(loop, 10 * 60 * SECOND_MS);
	assert_int_equal(ends, 0);
	keys_are_there(checks[0]);
	memory_loop_pass(loop, VIGIL_STRANGER_MS - 1);
	assert_int_equal(ends, 0);
	memory_loop_pass(loop, 1);
	assert_int_equal(ends, 1);
}

/* Whole just in time: checked, and then held for as long as the sleeper says. */
static void question_in_time(void **state)
{
	(void)state;
	assert_int_equal(vigil_of(0, &nets[0]), ERR_OK);
	keys_are_there(checks[0]);
	send(&request[0], "{");
	memory_loop_pass(loop, VIGIL_STRANGER_MS - 1);
	send_last(&request[0], "}");
	memory_loop_pass(loop, 60 * SECOND_MS);
	signature_is_good(checks[0]);
	memory_loop_pass(loop, 60 * SECOND_MS);
	assert_int_equal(ends, 0);
	assert_true(str_is(http_request_peek(&request[0]), "{}")); /* given back */
	wait_done(wait_arg, ERR_OK);
	assert_int_equal(ends, 1);
	assert_int_equal(result, VIGIL_RELAY);
}

static void question_of_who_is_known(void **state)
{
	(void)state;
	assert_int_equal(vigil_of(0, NULL), ERR_OK);
	keys_are_there(checks[0]);
	drip(&request[0], 10 * 60 * SECOND_MS);
	assert_int_equal(ends, 0);
	send_last(&request[0], "{}");
	signature_is_good(checks[0]);
	wait_done(wait_arg, ERR_OK);
	assert_int_equal(result, VIGIL_RELAY);
}

static void question_of_who_leaves(void **state)
{
	(void)state;
	assert_int_equal(vigil_of(0, &nets[0]), ERR_OK);
	keys_are_there(checks[0]);
	request[0].broken = ERR_RESET;
	send(&request[0], "");
	assert_int_equal(ends, 1);
	assert_int_equal(result, VIGIL_GONE);
	memory_loop_pass(loop, VIGIL_STRANGER_MS);
	assert_int_equal(ends, 1);
}

/* Those who drip take no place for longer than their half minute. */
static void places_come_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < VIGIL_PER_STRANGER; i++)
		assert_int_equal(vigil_of(i, &nets[0]), ERR_OK);
	assert_int_equal(vigil_of(VIGIL_PER_STRANGER, &nets[0]), ERR_BUSY);
	arena_fini(&request[VIGIL_PER_STRANGER].arena);
	for (size_t i = 0; i < VIGIL_PER_STRANGER; i++)
		keys_are_there(checks[i]);
	memory_loop_pass(loop, VIGIL_STRANGER_MS);
	assert_int_equal(ends, VIGIL_PER_STRANGER);
	assert_int_equal(vigil_of(VIGIL_PER_STRANGER, &nets[0]), ERR_OK);
}

/* However many networks they come from, a quarter of the places is not theirs. */
static void places_for_who_is_known(void **state)
{
	size_t theirs = PLACES - PLACES / 4;

	(void)state;
	for (size_t i = 0; i < theirs; i++)
		assert_int_equal(vigil_of(i, &nets[i]), ERR_OK);
	assert_int_equal(vigil_of(theirs, &nets[theirs]), ERR_BUSY);
	arena_fini(&request[theirs].arena);
	for (size_t i = theirs; i < PLACES; i++)
		assert_int_equal(vigil_of(i, NULL), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(transaction_that_drips),
		T(transaction_time_begins_with_the_keys),
		T(transaction_in_time),
		T(transaction_of_who_is_known),
		T(transaction_ends_once),
		T(transaction_of_who_leaves),
		T(transaction_called_off),
		T(question_that_drips),
		T(question_time_begins_with_the_keys),
		T(question_in_time),
		T(question_of_who_is_known),
		T(question_of_who_leaves),
		T(places_come_back),
		T(places_for_who_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
