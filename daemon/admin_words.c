/* admin_words.c - blanks, comments and quotes in a command. */
#include "daemon/admin_words.h"

#include <ctype.h>
#include <string.h>

#include "proto/error.h"

/* Where a comment ends that begins here; NULL: none does. */
static const char *
find_comment_end(const char *at, const char *end)
{
	const char *close;

	if (end - at < 2)
		return NULL;
	if (at[0] == '-' && at[1] == '-') {
		close = memchr(at, '\n', (size_t)(end - at));
		return close ? close + 1 : end;
	}
	if (at[0] != '/' || at[1] != '*')
		return NULL;
	close = memmem(at + 2, (size_t)(end - at - 2), "*/", 2);
	return close ? close + 2 : end;
}

const char *
admin_words_skip(const char *at, const char *end)
{
	while (at < end) {
		const char *past = isspace((unsigned char)*at)
		    ? at + 1
		    : find_comment_end(at, end);

		if (!past)
			break;
		at = past;
	}
	return at;
}

/* Only one command is run: another one is not to be missed in silence. */
static int
check_end(struct span sql, const char *at, struct failure *f)
{
	const char *end = (const char *)sql.p + sql.n;

	while (at < end && *at == ';')
		at = admin_words_skip(at + 1, end);
	if (at == end)
		return 0;
	failure_set(f, ERR_MULTIPLE_STATEMENTS,
	    "more than one command in one request; send each by itself");
	f->offset = at - (const char *)sql.p;
	return -ERR_MULTIPLE_STATEMENTS;
}

int
admin_words_read(
    struct span sql, char ret_words[ADMIN_WORDS_BYTES], struct failure *f)
{
	const char *at = (const char *)sql.p, *end = at + sql.n;
	char quote = '\0';
	size_t n = 0;

	if (sql.n > 0 && memchr(at, '\0', sql.n))
		return failure_set(
		    f, ERR_FIELD_RANGE, "the command holds a NUL byte");
	at = admin_words_skip(at, end);
	while (at < end && (quote || *at != ';')) {
		const char *next = quote ? at : admin_words_skip(at, end);

		if (n + 1 >= ADMIN_WORDS_BYTES)
			return failure_set(f, ERR_NOT_ALLOWED,
			    "a command has at most %d bytes",
			    ADMIN_WORDS_BYTES - 1);
		if (next > at) {
			ret_words[n++] = ' ';
			at = next;
			continue;
		}
		if (!quote && (*at == '\'' || *at == '"'))
			quote = *at;
		else if (*at == quote)
			quote = '\0';
		ret_words[n++] = *at++;
	}
	n -= n > 0 && ret_words[n - 1] == ' ';
	ret_words[n] = '\0';
	return check_end(sql, at, f);
}

char *
admin_words_trim(char *text)
{
	size_t n;

	text += strspn(text, " ");
	n = strlen(text);
	while (n > 0 && text[n - 1] == ' ')
		n--;
	if (n > 1 && (text[0] == '"' || text[0] == '\'') &&
	    text[n - 1] == text[0]) {
		text++;
		n -= 2;
	}
	text[n] = '\0';
	return text;
}
