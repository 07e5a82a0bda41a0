/* log.c - lines to standard error. */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static _Atomic(enum conf_log_level) level = CONF_LOG_INFO;

void
log_set_level(enum conf_log_level l)
{
	level = l;
}

__attribute__((format(printf, 2, 0))) static void
write_line(enum conf_log_level l, const char *fmt, va_list args)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	char line[LINE_MAX_BYTES];
	struct timespec ts;
	struct tm tm;
	size_t n;
	int len;

	if (l > level)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s ",
	    ts.tv_nsec / 1000000, names[l]);
	len = vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
	if (len < 0)
		return;
	n += (size_t)len;
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nowhere left to say so */
}

#define DEFINE_LOG(name, l)                   \
	void log_##name(const char *fmt, ...) \
	{                                     \
		va_list args;                 \
                                              \
		va_start(args, fmt);          \
		write_line(l, fmt, args);     \
		va_end(args);                 \
	}

/* clang-format off */
DEFINE_LOG(error, CONF_LOG_ERROR)
DEFINE_LOG(warn, CONF_LOG_WARN)
DEFINE_LOG(info, CONF_LOG_INFO)
DEFINE_LOG(debug, CONF_LOG_DEBUG)
/* clang-format on */
