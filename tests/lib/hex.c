/* hex.c - hexadecimal text. */
#include "tests/lib/hex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int
get_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

int
hex_parse(const char *text, struct buf *b)
{
	while (*text) {
		int high, low;
		uint8_t byte;

		if (isspace((unsigned char)*text)) {
			text++;
			continue;
		}
		high = get_digit(text[0]);
		low = high < 0 ? -1 : get_digit(text[1]);
		if (low < 0)
			return -1;
		byte = (uint8_t)(high << 4 | low);
		buf_put(b, &byte, 1);
		text += 2;
	}
	if (buf_failed(b))
		abort();
	return 0;
}

char *
hex_format(const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * n + 1);

	if (!text)
		abort();
	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[p[i] >> 4];
		text[2 * i + 1] = digits[p[i] & 0x0f];
	}
	text[2 * n] = '\0';
	return text;
}
