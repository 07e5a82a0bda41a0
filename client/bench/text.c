/* text.c - what stands in a row: bytes that its id tells, so that every answer
 * can be checked. */
#include "client/bench/bench.h"

#include <string.h>

#define DIGITS_N  10
#define LETTERS_N 26

static const char letters[] =
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";

static void
put_digits(uint64_t id, char digits[DIGITS_N])
{
	for (int i = DIGITS_N - 1; i >= 0; i--) {
		digits[i] = (char)('0' + id % 10);
		id /= 10;
	}
}

void
bench_text(const struct bench_plan *plan, uint64_t id, char *ret_text)
{
	size_t n = plan->text_n;

	put_digits(id, ret_text);
	for (size_t i = DIGITS_N; i < n; i++)
		ret_text[i] = letters[(id + i - DIGITS_N) % LETTERS_N];
	ret_text[n] = '\0';
}

/* The filler repeats itself after LETTERS_N bytes: so the first ones are
 * compared with what they should be, and the rest with those before it. */
bool
bench_text_is(
    const struct bench_plan *plan, uint64_t id, const void *p, size_t n)
{
	const char *text = p, *filler;
	char digits[DIGITS_N];
	size_t filler_n, first_n;

	if (!p || n != plan->text_n || n < DIGITS_N)
		return false;
	filler = text + DIGITS_N;
	filler_n = n - DIGITS_N;
	first_n = filler_n < LETTERS_N ? filler_n : LETTERS_N;
	put_digits(id, digits);
	return memcmp(text, digits, DIGITS_N) == 0 &&
	    memcmp(filler, letters + id % LETTERS_N, first_n) == 0 &&
	    memcmp(filler + first_n, filler, filler_n - first_n) == 0;
}
