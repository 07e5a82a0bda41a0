/* admin_words.h - the text of a command for @admin.
 *
 * Blanks and comments stand between its words, as in SQL; a name or a value may be
 * between quotes.
 *
 * Thread: any.
 */
#ifndef DAEMON_ADMIN_WORDS_H
#define DAEMON_ADMIN_WORDS_H

#include "daemon/request.h"

/* A command has at most so many bytes, with the NUL; BACKUP, with its path, is read
 * by itself. */
#define ADMIN_WORDS_BYTES 256

/* Copy a command with a single space between words and without what ends it.
 * Errors, with f filled in: -ERR_MULTIPLE_STATEMENTS, with the second one's offset;
 * -ERR_FIELD_RANGE: a NUL byte; -ERR_NOT_ALLOWED: it is too long. */
int admin_words_read(
    struct span sql, char ret_words[ADMIN_WORDS_BYTES], struct failure *f);

/* Give where what is no blank and no comment begins, or end. */
const char *admin_words_skip(const char *at, const char *end);

/* Cut blanks at both ends off a text, and then quotes that stand around it; gives
 * where it begins. */
char *admin_words_trim(char *text);

#endif
