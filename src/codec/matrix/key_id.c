#include "codec/matrix/key_id.h"

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_';
}

static bool is_words(struct str s, size_t max)
{
	if (s.len == 0 || s.len > max)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_word(s.ptr[i]))
			return false;
	return true;
}

enum err key_id_parse(struct str text, struct key_id *out)
{
	size_t     colon = str_find(text, ':');
	struct str algorithm = str_head(text, colon), version = str_from(text, colon + 1);

	if (!is_words(algorithm, KEY_ID_VERSION_MAX) || !is_words(version, KEY_ID_VERSION_MAX))
		return ERR_SYNTAX;
	if (!str_is(algorithm, "ed25519"))
		return ERR_UNSUPPORTED;
	*out = (struct key_id){ .text = text, .version = version };
	return ERR_OK;
}
