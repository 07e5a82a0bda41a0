/* units.c - numbers as a person writes them.
 *
 * One table of units per kind, the largest first: printing takes the first
 * that divides the value, parsing takes the one whose name follows the digits.
 */
#include "conf/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* clang-format off */
static const struct unit times[] = {
	{ "h",   INT64_C(3600000000) },
	{ "min", 60000000 },
	{ "s",   1000000 },
	{ "ms",  1000 },
	{ "us",  1 },
	{ NULL,  0 },
};

static const struct unit sizes[] = {
	{ "GB", INT64_C(1) << 30 },
	{ "MB", INT64_C(1) << 20 },
	{ "KB", INT64_C(1) << 10 },
	{ "B",  1 },
	{ NULL, 0 },
};
/* clang-format on */

static const struct unit *
units_of(enum units_kind kind)
{
	switch (kind) {
	case UNITS_TIME:
		return times;
	case UNITS_BYTES:
		return sizes;
	case UNITS_NONE:
	case UNITS_OCTAL:
		break;
	}
	return NULL;
}

/* The factor of the unit that text names, or -1. */
static int64_t
unit_factor(enum units_kind kind, const char *text)
{
	const struct unit *u = units_of(kind);

	if (u == NULL)
		return *text == '\0' ? 1 : -1;
	for (; u->name != NULL; u++) {
		/* Only sizes are read in any case: "M" is no minute. */
		if (kind == UNITS_BYTES ? strcasecmp(u->name, text) == 0
					: strcmp(u->name, text) == 0)
			return u->factor;
	}
	return -1;
}

int
units_parse(enum units_kind kind, const char *text, int64_t *ret_value)
{
	int base = kind == UNITS_OCTAL ? 8 : 10;
	int64_t value = 0;
	int64_t factor;
	const char *p;

	if (units_of(kind) != NULL && strcmp(text, "off") == 0) {
		*ret_value = 0;
		return 0;
	}
	for (p = text; *p >= '0' && *p < '0' + base; p++) {
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, *p - '0', &value))
			return -1;
	}
	if (p == text)
		return -1;
	factor = value == 0 && *p == '\0' ? 1 : unit_factor(kind, p);
	if (factor < 0 || __builtin_mul_overflow(value, factor, &value))
		return -1;
	*ret_value = value;
	return 0;
}

void
units_print(enum units_kind kind, int64_t value, char buf[UNITS_TEXT_MAX])
{
	const struct unit *u = units_of(kind);

	if (kind == UNITS_OCTAL) {
		snprintf(buf, UNITS_TEXT_MAX, "%04" PRIo64, (uint64_t)value);
		return;
	}
	if (u == NULL) {
		snprintf(buf, UNITS_TEXT_MAX, "%" PRId64, value);
		return;
	}
	if (value == 0) {
		snprintf(buf, UNITS_TEXT_MAX, "off");
		return;
	}
	while (value % u->factor != 0)
		u++;
	snprintf(
	    buf, UNITS_TEXT_MAX, "%" PRId64 "%s", value / u->factor, u->name);
}

const char *
units_hint(enum units_kind kind)
{
	switch (kind) {
	case UNITS_NONE:
		return "write a whole number";
	case UNITS_OCTAL:
		return "write an octal mode, as in 0660";
	case UNITS_TIME:
		return "write a whole number and us, ms, s, min or h, "
		       "as in 250ms";
	case UNITS_BYTES:
		return "write a whole number and B, KB, MB or GB, as in 16MB";
	}
	return "";
}
