#include "codec/matrix/signed_json.h"

#include "codec/json/canon.h"

/* One step into an object; ERR_NOT_FOUND also when what is there is of another kind. */
static enum err descend(struct str *doc, struct str key, enum json_kind kind)
{
	struct json_member m = { .key = key };
	enum err           e = json_find(*doc, JSON_REFUSE_REPEAT, &m, 1);

	if (e != ERR_OK)
		return e;
	if (m.kind != kind)
		return ERR_NOT_FOUND;
	*doc = m.value;
	return ERR_OK;
}

enum err signed_json_find(struct str doc, struct str server, struct str key_id, struct arena *arena,
                          struct str *out)
{
	enum err e = descend(&doc, STRL("signatures"), JSON_OBJECT);

	if (e == ERR_OK)
		e = descend(&doc, server, JSON_OBJECT);
	if (e == ERR_OK)
		e = descend(&doc, key_id, JSON_STRING);
	return e == ERR_OK ? json_unescape_copy(doc, arena, out) : e;
}

static enum err open_object(struct canon *c, struct str doc)
{
	const struct canon_options options = { .for_signature = true };
	enum err                   e = canon_open(c, doc, &options);

	if (e == ERR_OK && c->kind != JSON_OBJECT) {
		canon_close(c);
		e = ERR_SYNTAX;
	}
	return e;
}

static enum err verify_as(const struct canon *c, enum canon_numbers numbers,
                          const struct signing_key *key, const struct signing_sig *sig)
{
	struct buf message;
	enum err   e;

	/* a number can grow to the digits of 2^53; there are fewer numbers than bytes */
	buf_init(&message, numbers == CANON_AS_RECEIVED ? c->doc.len : c->doc.len * 8);
	e = canon_emit_buf(c, numbers, &message);
	if (e == ERR_OK)
		e = signing_verify(key, sig, buf_str(&message));
	buf_fini(&message);
	return e;
}

static enum err verify_sig(struct str doc, const struct signing_key *key,
                           const struct signing_sig *sig)
{
	struct canon c;
	enum err     e = open_object(&c, doc);

	if (e != ERR_OK)
		return e;
	e = verify_as(&c, CANON_AS_RECEIVED, key, sig);
	if (e == ERR_SIGNATURE && c.odd_numbers) {
		e = verify_as(&c, CANON_INTEGERS, key, sig);
		e = e == ERR_RANGE ? ERR_SIGNATURE : e;
	}
	canon_close(&c);
	return e;
}

enum err signed_json_verify(struct str doc, struct str server, struct str key_id,
                            const struct signing_key *key)
{
	struct arena       arena;
	struct signing_sig sig;
	struct str         text;
	enum err           e;

	arena_init(&arena, doc.len + 64);
	e = signed_json_find(doc, server, key_id, &arena, &text);
	if (e == ERR_OK && signing_sig_read(text, &sig) != ERR_OK)
		e = ERR_SIGNATURE;
	if (e == ERR_OK)
		e = verify_sig(doc, key, &sig);
	arena_fini(&arena);
	return e;
}

enum err signed_json_sign(struct str doc, const struct signing_pair *pair, struct signing_sig *out)
{
	struct canon c;
	struct buf   message;
	enum err     e = open_object(&c, doc);

	if (e != ERR_OK)
		return e;
	buf_init(&message, doc.len);
	e = canon_emit_buf(&c, CANON_AS_RECEIVED, &message);
	if (e == ERR_OK)
		signing_sign(pair, buf_str(&message), out);
	buf_fini(&message);
	canon_close(&c);
	return e;
}
