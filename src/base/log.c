#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/syslog_out.h"

enum { LOG_LINE_MAX = 2048, LOG_VALUE_MAX = 200 };

static enum log_level current = LOG_INFO, level_of_line;
static bool           to_system;
static char           line[LOG_LINE_MAX];
static struct writer  out;

static const char *const names[] = { "error", "warn", "info", "debug" };

void log_set_level(enum log_level level)
{
	current = level;
}

void log_to_system(void)
{
	syslog_out_open();
	to_system = true;
}

bool log_start(enum log_level level, const char *event)
{
	if (level > current)
		return false;
	out = writer_over(line, sizeof(line) - 1);
	level_of_line = level;
	if (!to_system) {
		write_text(&out, names[level]);
		write_char(&out, ' ');
	}
	write_text(&out, event);
	return true;
}

static void log_key(const char *key)
{
	write_char(&out, ' ');
	write_text(&out, key);
	write_char(&out, '=');
}

/* Plain characters as they are; blanks, quotes, backslashes, controls and all above 0x7e as \xHH. */
static void log_escaped(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c > 0x20 && c < 0x7f && c != '\\' && c != '"') {
			write_char(&out, (char)c);
			continue;
		}
		write_text(&out, "\\x");
		write_char(&out, "0123456789abcdef"[c >> 4]);
		write_char(&out, "0123456789abcdef"[c & 15]);
	}
}

bool log_str(const char *key, struct str value)
{
	log_key(key);
	if (value.len == 0)
		write_char(&out, '-');
	log_escaped(str_head(value, LOG_VALUE_MAX));
	if (value.len > LOG_VALUE_MAX)
		write_text(&out, "...");
	return true;
}

bool log_text(const char *key, const char *value)
{
	return log_str(key, value == NULL ? STRL("-") : str_of(value));
}

bool log_num(const char *key, int64_t value)
{
	log_key(key);
	if (value < 0)
		write_char(&out, '-');
	write_u64(&out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
	return true;
}

bool log_err(const char *key, enum err e)
{
	return log_text(key, err_slug(e));
}

bool log_end(void)
{
	/* the writer was given one byte less than the line holds */
	if (to_system) {
		*out.at = '\0';
		syslog_out((int)level_of_line, line);
		return true;
	}
	*out.at++ = '\n';
	if (write(STDERR_FILENO, line, (size_t)(out.at - line)) < 0)
		return false; /* nowhere to complain to */
	return true;
}

void log_say(enum log_level level, const char *event, const char *format, ...)
{
	char    text[1024];
	va_list args;

	if (!log_begin(level, event))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	write_text(&out, ": ");
	for (const char *c = text; *c != '\0'; c++)
		write_char(&out, (unsigned char)*c < 0x20 ? ' ' : *c);
	log_end();
}
