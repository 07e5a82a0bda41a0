/* screen.h - the terminal's other screen, and lines on it: plain ANSI (ECMA-48).
 *
 * One thread.
 */
#ifndef CLIENT_CLI_SCREEN_H
#define CLIENT_CLI_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#define SCREEN_COLUMNS_MAX 250

struct screen {
	struct termios before; /* the terminal's settings, of the caller */
	int rows, columns;
};

/* Show the other screen, with keys as they come; and the one there was. */
void screen_enter(const struct screen *s);
void screen_leave(const struct screen *s);

/* See how large it is. */
void screen_measure(struct screen *s);

/* Print a line, cut to the screen, with what was behind it gone. */
void screen_put_line(const struct screen *s, bool bold, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Write a time, or a number of bytes, short; "-" for a negative one. */
const char *screen_show_ms(int64_t ms, char out[24]);
const char *screen_show_bytes(int64_t n, char out[24]);

#endif
