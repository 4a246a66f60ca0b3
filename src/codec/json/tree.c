#include "codec/json/tree.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/json/canon.h"

#define INTEGER_MAX 9007199254740991 /* 2^53 - 1: up to here a double is exact */

struct tree {
	cJSON   *root;
	enum err failed; /* while building: what tree_write will tell */
};

/* The nodes that callers see are cJSON's; nobody else knows. */
static cJSON *inside(const struct tree_node *node)
{
	return (cJSON *)(uintptr_t)node;
}

static struct tree_node *outside(cJSON *node)
{
	return (struct tree_node *)node;
}

/* ---- reading ---- */

static bool means_nul(struct str text)
{
	while (text.len > 0) {
		char bytes[4];

		if (json_text_next(&text, bytes) == 1 && bytes[0] == '\0')
			return true;
	}
	return false;
}

static enum err refuse_nul(struct str doc, const struct json_limits *limits)
{
	struct json_scan  s;
	struct json_token t;
	enum err          e;

	json_scan_init(&s, limits, NULL, 0);
	do {
		e = json_scan_next(&s, &doc, true, &t);
		if (e == ERR_OK && t.escaped && means_nul(t.text))
			e = ERR_UNSUPPORTED;
	} while (e == ERR_OK && t.kind != JSON_END);
	return e;
}

/* Repeated keys are found on the way to canonical form. */
static enum err refuse_repeats(struct str doc)
{
	struct canon c;
	enum err     e = canon_open(&c, doc, NULL);

	if (e == ERR_OK)
		canon_close(&c);
	return e;
}

enum err tree_read(struct str doc, struct tree **out)
{
	const struct json_limits limits = { TREE_BYTES_MAX, TREE_BYTES_MAX, TREE_BYTES_MAX,
		                            TREE_DEPTH_MAX };
	enum err                 e = refuse_nul(doc, &limits);
	struct tree             *t;

	if (e == ERR_OK)
		e = refuse_repeats(doc);
	if (e != ERR_OK)
		return e;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return ERR_NOMEM;
	t->root = cJSON_ParseWithLength(doc.ptr, doc.len);
	if (t->root == NULL) {
		tree_free(t);
		return ERR_NOMEM; /* it is JSON, we looked */
	}
	*out = t;
	return ERR_OK;
}

void tree_free(struct tree *t)
{
	if (t == NULL)
		return;
	cJSON_Delete(t->root);
	free(t);
}

struct tree_node *tree_root(struct tree *t)
{
	return outside(t->root);
}

struct tree_node *tree_get(const struct tree_node *node, const char *key)
{
	return node == NULL ? NULL : outside(cJSON_GetObjectItemCaseSensitive(inside(node), key));
}

struct tree_node *tree_first(const struct tree_node *node)
{
	return node == NULL ? NULL : outside(inside(node)->child);
}

struct tree_node *tree_next(const struct tree_node *node)
{
	return outside(inside(node)->next);
}

struct str tree_key(const struct tree_node *node)
{
	const char *key = node == NULL ? NULL : inside(node)->string;

	return str_of(key == NULL ? "" : key);
}

enum err tree_text(const struct tree_node *node, struct str *out)
{
	if (node == NULL)
		return ERR_NOT_FOUND;
	if (!cJSON_IsString(inside(node)))
		return ERR_SYNTAX;
	*out = str_of(inside(node)->valuestring);
	return ERR_OK;
}

enum err tree_bool(const struct tree_node *node, bool *out)
{
	if (node == NULL)
		return ERR_NOT_FOUND;
	if (!cJSON_IsBool(inside(node)))
		return ERR_SYNTAX;
	*out = cJSON_IsTrue(inside(node)) != 0;
	return ERR_OK;
}

static bool is_integer(double value)
{
	return value >= -(double)INTEGER_MAX && value <= (double)INTEGER_MAX &&
		(double)(int64_t)value == value;
}

enum err tree_integer(const struct tree_node *node, int64_t *out)
{
	if (node == NULL)
		return ERR_NOT_FOUND;
	if (!cJSON_IsNumber(inside(node)))
		return ERR_SYNTAX;
	if (!is_integer(inside(node)->valuedouble))
		return ERR_RANGE;
	*out = (int64_t)inside(node)->valuedouble;
	return ERR_OK;
}

/* ---- building ---- */

struct tree *tree_new_object(void)
{
	struct tree *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->root = cJSON_CreateObject();
	if (t->root == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

/* Hangs node in; NULL, and the tree has failed, if anything is missing. */
static struct tree_node *add(struct tree *t, struct tree_node *to, const char *key, cJSON *node)
{
	bool good = to != NULL && node != NULL;

	if (good)
		good = key != NULL ? cJSON_AddItemToObject(inside(to), key, node)
				   : cJSON_AddItemToArray(inside(to), node);
	if (good)
		return outside(node);
	cJSON_Delete(node);
	if (t->failed == ERR_OK)
		t->failed = ERR_NOMEM;
	return NULL;
}

struct tree_node *tree_add_object(struct tree *t, struct tree_node *to, const char *key)
{
	return add(t, to, key, cJSON_CreateObject());
}

struct tree_node *tree_add_array(struct tree *t, struct tree_node *to, const char *key)
{
	return add(t, to, key, cJSON_CreateArray());
}

void tree_add_text(struct tree *t, struct tree_node *to, const char *key, struct str text)
{
	char *copy = str_dup(text);

	if (str_find(text, '\0') != text.len)
		t->failed = ERR_SYNTAX;

	add(t, to, key, copy == NULL ? NULL : cJSON_CreateString(copy));
	free(copy);
}

void tree_add_bool(struct tree *t, struct tree_node *to, const char *key, bool value)
{
	add(t, to, key, cJSON_CreateBool(value));
}

void tree_add_null(struct tree *t, struct tree_node *to, const char *key)
{
	add(t, to, key, cJSON_CreateNull());
}

static void add_digits(struct tree *t, struct tree_node *to, const char *key, bool minus,
                       uint64_t value)
{
	char          text[24];
	struct writer w = writer_over(text, sizeof(text) - 1);

	if (minus)
		write_char(&w, '-');
	write_u64(&w, value);
	*w.at = '\0';
	add(t, to, key, cJSON_CreateRaw(text));
}

void tree_add_unsigned(struct tree *t, struct tree_node *to, const char *key, uint64_t value)
{
	add_digits(t, to, key, false, value);
}

void tree_add_integer(struct tree *t, struct tree_node *to, const char *key, int64_t value)
{
	add_digits(t, to, key, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* ---- writing ---- */

static enum err write_number(const cJSON *node, struct buf *out)
{
	char text[32];
	int  n;

	if (is_integer(node->valuedouble))
		n = snprintf(text, sizeof(text), "%.0f", node->valuedouble);
	else
		n = snprintf(text, sizeof(text), "%.17g", node->valuedouble);
	return buf_add(out, str_span(text, (size_t)n));
}

/* The node without what is in it. */
static enum err write_node(const cJSON *node, struct buf *out)
{
	switch (node->type & 0xFF) {
	case cJSON_Object:
		return buf_add(out, STRL("{"));
	case cJSON_Array:
		return buf_add(out, STRL("["));
	case cJSON_String:
		return canon_add_text(out, str_of(node->valuestring));
	case cJSON_Raw:
		return buf_add(out, str_of(node->valuestring));
	case cJSON_Number:
		return write_number(node, out);
	case cJSON_True:
		return buf_add(out, STRL("true"));
	case cJSON_False:
		return buf_add(out, STRL("false"));
	default:
		return buf_add(out, STRL("null"));
	}
}

static enum err write_item(const cJSON *node, struct buf *out)
{
	enum err e = ERR_OK;

	if (node->string != NULL) {
		e = canon_add_text(out, str_of(node->string));
		if (e == ERR_OK)
			e = buf_add(out, STRL(":"));
	}
	return e == ERR_OK ? write_node(node, out) : e;
}

static bool is_container(const cJSON *node)
{
	return cJSON_IsObject(node) || cJSON_IsArray(node);
}

/* Closes what ends behind *node, and moves it to what follows; NULL at the end. */
static enum err write_ends(const cJSON **node, const cJSON **open, size_t *depth, struct buf *out)
{
	enum err e = ERR_OK;

	while (*depth > 0 && *node == NULL && e == ERR_OK) {
		const cJSON *ended = open[--*depth];

		e = buf_add(out, cJSON_IsObject(ended) ? STRL("}") : STRL("]"));
		*node = *depth > 0 ? ended->next : NULL;
	}
	return e;
}

enum err tree_write(const struct tree *t, struct buf *out)
{
	const cJSON *open[TREE_DEPTH_MAX], *node = t->root;
	size_t       depth = 0;
	enum err     e = t->failed;

	while (node != NULL && e == ERR_OK) {
		e = write_item(node, out);
		if (e == ERR_OK && is_container(node)) {
			if (depth == TREE_DEPTH_MAX)
				return ERR_RANGE;
			open[depth++] = node;
			node = node->child;
		} else {
			node = depth > 0 ? node->next : NULL;
		}
		if (e == ERR_OK && node == NULL)
			e = write_ends(&node, open, &depth, out);
		if (e == ERR_OK && node != NULL && node != open[depth - 1]->child)
			e = buf_add(out, STRL(","));
	}
	return e;
}
