/*
 * awake_replay.c - plays one script against the machine of the homeserver's state.
 *
 * usage: awake_replay [--trace] FILE.scn
 *
 * A script plays everything around the machine; the clock begins at 0 and moves only on "wait", during
 * which the machine is called whenever it asked for it. One statement a line, "#" begins a comment:
 *
 *	options [probe=TIME] [grace=TIME] [mac=yes|no] [wake-on=KIND,...]   what is configured; before
 *	                  "begin", or later as a reload. At first: 30s, 5m, yes, the usual kinds
 *	begin             the process starts
 *	wait TIME         moves the clock: 500ms, 90s, 5m, 2h
 *	until TIME        moves the clock to that time
 *	host up|refuses|silent|unplayed   how probes end from now on by themselves: answered, refused,
 *	                  silent after the time a probe has, or by "probe" in the script (at first)
 *	probe answered|refused|silent        the end of the probe under way
 *	request ok|failed|slow               a relayed one: answered, failed, long without an answer
 *	sleeps, wakes     the homeserver says so
 *	sends event|other the homeserver sends a request to another server
 *	question          another server's question was relayed
 *	drained           all that was kept is handed over
 *	order             the owner wants it awake
 *	wish KIND go|hold|hopeless           a request of that kind wants it awake, and the verdict;
 *	                  "nothing" for one that must not wake it
 *	is STATE [WHY] [exact]               the state, what led to it, and whether what was said before
 *	                  is still true; without "exact" it must not be
 *	next TIME|never   the time at which the machine wants to be called
 *	does [ACTION[@TIME]...]              all that it did since the last such line, in order;
 *	                  probe, packet, drain
 *	counts [probe=N] [packet=N] [drain=N]   the same as numbers; what is not named must not have
 *	                  been done
 *	may-sleep         it may
 *	must-stay REASON [TIME]              it may not, and should ask again after TIME
 *
 * At the end nothing may be left that no "does" or "counts" has named. Anything unexpected ends the
 * script with a message and exit status 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "fed/awake.h"

enum { LINE_MAX_BYTES = 1024, DONE_MAX = 4096, STEPS_MAX = 100000 };

enum host { HOST_UNPLAYED, HOST_UP, HOST_REFUSES, HOST_SILENT };

struct done {
	unsigned action;
	msec     at;
};

struct world {
	const char          *file;
	unsigned             line;
	bool                 trace, begun;
	msec                 now;
	struct awake_options options;
	struct awake         awake;
	enum host            host;
	msec                 probe_ends_at; /* of a silent host; MS_NEVER: none */
	struct done          done[DONE_MAX];
	size_t               done_count;
	unsigned             checks; /* so that no script is empty */
};

static const struct {
	unsigned    action;
	const char *name;
} actions[] = { { AWAKE_PROBE, "probe" }, { AWAKE_PACKET, "packet" }, { AWAKE_DRAIN, "drain" } };

enum { ACTIONS = 3 };

static const char *action_name(unsigned action)
{
	for (size_t i = 0; i < ACTIONS; i++)
		if (actions[i].action == action)
			return actions[i].name;
	return "?";
}

static _Noreturn void die(const struct world *w, const char *what, const char *detail)
{
	fprintf(stderr, "%s:%u: %s%s%s\n", w->file, w->line, what, detail[0] ? ": " : "", detail);
	fprintf(stderr, "  at %llu ms: %s (%s), next %lld\n", (unsigned long long)w->now,
	        awake_state_slug(w->awake.state), w->begun ? awake_why(&w->awake) : "-",
	        (long long)awake_next(&w->awake));
	for (size_t i = 0; i < w->done_count; i++)
		fprintf(stderr, "  did %s@%llums\n", action_name(w->done[i].action),
		        (unsigned long long)w->done[i].at);
	exit(1);
}

static char *word(char **rest)
{
	char *begin = *rest + strspn(*rest, " \t");
	char *end = begin + strcspn(begin, " \t");

	*rest = *end == '\0' ? end : end + 1;
	*end = '\0';
	return begin;
}

static const char *value_of(const char *text, const char *key)
{
	size_t n = strlen(key);

	return strncmp(text, key, n) == 0 ? text + n : NULL;
}

static msec parse_time(const struct world *w, const char *text)
{
	static const struct {
		const char *unit;
		msec        ms;
	} units[] = { { "ms", 1 }, { "s", SECOND_MS }, { "m", MINUTE_MS }, { "h", HOUR_MS } };
	char              *end;
	unsigned long long n = strtoull(text, &end, 10);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (end != text && strcmp(end, units[i].unit) == 0)
			return n * units[i].ms;
	die(w, "not a time", text);
}

static enum awake_kind parse_kind(const struct world *w, const char *text)
{
	if (strcmp(text, "nothing") == 0)
		return AWAKE_NO_WISH;
	for (unsigned k = 0; k < AWAKE_KIND_COUNT; k++)
		if (strcmp(awake_kind_slug((enum awake_kind)k), text) == 0)
			return (enum awake_kind)k;
	die(w, "no such kind", text);
}

/* ---- what the machine does ---- */

static void did(struct world *w, unsigned action)
{
	if (w->done_count == DONE_MAX)
		die(w, "it does too much", "");
	w->done[w->done_count++] = (struct done){ action, w->now };
	if (w->trace)
		printf("%8llu ms %s\n", (unsigned long long)w->now, action_name(action));
}

static void take(struct world *w, unsigned todo);

static void probe_ends(struct world *w, enum awake_probe_end end)
{
	w->probe_ends_at = MS_NEVER;
	take(w, awake_probed(&w->awake, end, w->now));
}

static void take(struct world *w, unsigned todo)
{
	if (todo & ~(unsigned)(AWAKE_PROBE | AWAKE_PACKET | AWAKE_DRAIN))
		die(w, "unknown action", "");
	for (size_t i = 0; i < ACTIONS; i++)
		if (todo & actions[i].action)
			did(w, actions[i].action);
	if (!(todo & AWAKE_PROBE))
		return;
	w->probe_ends_at = w->host == HOST_SILENT ? w->now + AWAKE_PROBE_MS : MS_NEVER;
	if (w->host == HOST_UP || w->host == HOST_REFUSES)
		probe_ends(w, w->host == HOST_UP ? AWAKE_ANSWERED : AWAKE_REFUSED);
}

static void run_until(struct world *w, msec until)
{
	unsigned steps = 0;

	if (until < w->now)
		die(w, "the clock cannot go back", "");
	for (;;) {
		msec next = awake_next(&w->awake);
		bool probe_first = w->probe_ends_at <= next;

		next = probe_first ? w->probe_ends_at : next;
		if (next > until)
			break;
		if (++steps > STEPS_MAX)
			die(w, "it never stops", "");
		w->now = next > w->now ? next : w->now;
		if (probe_first)
			probe_ends(w, AWAKE_SILENT);
		else
			take(w, awake_tick(&w->awake, w->now));
	}
	w->now = until;
}

/* ---- statements ---- */

static void say_options(struct world *w, char *rest)
{
	const char *next, *v;

	while (*(next = word(&rest)) != '\0') {
		if ((v = value_of(next, "probe=")) != NULL)
			w->options.probe_ms = parse_time(w, v);
		else if ((v = value_of(next, "grace=")) != NULL)
			w->options.grace_ms = parse_time(w, v);
		else if ((v = value_of(next, "mac=")) != NULL)
			w->options.can_wake = strcmp(v, "yes") == 0;
		else if ((v = value_of(next, "wake-on=")) != NULL) {
			char  list[200];
			char *at = list;

			snprintf(list, sizeof(list), "%s", v);
			w->options.wake_on = 0;
			for (char *c = list; *c != '\0'; c++)
				if (*c == ',')
					*c = ' ';
			for (const char *k = word(&at); *k != '\0'; k = word(&at))
				if (strcmp(k, "none") != 0)
					w->options.wake_on |= 1u << parse_kind(w, k);
		} else {
			die(w, "no such option", next);
		}
	}
	if (w->begun)
		take(w, awake_set(&w->awake, &w->options, w->now));
}

static void say_begin(struct world *w, char *rest)
{
	(void)rest;
	memset(&w->awake, 0xa5, sizeof(w->awake)); /* it must not depend on what was there */
	w->begun = true;
	take(w, awake_init(&w->awake, &w->options, w->now));
}

static void say_wait(struct world *w, char *rest)
{
	run_until(w, w->now + parse_time(w, word(&rest)));
}

static void say_until(struct world *w, char *rest)
{
	run_until(w, parse_time(w, word(&rest)));
}

static void say_host(struct world *w, char *rest)
{
	static const char *const names[] = { "unplayed", "up", "refuses", "silent" };
	const char              *name = word(&rest);

	for (unsigned i = 0; i < 4; i++)
		if (strcmp(names[i], name) == 0) {
			w->host = (enum host)i;
			return;
		}
	die(w, "no such behaviour", name);
}

static void say_probe(struct world *w, char *rest)
{
	static const char *const names[] = { "silent", "refused", "answered" };
	const char              *how = word(&rest);

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(names[i], how) == 0) {
			probe_ends(w, (enum awake_probe_end)i);
			return;
		}
	die(w, "no such end of a probe", how);
}

static void say_request(struct world *w, char *rest)
{
	const char *how = word(&rest);

	if (strcmp(how, "ok") == 0)
		take(w, awake_succeeded(&w->awake, w->now));
	else if (strcmp(how, "failed") == 0)
		take(w, awake_failed(&w->awake, w->now));
	else if (strcmp(how, "slow") == 0)
		take(w, awake_doubt(&w->awake, w->now));
	else
		die(w, "no such end of a request", how);
}

static void say_sleeps(struct world *w, char *rest)
{
	(void)rest;
	take(w, awake_sleeps(&w->awake, w->now));
}

static void say_wakes(struct world *w, char *rest)
{
	(void)rest;
	take(w, awake_wakes(&w->awake, w->now));
}

static void say_sends(struct world *w, char *rest)
{
	const char *what = word(&rest);

	if (strcmp(what, "event") != 0 && strcmp(what, "other") != 0)
		die(w, "no such request", what);
	take(w, awake_sent(&w->awake, *what == 'e' ? AWAKE_SENT_EVENT : AWAKE_SENT_OTHER, w->now));
}

static void say_question(struct world *w, char *rest)
{
	(void)rest;
	take(w, awake_asked(&w->awake, w->now));
}

static void say_drained(struct world *w, char *rest)
{
	(void)rest;
	take(w, awake_drained(&w->awake, w->now));
}

static void say_order(struct world *w, char *rest)
{
	(void)rest;
	take(w, awake_order(&w->awake, w->now));
}

static void say_wish(struct world *w, char *rest)
{
	static const char *const verdicts[] = { "go", "hold", "hopeless" };
	enum awake_kind          kind = parse_kind(w, word(&rest));
	enum awake_verdict       got = AWAKE_GO;
	unsigned                 todo = awake_wish(&w->awake, kind, w->now, &got);

	if (strcmp(word(&rest), verdicts[got]) != 0)
		die(w, "another verdict", verdicts[got]);
	w->checks++;
	take(w, todo);
}

/* ---- checks ---- */

static void say_is(struct world *w, char *rest)
{
	const char *state = word(&rest), *next;
	bool        exact = false;

	if (strcmp(state, awake_state_slug(w->awake.state)) != 0)
		die(w, "another state", awake_state_slug(w->awake.state));
	while (*(next = word(&rest)) != '\0') {
		if (strcmp(next, "exact") == 0)
			exact = true;
		else if (strcmp(next, awake_why(&w->awake)) != 0)
			die(w, "another reason", awake_why(&w->awake));
	}
	if (exact != awake_is_exact(&w->awake))
		die(w, exact ? "not exact" : "exact", "");
	w->checks++;
}

static void say_next(struct world *w, char *rest)
{
	const char *time = word(&rest);
	msec        want = strcmp(time, "never") == 0 ? MS_NEVER : parse_time(w, time);

	if (awake_next(&w->awake) != want)
		die(w, "it wants to be called at another time", time);
	w->checks++;
}

static void say_does(struct world *w, char *rest)
{
	size_t i = 0;

	for (char *next = word(&rest); *next != '\0'; next = word(&rest), i++) {
		char *at = strchr(next, '@');

		if (at != NULL)
			*at++ = '\0';
		if (i >= w->done_count || strcmp(next, action_name(w->done[i].action)) != 0)
			die(w, "it did not do this", next);
		if (at != NULL && parse_time(w, at) != w->done[i].at)
			die(w, "it did this at another time", at);
	}
	if (i < w->done_count)
		die(w, "it did more", action_name(w->done[i].action));
	w->done_count = 0;
	w->checks++;
}

static void say_counts(struct world *w, char *rest)
{
	unsigned long want[ACTIONS] = { 0, 0, 0 }, got[ACTIONS] = { 0, 0, 0 };
	char          text[100];

	for (const char *next = word(&rest); *next != '\0'; next = word(&rest)) {
		const char *equals = strchr(next, '=');
		size_t      i = 0;

		while (i < ACTIONS && equals != NULL &&
		       !str_eq(str_span(next, (size_t)(equals - next)), str_of(actions[i].name)))
			i++;
		if (equals == NULL || i == ACTIONS)
			die(w, "no such action", next);
		want[i] = strtoul(equals + 1, NULL, 10);
	}
	for (size_t i = 0; i < w->done_count; i++)
		for (size_t k = 0; k < ACTIONS; k++)
			got[k] += w->done[i].action == actions[k].action;
	snprintf(text, sizeof(text), "probe=%lu packet=%lu drain=%lu", got[0], got[1], got[2]);
	if (memcmp(want, got, sizeof(got)) != 0)
		die(w, "other numbers", text);
	w->done_count = 0;
	w->checks++;
}

static void say_may_sleep(struct world *w, char *rest)
{
	msec        wait;
	const char *why = awake_must_stay(&w->awake, w->now, &wait);

	(void)rest;
	if (why != NULL)
		die(w, "it must stay", why);
	if (wait != 0)
		die(w, "it may, but later", "");
	w->checks++;
}

static void say_must_stay(struct world *w, char *rest)
{
	msec        wait;
	const char *why = awake_must_stay(&w->awake, w->now, &wait), *time;
	char        got[32];

	if (why == NULL || strcmp(word(&rest), why) != 0)
		die(w, "another reason to stay", why == NULL ? "none" : why);
	time = word(&rest);
	snprintf(got, sizeof(got), "%llums", (unsigned long long)wait);
	if (*time != '\0' && parse_time(w, time) != wait)
		die(w, "another time to ask again", got);
	w->checks++;
}

typedef void say_fn(struct world *w, char *rest);

static const struct {
	const char *verb;
	say_fn     *say;
} verbs[] = {
	{ "options", say_options },     { "begin", say_begin },         { "wait", say_wait },
	{ "until", say_until },         { "host", say_host },           { "probe", say_probe },
	{ "request", say_request },     { "sleeps", say_sleeps },       { "wakes", say_wakes },
	{ "sends", say_sends },         { "question", say_question },   { "drained", say_drained },
	{ "order", say_order },         { "wish", say_wish },           { "is", say_is },
	{ "next", say_next },           { "does", say_does },           { "counts", say_counts },
	{ "may-sleep", say_may_sleep }, { "must-stay", say_must_stay },
};

static void say(struct world *w, char *line)
{
	char *verb;

	line[strcspn(line, "#\r\n")] = '\0';
	verb = word(&line);
	if (*verb == '\0')
		return;
	if (!w->begun && strcmp(verb, "options") != 0 && strcmp(verb, "begin") != 0 &&
	    strcmp(verb, "host") != 0)
		die(w, "nothing has begun", verb);
	if (w->trace)
		printf("%8llu ms %s %s\n", (unsigned long long)w->now, verb, line);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verb, verbs[i].verb) == 0) {
			verbs[i].say(w, line);
			return;
		}
	die(w, "no such statement", verb);
}

int main(int argc, char **argv)
{
	static struct world w;
	char                line[LINE_MAX_BYTES];
	FILE               *f;

	if (argc > 1 && strcmp(argv[1], "--trace") == 0)
		w.trace = true;
	if (argc != (w.trace ? 3 : 2)) {
		fprintf(stderr, "usage: awake_replay [--trace] FILE.scn\n");
		return 2;
	}
	w.file = argv[argc - 1];
	w.probe_ends_at = MS_NEVER;
	w.options = (struct awake_options){
		.probe_ms = 30 * SECOND_MS,
		.grace_ms = 5 * MINUTE_MS,
		.wake_on = 1u << AWAKE_MESSAGE | 1u << AWAKE_TO_DEVICE | 1u << AWAKE_INVITE |
			1u << AWAKE_KEYS | 1u << AWAKE_CLIENT | 1u << AWAKE_JOIN,
		.can_wake = true,
	};
	f = fopen(w.file, "r");
	if (f == NULL) {
		perror(w.file);
		return 2;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		w.line++;
		say(&w, line);
	}
	fclose(f);
	if (w.done_count > 0)
		die(&w, "something was done that nobody looked at",
		    action_name(w.done[w.done_count - 1].action));
	if (w.checks == 0)
		die(&w, "a script without any check", "");
	return 0;
}
