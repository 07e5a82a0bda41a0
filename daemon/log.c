/* log.c - lines to standard error or a file.
 *
 * What is not constant is atomic, or under the lock of the lines that repeat.
 * The file's descriptor keeps its number for life: a new file takes its place.
 */
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 1000
#define LINE_BYTES    4096
/* Lines of one kind that are written in a window of time. */
#define REPEATS_MAX 10
#define WINDOW_S    5
/* Kinds that are remembered; more share a place. */
#define KINDS_N 128

static _Atomic(enum conf_log_level) level = CONF_LOG_INFO;
static _Atomic int out_fd = STDERR_FILENO;
static _Atomic bool as_json;
static char *file_path;  /* main thread; NULL: standard error */
static int file_fd = -1; /* main thread; keeps its number once it is open */

static const char *const level_names[] = { "error", "warn", "info", "debug" };
/* syslog(3): LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG */
static const char priorities[] = "3467";

/* --- A line ------------------------------------------------------------------ */

struct line {
	char p[LINE_BYTES];
	size_t n;
};

/* Room is kept for what ends a line. */
static void
put_raw(struct line *l, const char *p, size_t n)
{
	size_t room = sizeof(l->p) - 8 - l->n;

	if (n > room)
		n = room;
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

static void
put_str(struct line *l, const char *s)
{
	put_raw(l, s, strlen(s));
}

__attribute__((format(printf, 2, 3))) static void
put_fmt(struct line *l, const char *fmt, ...)
{
	char text[256];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n > 0)
		put_raw(l, text,
		    (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* How many bytes of text are one character, or 0 when they are none: Unicode
 * 15, table 3-7.  C1 controls are none to us: terminals obey them. */
static size_t
measure_char(const unsigned char *p, size_t n)
{
	size_t need = p[0] < 0x80         ? 1
	    : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
	    : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
	    : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
					  : 0;

	if (need == 0 || need > n || p[0] < 0x20 || p[0] == 0x7f)
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) ||
	    (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return need;
}

/* Append a byte that is no character, or a control; how many it took. */
static size_t
put_odd(struct line *l, const unsigned char *p, size_t n)
{
	if (!as_json) {
		put_fmt(l, "\\x%02x", p[0]);
		return 1;
	}
	if (p[0] == 0xc2 && n > 1 && p[1] >= 0x80 && p[1] < 0xa0) {
		put_fmt(l, "\\u%04x", p[1]);
		return 2;
	}
	put_fmt(l, "\\u%04x", p[0] < 0x80 ? p[0] : 0xfffdU);
	return 1;
}

/* Append text from outside: controls and what is not UTF-8 as \x1b, or in JSON
 * as \u001b; a quote and a backslash with a backslash where quoted. */
static void
put_escaped(struct line *l, const char *text, size_t n, bool quoted)
{
	const unsigned char *p = (const unsigned char *)text;

	for (size_t at = 0; at < n;) {
		size_t len = measure_char(p + at, n - at);

		if (len == 0) {
			len = put_odd(l, p + at, n - at);
		} else {
			if (quoted && (p[at] == '"' || p[at] == '\\'))
				put_raw(l, "\\", 1);
			put_raw(l, text + at, len);
		}
		at += len;
	}
}

static void
put_quoted(struct line *l, const char *text, size_t n)
{
	put_raw(l, "\"", 1);
	put_escaped(l, text, n, true);
	put_raw(l, "\"", 1);
}

/* Does standard error go to the journal?  systemd.exec(5), $JOURNAL_STREAM. */
static bool
is_journal(void)
{
	static _Atomic int known; /* 1: no, 2: yes */
	const char *stream;
	struct stat st;
	char want[64];

	if (out_fd != STDERR_FILENO)
		return false;
	if (known == 0) {
		stream = getenv("JOURNAL_STREAM");
		known = 1;
		if (stream && fstat(STDERR_FILENO, &st) == 0) {
			snprintf(want, sizeof(want), "%ju:%ju",
			    (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
			known = strcmp(want, stream) == 0 ? 2 : 1;
		}
	}
	return known == 2;
}

static void
begin_line(struct line *l, enum conf_log_level lv)
{
	struct timespec ts;
	struct tm tm;
	char when[32];

	l->n = 0;
	if (is_journal()) {
		put_fmt(l, "<%c>", priorities[lv]);
		if (!as_json)
			return; /* it knows the time */
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	put_fmt(l,
	    as_json ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\","
		    : "%s.%03ldZ %s ",
	    when, ts.tv_nsec / 1000000, level_names[lv]);
}

static void
end_line(struct line *l)
{
	if (as_json)
		l->p[l->n++] = '}';
	l->p[l->n++] = '\n';
	if (write(out_fd, l->p, l->n) < 0)
		return; /* nowhere left to say so */
}

static void
write_message(enum conf_log_level lv, const char *text)
{
	struct line l;

	begin_line(&l, lv);
	if (as_json) {
		put_str(&l, "\"message\":");
		put_quoted(&l, text, strlen(text));
	} else {
		put_escaped(&l, text, strlen(text), false);
	}
	end_line(&l);
}

/* --- Lines that repeat --------------------------------------------------------- */

struct kind {
	uint64_t key; /* 0: free */
	time_t since; /* when its window began */
	unsigned written, left_out;
	enum conf_log_level level;
	char last[200]; /* of those left out */
};

static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kind kinds[KINDS_N];
static _Atomic bool any_left_out;

static time_t
get_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec;
}

static struct kind *
find_kind(uint64_t key)
{
	size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 57);
	struct kind *oldest = &kinds[at % KINDS_N];

	for (size_t i = 0; i < 8; i++) {
		struct kind *k = &kinds[(at + i) % KINDS_N];

		if (k->key == key || k->key == 0)
			return k;
		if (k->since < oldest->since)
			oldest = k;
	}
	return oldest;
}

/* Say how many were left out, and begin anew.  Under the lock; *ret_text is what
 * to write without it. */
static bool
close_window(struct kind *k, char *ret_text, size_t n)
{
	bool says = k->left_out > 0;

	if (says)
		snprintf(ret_text, n, "... and %u more in %d s like this: %s",
		    k->left_out, WINDOW_S, k->last);
	k->written = k->left_out = 0;
	k->since = get_seconds();
	return says;
}

/* May a line of this kind be written now?  If not it is counted. */
static bool
may_write(uint64_t key, enum conf_log_level lv, const char *text)
{
	char before[256] = "";
	enum conf_log_level before_level;
	struct kind *k;
	bool may;

	pthread_mutex_lock(&kinds_lock);
	k = find_kind(key);
	before_level = k->level;
	if (k->key != key || get_seconds() - k->since >= WINDOW_S)
		close_window(k, before, sizeof(before));
	k->key = key;
	k->level = lv;
	may = k->written < REPEATS_MAX;
	if (may) {
		k->written++;
	} else {
		k->left_out++;
		snprintf(k->last, sizeof(k->last), "%s", text);
		any_left_out = true;
	}
	pthread_mutex_unlock(&kinds_lock);
	if (before[0])
		write_message(before_level, before);
	return may;
}

void
log_tick(void)
{
	char text[256];
	bool any = false;

	if (!any_left_out)
		return;
	for (size_t i = 0; i < KINDS_N; i++) {
		struct kind *k = &kinds[i];
		enum conf_log_level lv;
		bool says = false;

		pthread_mutex_lock(&kinds_lock);
		lv = k->level;
		if (k->left_out && get_seconds() - k->since >= WINDOW_S)
			says = close_window(k, text, sizeof(text));
		any = any || k->left_out > 0;
		pthread_mutex_unlock(&kinds_lock);
		if (says)
			write_message(lv, text);
	}
	if (!any)
		any_left_out = false;
}

/* --- Logging ----------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void
log_message(enum conf_log_level lv, const char *fmt, va_list args)
{
	char text[MESSAGE_BYTES];

	if (lv > level || vsnprintf(text, sizeof(text), fmt, args) < 0)
		return;
	/* the address of the format tells where it was said */
	if (lv == CONF_LOG_DEBUG ||
	    may_write((uint64_t)(uintptr_t)fmt, lv, text))
		write_message(lv, text);
}

#define DEFINE_LOG(name, l)                   \
	void log_##name(const char *fmt, ...) \
	{                                     \
		va_list args;                 \
                                              \
		va_start(args, fmt);          \
		log_message(l, fmt, args);    \
		va_end(args);                 \
	}

/* clang-format off */
DEFINE_LOG(error, CONF_LOG_ERROR)
DEFINE_LOG(warn, CONF_LOG_WARN)
DEFINE_LOG(info, CONF_LOG_INFO)
DEFINE_LOG(debug, CONF_LOG_DEBUG)
/* clang-format on */

static void
put_field(struct line *l, const struct log_field *f)
{
	size_t room = sizeof(l->p) - 64 - l->n;

	put_fmt(l, as_json ? ",\"%s\":" : " %s=", f->key);
	/* escaped, a byte has six at most: a whole value or a cut one fits,
	 * with its quote */
	if (f->text)
		put_quoted(l, f->text, f->n < room / 6 ? f->n : room / 6);
	else
		put_fmt(l, "%" PRId64, f->number);
}

void
log_event(enum conf_log_level lv, const char *what,
    const struct log_field *fields, uint64_t repeats)
{
	struct line l;

	if (lv > level || (repeats && !may_write(repeats, lv, what)))
		return;
	begin_line(&l, lv);
	put_fmt(&l, as_json ? "\"event\":\"%s\"" : "%s:", what);
	for (; fields->key && l.n < sizeof(l.p) - 256; fields++)
		put_field(&l, fields);
	end_line(&l);
}

/* --- Setting up ---------------------------------------------------------------- */

void
log_set_level(enum conf_log_level l)
{
	level = l;
}

/* Put a newly opened file in the place of the old one. */
static int
open_file(const char *path)
{
	int fd = open(
	    path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	int rc = 0;

	if (fd < 0)
		return -1;
	if (file_fd < 0) {
		file_fd = fd;
	} else {
		rc = dup3(fd, file_fd, O_CLOEXEC) < 0 ? -1 : 0;
		close(fd);
	}
	return rc;
}

int
log_configure(const struct conf *conf, char err[CONF_ERR_MAX])
{
	char *path = conf->log_file[0] ? strdup(conf->log_file) : NULL;

	if (path && open_file(path) < 0) {
		snprintf(err, CONF_ERR_MAX,
		    "cannot open log_file %.200s: %s; make sure that its "
		    "directory exists and can be written",
		    path, strerror(errno));
		free(path);
		return -1;
	}
	out_fd = path ? file_fd : STDERR_FILENO;
	free(file_path);
	file_path = path;
	as_json = conf->log_format == CONF_FORMAT_JSON;
	log_set_level(conf->log_level);
	return 0;
}

void
log_reopen(void)
{
	if (!file_path)
		return;
	if (open_file(file_path) < 0)
		log_error("cannot open %s anew: %s; the old file is written on",
		    file_path, strerror(errno));
	else
		log_info("%s was opened anew", file_path);
}
