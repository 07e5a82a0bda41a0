/* log.h - one line to standard error per message.
 *
 * Any thread may log; a line is one write(2), so lines do not mix.  The level
 * is set before there are threads.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include "conf/conf.h"

/* Choose the least important level that is written. */
void log_set_level(enum conf_log_level level);

/* Write a line, printf-like; a line over 1000 bytes is cut. */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
