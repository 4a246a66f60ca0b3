#include "fed/resolve_inside.h"

/* The tail is kept free for what comes after .well-known, however often that was redirected. */
#define STEPS_FOR_WELL_KNOWN (RESOLVE_STEPS_MAX - 20)

static uint16_t keep_text(struct resolve *r, struct str s, uint16_t *len)
{
	size_t at = r->text_len, room = RESOLVE_TEXT_MAX - at;
	size_t n = s.len < RESOLVE_STEP_TEXT_MAX ? s.len : RESOLVE_STEP_TEXT_MAX;

	n = n < room ? n : room;
	for (size_t i = 0; i < n; i++) {
		char c = s.ptr[i];

		r->text[at + i] = c > 0x20 && c < 0x7f ? c : c == ' ' ? ' ' : '?';
	}
	r->text_len += n;
	*len = (uint16_t)n;
	return (uint16_t)at;
}

void resolve_note(struct resolve *r, enum resolve_step_kind kind, struct str question,
                  const char *outcome, struct str detail, const char *why)
{
	bool   early = kind == RESOLVE_STEP_WELL_KNOWN || kind == RESOLVE_STEP_REDIRECT;
	size_t max = early                    ? STEPS_FOR_WELL_KNOWN
		: kind == RESOLVE_STEP_RESULT ? RESOLVE_STEPS_MAX
					      : RESOLVE_STEPS_MAX - 1;
	struct resolve_step *s;

	if (r->step_count >= max)
		return;
	s = &r->steps[r->step_count++];
	s->kind = kind;
	s->outcome = outcome;
	s->why = why;
	s->question_at = keep_text(r, question, &s->question_len);
	s->detail_at = keep_text(r, detail, &s->detail_len);
}

struct str resolve_step_question(const struct resolve *r, size_t step)
{
	return str_span(r->text + r->steps[step].question_at, r->steps[step].question_len);
}

struct str resolve_step_detail(const struct resolve *r, size_t step)
{
	return str_span(r->text + r->steps[step].detail_at, r->steps[step].detail_len);
}

const char *resolve_step_kind_slug(enum resolve_step_kind k)
{
	static const char *const slugs[] = {
		[RESOLVE_STEP_NAME] = "name",
		[RESOLVE_STEP_CACHE] = "cache",
		[RESOLVE_STEP_WELL_KNOWN] = "well-known",
		[RESOLVE_STEP_REDIRECT] = "redirect",
		[RESOLVE_STEP_DELEGATION] = "delegation",
		[RESOLVE_STEP_SRV] = "srv",
		[RESOLVE_STEP_TARGET] = "target",
		[RESOLVE_STEP_ADDRESS] = "address",
		[RESOLVE_STEP_RESULT] = "result",
	};

	return slugs[k];
}
