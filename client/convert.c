/* convert.c - SQLite's conversions between numbers and text, without SQLite.
 *
 * The rules: https://sqlite.org/datatype3.html section 3 and
 * https://sqlite.org/lang_expr.html#castexpr.  Nothing here depends on the
 * locale.  Pure functions: any thread. */
#include "impl.h"

#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits that decide how a decimal fraction rounds to a double are at most 767
 * (the longest exact one); what follows can only break a tie. */
#define DIGITS_MAX 800
/* Beyond this any double is 0 or infinite, whatever its digits. */
#define EXPONENT_MAX 100000

static bool
is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static size_t
skip_spaces(const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n && is_space(p[i]))
		i++;
	return i;
}

int64_t
convert_text_to_int64(const uint8_t *p, size_t n)
{
	size_t i = skip_spaces(p, n);
	bool negative = false;
	uint64_t v = 0;

	if (i < n && (p[i] == '-' || p[i] == '+'))
		negative = p[i++] == '-';
	for (; i < n && is_digit(p[i]); i++) {
		uint64_t digit = (uint64_t)(p[i] - '0');

		if (v > ((uint64_t)INT64_MAX - digit) / 10)
			return negative ? INT64_MIN : INT64_MAX;
		v = v * 10 + digit;
	}
	return negative ? -(int64_t)v : (int64_t)v;
}

/* A decimal number as digits and an exponent of ten, for strtod: without a
 * point it means the same in every locale. */
struct decimal {
	char digits[DIGITS_MAX + 32];
	size_t digits_n;
	int64_t exponent;
};

/* Take digits; those of the fraction lower the exponent. */
static size_t
take_digits(struct decimal *d, const uint8_t *p, size_t n, bool fraction)
{
	size_t i;

	for (i = 0; i < n && is_digit(p[i]); i++) {
		bool leading = d->digits_n == 0 && p[i] == '0';

		if (leading) {
			d->exponent -= fraction;
		} else if (d->digits_n < DIGITS_MAX) {
			d->digits[d->digits_n++] = (char)p[i];
			d->exponent -= fraction;
		} else {
			/* a digit that is not kept still breaks a tie */
			if (p[i] != '0')
				d->digits[DIGITS_MAX - 1] = '1';
			d->exponent += !fraction;
		}
	}
	return i;
}

/* An exponent counts only if a digit follows. */
static int64_t
read_exponent(const uint8_t *p, size_t n)
{
	size_t i = 1;
	bool negative = false;
	int64_t v = 0;

	if (n == 0 || (p[0] != 'e' && p[0] != 'E'))
		return 0;
	if (i < n && (p[i] == '-' || p[i] == '+'))
		negative = p[i++] == '-';
	for (; i < n && is_digit(p[i]); i++)
		if (v < EXPONENT_MAX)
			v = v * 10 + (p[i] - '0');
	return negative ? -v : v;
}

double
convert_text_to_double(const uint8_t *p, size_t n)
{
	struct decimal d = { .digits_n = 0 };
	size_t i = skip_spaces(p, n);
	bool negative = false;
	size_t int_n, frac_n = 0;
	double f;

	if (i < n && (p[i] == '-' || p[i] == '+'))
		negative = p[i++] == '-';
	int_n = take_digits(&d, p + i, n - i, false);
	i += int_n;
	if (i < n && p[i] == '.') {
		i++;
		frac_n = take_digits(&d, p + i, n - i, true);
		i += frac_n;
	}
	if (int_n + frac_n == 0 || d.digits_n == 0)
		return negative && int_n + frac_n > 0 ? -0.0 : 0.0;
	d.exponent += read_exponent(p + i, n - i);
	if (d.exponent > EXPONENT_MAX)
		d.exponent = EXPONENT_MAX;
	if (d.exponent < -EXPONENT_MAX)
		d.exponent = -EXPONENT_MAX;
	snprintf(d.digits + d.digits_n, sizeof(d.digits) - d.digits_n, "e%d",
	    (int)d.exponent);
	f = strtod(d.digits, NULL);
	return negative ? -f : f;
}

int64_t
convert_double_to_int64(double f)
{
	/* 2^63 is exact as a double, INT64_MAX is not */
	if (f >= 9223372036854775808.0)
		return INT64_MAX;
	if (f > -9223372036854775808.0)
		return (int64_t)f;
	return f == f ? INT64_MIN : 0;
}

size_t
convert_int64_to_text(int64_t i, char out[32])
{
	return (size_t)snprintf(out, 32, "%lld", (long long)i);
}

size_t
convert_double_to_text(double f, char out[32])
{
	double shown = f == 0 ? 0 : f; /* no -0.0 */
	char text[48];
	size_t n = 0;
	bool point = false, exponent = false;

	if (f > DBL_MAX || f < -DBL_MAX)
		return (size_t)snprintf(out, 32, f > 0 ? "Inf" : "-Inf");
	/* 15 digits, and always a point: SQLite's "%!.15g".  The locale's
	 * point may be any bytes. */
	snprintf(text, sizeof(text), "%.15g", shown);
	for (const char *s = text; *s; s++) {
		bool own = is_digit((uint8_t)*s) || *s == '-' || *s == '+';

		if (*s == 'e') {
			if (!point)
				n += (size_t)snprintf(out + n, 32 - n, ".0");
			point = exponent = true;
		}
		if (own || *s == 'e') {
			out[n++] = *s;
		} else if (!point) {
			out[n++] = '.';
			point = true;
		}
	}
	if (!point && !exponent)
		n += (size_t)snprintf(out + n, 32 - n, ".0");
	out[n] = '\0';
	return n;
}
