/*
 * rows.h - reads the tables of this folder (requests.txt describes the format).
 *
 * For tests: a table that cannot be read ends the program.
 */
#ifndef CONFORM_HTTP_ROWS_H
#define CONFORM_HTTP_ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct row {
	struct str name;
	struct str verdict; /* "ok,body=none": see row_word() */
	struct str bytes;   /* unescaped, a heap block of its own */
};

struct rows {
	struct row *row;
	size_t      count;
	char       *text; /* the file, which names and verdicts point into */
};

_Noreturn static inline void rows_die(const char *what, struct str where)
{
	fprintf(stderr, "%s: %.*s\n", what, (int)where.len, where.ptr);
	exit(2);
}

static inline char *rows_read_file(const char *path)
{
	FILE  *file = fopen(path, "rb");
	char  *text;
	size_t n;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		rows_die("cannot read", str_of(path));
	n = (size_t)ftell(file);
	rewind(file);
	text = malloc(n + 1);
	if (text == NULL || fread(text, 1, n, file) != n)
		rows_die("cannot read", str_of(path));
	text[n] = '\0';
	fclose(file);
	return text;
}

struct rows_out {
	char  *bytes;
	size_t len, size;
};

static inline void rows_put(struct rows_out *out, const char *bytes, size_t n)
{
	if (out->len + n > out->size) {
		out->size = 2 * (out->len + n);
		out->bytes = realloc(out->bytes, out->size);
		if (out->bytes == NULL)
			rows_die("memory", STRL(""));
	}
	if (n > 0)
		memcpy(out->bytes + out->len, bytes, n);
	out->len += n;
}

/* "\r", "\xHH" and so on at the start of s; returns its length in the text. */
static inline size_t rows_put_escape(struct rows_out *out, struct str s)
{
	char c = s.len > 1 ? s.ptr[1] : '\0';

	switch (c) {
	case 'r':
		rows_put(out, "\r", 1);
		return 2;
	case 'n':
		rows_put(out, "\n", 1);
		return 2;
	case 't':
		rows_put(out, "\t", 1);
		return 2;
	case '\\':
		rows_put(out, "\\", 1);
		return 2;
	case 'x':
		if (s.len >= 4) {
			char hex[3] = { s.ptr[2], s.ptr[3], '\0' }, byte;

			byte = (char)strtoul(hex, NULL, 16);
			rows_put(out, &byte, 1);
			return 4;
		}
		break;
	default:
		break;
	}
	rows_die("bad escape", s);
}

static inline void rows_put_simple(struct rows_out *out, struct str s)
{
	size_t i = 0;

	while (i < s.len) {
		if (s.ptr[i] == '\\')
			i += rows_put_escape(out, str_from(s, i));
		else
			rows_put(out, s.ptr + i++, 1);
	}
}

/* "\(N:TEXT)" at the start of s; returns its length. */
static inline size_t rows_put_repeat(struct rows_out *out, struct str s)
{
	size_t   colon = str_find(s, ':'), close = str_find(s, ')');
	uint64_t n;

	if (close == s.len || colon > close ||
	    !str_to_u64(str_from(str_head(s, colon), 2), 100000, &n))
		rows_die("bad repetition", s);
	while (n-- > 0)
		rows_put_simple(out, str_from(str_head(s, close), colon + 1));
	return close + 1;
}

/* The bytes that s stands for, in a heap block of exactly that size. */
static inline struct str rows_unescape(struct str s)
{
	struct rows_out out = { NULL, 0, 0 };
	char           *exact;

	while (s.len > 0) {
		size_t n = str_find(s, '\\');

		if (n > 0)
			rows_put(&out, s.ptr, n);
		else if (s.len > 1 && s.ptr[1] == '(')
			n = rows_put_repeat(&out, s);
		else
			n = rows_put_escape(&out, s);
		s = str_from(s, n);
	}
	exact = malloc(out.len > 0 ? out.len : 1);
	if (exact == NULL)
		rows_die("memory", STRL(""));
	if (out.len > 0)
		memcpy(exact, out.bytes, out.len);
	free(out.bytes);
	return (struct str){ exact, out.len };
}

/* Cuts the first blank-separated column off *line. */
static inline struct str rows_column(struct str *line)
{
	struct str column = str_head(*line, str_find(*line, ' '));

	*line = str_trim(str_from(*line, column.len));
	return column;
}

static inline struct rows rows_load(const char *path)
{
	struct rows rows = { NULL, 0, rows_read_file(path) };
	struct str  text = str_of(rows.text);

	while (text.len > 0) {
		struct str line = str_head(text, str_find(text, '\n'));
		struct row row;

		text = str_from(text, line.len + 1);
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		row.name = rows_column(&line);
		row.verdict = rows_column(&line);
		row.bytes = rows_unescape(line);
		rows.row = realloc(rows.row, (rows.count + 1) * sizeof(row));
		if (rows.row == NULL || row.verdict.len == 0)
			rows_die("bad row", row.name);
		rows.row[rows.count++] = row;
	}
	return rows;
}

static inline void rows_free(struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		free((char *)rows->row[i].bytes.ptr);
	free(rows->row);
	free(rows->text);
}

/*
 * "key=value" or "key" among the words of the verdict. The value as written ("" for a bare word);
 * false if the word is not there.
 */
static inline bool row_word(const struct row *row, const char *key, struct str *value)
{
	struct str rest = row->verdict;

	while (rest.len > 0) {
		struct str word = str_head(rest, str_find(rest, ','));
		size_t     eq = str_find(word, '=');

		rest = str_from(rest, word.len + 1);
		if (str_is(str_head(word, eq), key)) {
			*value = str_from(word, eq + 1);
			return true;
		}
	}
	return false;
}

static inline bool row_has(const struct row *row, const char *key)
{
	struct str ignored;

	return row_word(row, key, &ignored);
}

#endif
