#include "fed/transaction.h"

enum { MEMBER_NONE, MEMBER_ORIGIN, MEMBER_PDUS, MEMBER_EDUS };

enum { FIELD_NONE, FIELD_TYPE, FIELD_STATE_KEY, FIELD_EDU_TYPE };

struct name {
	const char *text;
	unsigned    value;
};

static const struct name members[] = {
	{ "origin", MEMBER_ORIGIN },
	{ "pdus", MEMBER_PDUS },
	{ "edus", MEMBER_EDUS },
};

static const struct name pdu_fields[] = {
	{ "type", FIELD_TYPE },
	{ "state_key", FIELD_STATE_KEY },
};

static const struct name edu_fields[] = {
	{ "edu_type", FIELD_EDU_TYPE },
};

/* Events without state_key for which nobody needs to be woken; all others are messages. */
static const struct name pdu_types[] = {
	{ "m.reaction", TRANSACTION_QUIET },
	{ "m.room.redaction", TRANSACTION_QUIET },
	{ "m.poll.response", TRANSACTION_QUIET },
	{ "m.poll.end", TRANSACTION_QUIET },
	{ "org.matrix.msc3381.poll.response", TRANSACTION_QUIET },
	{ "org.matrix.msc3381.poll.end", TRANSACTION_QUIET },
	{ "m.call.answer", TRANSACTION_QUIET }, /* of a call that is over when it is read */
	{ "m.call.candidates", TRANSACTION_QUIET },
	{ "m.call.hangup", TRANSACTION_QUIET },
	{ "m.call.negotiate", TRANSACTION_QUIET },
	{ "m.call.reject", TRANSACTION_QUIET },
	{ "m.call.select_answer", TRANSACTION_QUIET },
};

static const struct name edu_types[] = {
	{ "m.direct_to_device", TRANSACTION_TO_DEVICE },
	{ "m.device_list_update", TRANSACTION_DEVICE_LIST },
	{ "m.signing_key_update", TRANSACTION_DEVICE_LIST },
	{ "org.matrix.signing_key_update", TRANSACTION_DEVICE_LIST },
	{ "m.receipt", TRANSACTION_RECEIPT },
	{ "m.typing", TRANSACTION_TYPING },
	{ "m.presence", TRANSACTION_PRESENCE },
};

#define LOOK_UP(table, token, otherwise) \
	look_up(table, sizeof(table) / sizeof((table)[0]), token, otherwise)

/* A text that did not fit into hold is longer than all names. */
static unsigned look_up(const struct name *table, size_t count, const struct json_token *t,
                        unsigned otherwise)
{
	for (size_t i = 0; i < count && !t->cut; i++)
		if (json_text_eq(t->text, str_of(table[i].text)))
			return table[i].value;
	return otherwise;
}

void transaction_init(struct transaction *t, size_t bytes_max)
{
	struct json_limits limits = json_limits_default;

	*t = (struct transaction){ .err = ERR_OK };
	if (bytes_max > 0)
		limits.bytes_max = bytes_max;
	json_scan_init(&t->scan, &limits, t->hold, sizeof(t->hold));
}

/* ---- one event, one EDU ---- */

/* Bytes of a character in a canonical string; bytes: what it means. */
static size_t canonical_char(const char *bytes, size_t n)
{
	unsigned char c = (unsigned char)bytes[0];

	if (n > 1 || (c >= 0x20 && c != '"' && c != '\\'))
		return n;
	return c >= 0x20 || strchr("\b\t\n\f\r", c) != NULL ? (c == 0 ? 6 : 2) : 6;
}

/* By how much a text shrinks in canonical form; at most, where it is not there to be looked at. */
static size_t spared_by(const struct json_token *t)
{
	size_t     whole = t->end - t->at - 2, canonical = 0, n;
	struct str rest = t->text;
	char       bytes[4];

	if (!t->escaped)
		return 0;
	if (t->cut)
		return whole - whole / 6; /* backslash, u and four digits for one byte */
	while ((n = json_text_next(&rest, bytes)) > 0)
		canonical += canonical_char(bytes, n);
	return whole - canonical;
}

static enum err begin_element(struct transaction *t, const struct json_token *token)
{
	size_t *count = t->member == MEMBER_PDUS ? &t->pdus : &t->edus;
	size_t  max = t->member == MEMBER_PDUS ? TRANSACTION_PDUS_MAX : TRANSACTION_EDUS_MAX;

	if (token->kind != JSON_OBJECT)
		return ERR_SYNTAX;
	if (*count == max)
		return ERR_LIMIT;
	(*count)++;
	t->field = FIELD_NONE;
	t->fields = t->kind = 0;
	t->at = token->at;
	t->blanks = t->scan.blanks;
	t->spared = 0;
	return ERR_OK;
}

static enum err end_pdu(struct transaction *t, const struct json_token *token)
{
	size_t bytes = token->end - t->at - (t->scan.blanks - t->blanks) - t->spared;

	if (bytes > t->pdu_bytes_most)
		t->pdu_bytes_most = bytes;
	if ((t->fields & 1u << FIELD_STATE_KEY) != 0)
		t->parts |= TRANSACTION_STATE;
	else
		t->parts |= t->kind != 0 ? t->kind : TRANSACTION_MESSAGE;
	return bytes > TRANSACTION_PDU_BYTES_MAX ? ERR_LIMIT : ERR_OK;
}

static enum err end_element(struct transaction *t, const struct json_token *token)
{
	if (t->member == MEMBER_PDUS)
		return end_pdu(t, token);
	t->parts |= t->kind != 0 ? t->kind : TRANSACTION_OTHER;
	return ERR_OK;
}

static enum err take_key(struct transaction *t, const struct json_token *token)
{
	if (t->member == MEMBER_PDUS)
		t->field = LOOK_UP(pdu_fields, token, FIELD_NONE);
	else
		t->field = LOOK_UP(edu_fields, token, FIELD_NONE);
	if (t->field == FIELD_NONE)
		return ERR_OK;
	if ((t->fields & 1u << t->field) != 0)
		return ERR_SYNTAX;
	t->fields |= 1u << t->field;
	return ERR_OK;
}

static void take_value(struct transaction *t, const struct json_token *token)
{
	if (token->kind == JSON_STRING && t->field == FIELD_TYPE)
		t->kind = LOOK_UP(pdu_types, token, TRANSACTION_MESSAGE);
	else if (token->kind == JSON_STRING && t->field == FIELD_EDU_TYPE)
		t->kind = LOOK_UP(edu_types, token, TRANSACTION_OTHER);
	t->field = FIELD_NONE;
}

static enum err in_element(struct transaction *t, const struct json_token *token)
{
	if (token->kind == JSON_KEY || token->kind == JSON_STRING)
		t->spared += spared_by(token);
	if (token->depth != 3)
		return ERR_OK;
	if (token->kind == JSON_KEY)
		return take_key(t, token);
	take_value(t, token);
	return ERR_OK;
}

/* ---- the top level ---- */

static enum err take_member(struct transaction *t, const struct json_token *token)
{
	t->member = LOOK_UP(members, token, MEMBER_NONE);
	if (t->member == MEMBER_NONE)
		return ERR_OK;
	if ((t->seen & 1u << t->member) != 0)
		return ERR_SYNTAX;
	t->seen |= 1u << t->member;
	return ERR_OK;
}

static enum err take_origin(struct transaction *t, const struct json_token *token)
{
	struct writer w = writer_over(t->origin, sizeof(t->origin) - 1);

	if (token->kind != JSON_STRING)
		return ERR_SYNTAX;
	json_unescape(token->text, &w);
	t->has_origin = true;
	if (w.failed || memchr(t->origin, '\0', (size_t)(w.at - w.begin)) != NULL)
		w.at = w.begin; /* no name of a server */
	*w.at = '\0';
	return ERR_OK;
}

static enum err in_top(struct transaction *t, const struct json_token *token)
{
	if (token->kind == JSON_KEY)
		return take_member(t, token);
	if (t->member == MEMBER_ORIGIN)
		return take_origin(t, token);
	if (t->member != MEMBER_PDUS && t->member != MEMBER_EDUS)
		return ERR_OK;
	/* some writers say null for an empty list */
	return token->kind == JSON_ARRAY || token->kind == JSON_ARRAY_END ||
			token->kind == JSON_NULL
		? ERR_OK
		: ERR_SYNTAX;
}

static enum err take_token(struct transaction *t, const struct json_token *token)
{
	bool in_list = t->member == MEMBER_PDUS || t->member == MEMBER_EDUS;

	if (token->depth == 0)
		return token->kind == JSON_OBJECT || token->kind == JSON_OBJECT_END ||
				token->kind == JSON_END
			? ERR_OK
			: ERR_SYNTAX;
	if (token->depth == 1)
		return in_top(t, token);
	if (!in_list)
		return ERR_OK;
	if (token->depth > 2)
		return in_element(t, token);
	return token->kind == JSON_OBJECT_END ? end_element(t, token) : begin_element(t, token);
}

enum err transaction_feed(struct transaction *t, struct str piece, bool last)
{
	struct json_token token = { .kind = JSON_KEY };

	while (t->err == ERR_OK && token.kind != JSON_NONE && token.kind != JSON_END) {
		t->err = json_scan_next(&t->scan, &piece, last, &token);
		if (t->err == ERR_OK && token.kind != JSON_NONE)
			t->err = take_token(t, &token);
	}
	t->ended = t->ended || token.kind == JSON_END;
	return t->err;
}

bool transaction_is_fleeting(const struct transaction *t)
{
	return t->err == ERR_OK && t->ended && (t->parts & ~(unsigned)TRANSACTION_FLEETING) == 0;
}
