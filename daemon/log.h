/* log.h - lines for people and for programs that read logs.
 *
 * A line goes to standard error, or to a file.  As text it begins with the time
 * and the level, or, when standard error is the journal's, with the priority
 * that sd-daemon(3) describes; as JSON it is an object.  What came from outside
 * cannot forge a line: control characters are escaped.
 *
 * Lines that repeat are bounded: of those with the same format string, or the
 * same key, ten are written in five seconds, and then one that says how many more
 * there were.  What is at level debug is not bounded.
 *
 * Any thread may log; a line is one write(2), so lines do not mix.  Setting up is
 * the main thread's.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

/* Log as the configuration says from now on.  -1: its file cannot be opened, err
 * says why, and what was said before stays. */
int log_configure(const struct conf *conf, char err[CONF_ERR_MAX]);

/* Open the file anew, after it was renamed.  A failure is logged. */
void log_reopen(void);

/* Choose the least important level that is written. */
void log_set_level(enum conf_log_level level);

/* Write what is due about lines that were left out; every now and then. */
void log_tick(void);

/* Write a line, printf-like; a line over 1000 bytes is cut. */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A value with its name. */
struct log_field {
	const char *key;
	const char *text; /* NULL: number */
	size_t n;         /* bytes of text; it may hold anything */
	int64_t number;
};

#define LOG_INT(k, v)     ((struct log_field){ (k), NULL, 0, (int64_t)(v) })
#define LOG_TEXT(k, p, l) ((struct log_field){ (k), (p), (l), 0 })

/* Write an event with its fields: "what: key=value ...", or an object.
 *
 * fields: those up to one without a key.  repeats: what counts as the same line;
 * 0: each is written.  Text is cut where the line would be over 4000 bytes. */
void log_event(enum conf_log_level level, const char *what,
    const struct log_field *fields, uint64_t repeats);

#endif
