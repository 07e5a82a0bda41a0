/* units.h - numbers as a person writes them: 250ms, 16MB, off.
 *
 * Pure functions: any thread.
 */
#ifndef CONF_UNITS_H
#define CONF_UNITS_H

#include <stddef.h>
#include <stdint.h>

enum units_kind {
	UNITS_NONE,  /* a bare number: 10000 */
	UNITS_OCTAL, /* a file mode: 0660 */
	UNITS_TIME,  /* us ms s min h; the value is in microseconds */
	UNITS_BYTES, /* B KB MB GB, 1024-based, in any case */
};

/* The longest text units_print writes, with its NUL. */
#define UNITS_TEXT_MAX 32

/* Read a whole number with its unit.
 *
 * No sign, no fraction, no space.  A time or a size needs its unit, except 0,
 * which may also be written "off".  -1: text is not such a number, or it does
 * not fit. */
int units_parse(enum units_kind kind, const char *text, int64_t *ret_value);

/* Write value with the largest unit that divides it; 0 of a time or size is
 * "off".  The text reads back as the same value. */
void units_print(enum units_kind kind, int64_t value, char buf[UNITS_TEXT_MAX]);

/* Say how such a value is written: the remedy of an error message. */
const char *units_hint(enum units_kind kind);

#endif
