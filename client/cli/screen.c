/* screen.c - the terminal's other screen, and lines on it. */
#include "client/cli/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_MAX SCREEN_COLUMNS_MAX

void
screen_enter(const struct screen *s)
{
	struct termios raw = s->before;

	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
	fflush(stdout);
}

void
screen_leave(const struct screen *s)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->before);
}

void
screen_measure(struct screen *s)
{
	struct winsize size;

	s->rows = 24;
	s->columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0) {
		s->rows = size.ws_row;
		s->columns = size.ws_col;
	}
	if (s->columns > COLUMNS_MAX)
		s->columns = COLUMNS_MAX;
}

void
screen_put_line(const struct screen *s, bool bold, const char *fmt, ...)
{
	char line[COLUMNS_MAX * 4 + 1];
	va_list args;
	size_t n = 0, columns = 0;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	/* a byte 10xxxxxx goes on with a character (UTF-8) */
	for (; line[n]; n++) {
		columns += ((unsigned char)line[n] & 0xc0) != 0x80;
		if (columns > (size_t)s->columns)
			break;
	}
	printf("%s%.*s\033[0m\033[K\r\n", bold ? "\033[1m" : "", (int)n, line);
}

const char *
screen_show_ms(int64_t ms, char out[24])
{
	if (ms < 0)
		return "-";
	if (ms < 10000)
		snprintf(out, 24, "%lldms", (long long)ms);
	else if (ms < 600000)
		snprintf(out, 24, "%llds", (long long)ms / 1000);
	else
		snprintf(out, 24, "%lldmin", (long long)ms / 60000);
	return out;
}

const char *
screen_show_bytes(int64_t n, char out[24])
{
	if (n < 0)
		return "-";
	if (n < 10000)
		snprintf(out, 24, "%lldB", (long long)n);
	else if (n < 10 << 20)
		snprintf(out, 24, "%lldK", (long long)n >> 10);
	else
		snprintf(out, 24, "%lldM", (long long)n >> 20);
	return out;
}
